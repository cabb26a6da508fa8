"""A collection that is made anew: on a server it is searched until its successor is complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.qdrant_remote import QdrantRemote

from geosim.ingest.schema import KEYWORD_FIELDS, ModelRef, Payload, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import StoreError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.memory import collections, memory_store

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

OLD, NEW = ModelRef("a" * 64, "colour-grid"), ModelRef("b" * 64, "colour-grid")
ANY = VectorQuery(np.ones(32, np.float32))


def fill(store: VectorStore, model: ModelRef, *paths: str) -> None:
    if store.info() is None:
        store.create(model)
    payloads = [Payload(f"rocks/c/{path}.jpg", "c", "0" * 64, 1, 1, "rocks") for path in paths]
    store.upsert(payloads, np.eye(32, dtype=np.float32)[: len(paths)])


def found(store: VectorStore) -> tuple[str, set[str]]:
    info = store.info()
    assert info is not None
    (hits,) = store.query([ANY], 9)
    return info.model.fingerprint[0], {hit.payload.path[8] for hit in hits}


def test_it_is_searched_until_its_successor_is_complete(client: QdrantClient, name: str) -> None:
    store, reader = memory_store(name, client), memory_store(name, client)
    fill(store, OLD, "x", "y")
    for round_, (model, paths) in enumerate([(NEW, "pq"), (NEW, "rst"), (OLD, "u")]):
        before = found(reader)
        with store.rebuilt(model) as new:
            assert new.info() is None
            fill(new, model, *paths)
            assert found(reader) == found(store) == before, round_
        assert found(reader) == found(store) == (model.fingerprint[0], {*paths}), round_
        assert len(collections(client, name)) == 1, "the former one is deleted"
    store.drop()
    assert reader.info() is None
    assert collections(client, name) == []


def test_a_failure_leaves_it_as_it_is(client: QdrantClient, name: str) -> None:
    store = memory_store(name, client)
    fill(store, OLD, "x")

    def fail(error: BaseException) -> None:
        with store.rebuilt(NEW) as new:
            fill(new, NEW, "p", "q")
            raise error

    for error in (StoreError("full"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fail(error)
        assert found(store) == ("a", {"x"})
    with store.rebuilt(NEW) as new:
        assert new.info() is None, "what was left of the former attempt is gone"
        fill(new, NEW, "z")
    assert found(store) == ("b", {"z"})
    assert len(collections(client, name)) == 1


def interrupt_switch(
    store: VectorStore, client: QdrantClient, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebuild a collection with the point p, and end the process at a request of its switch."""

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def be_killed() -> None:
        with store.rebuilt(NEW) as new:
            fill(new, NEW, "p")
            monkeypatch.setattr(client, at, kill)

    with pytest.raises(KeyboardInterrupt):
        be_killed()
    monkeypatch.undo()


@pytest.mark.parametrize("killed_at", ["update_collection_aliases", "delete_collection"])
def test_a_switch_that_was_interrupted_is_finished(
    client: QdrantClient, name: str, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = memory_store(name, client)
    fill(store, OLD, "x")

    interrupt_switch(store, client, killed_at, monkeypatch)
    after = ("b", {"p"}) if killed_at == "update_collection_aliases" else ("a", {"x"})
    assert found(memory_store(name, client)) == after
    with store.rebuilt(NEW) as new:
        fill(new, NEW, "q")
    assert found(memory_store(name, client)) == ("b", {"q"})
    assert len(collections(client, name)) == 1


def test_a_search_that_meets_a_switch_is_sent_again(
    client: QdrantClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(client._client, QdrantRemote):
        pytest.skip("the in-memory client refuses a missing collection in its own way")
    store = memory_store(name, client)
    fill(store, OLD, "x")

    interrupt_switch(store, client, "update_collection_aliases", monkeypatch)
    (hits,) = memory_store(name, client).query([ANY], 9)
    assert [hit.payload.path for hit in hits] == ["rocks/c/p.jpg"]


def test_another_program_s_collection_is_left_alone(client: QdrantClient, name: str) -> None:
    store = memory_store(name, client)
    cosine = models.VectorParams(size=32, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config=cosine, metadata={"theirs": 1})
    with pytest.raises(StoreError, match="not made by geosim"), store.rebuilt(NEW):
        pass
    assert collections(client, name) == [name]


@pytest.mark.parametrize("engine", ["edge", "memory"])
def test_an_ingest_recreates(engine: str, working: Working, sample: Path, tmp_path: Path) -> None:
    embedded = EdgeStore(tmp_path / "qdrant", "geosim")
    with embedded if engine == "edge" else memory_store("geosim") as store:
        model, dataset = load_model(working.model), open_dataset(sample)
        sync(dataset, model, store, working)
        report = sync(dataset, model, store, working, recreate=True)
        assert (report.added, report.points, report.dropped) == (96, 96, {})
        assert store.count() == 96
        assert {*store.origins()} == {"rocks"}
        assert sync(dataset, model, store, working).unchanged == 96


def test_one_without_its_indexes_yet_is_read(client: QdrantClient, name: str) -> None:
    store = memory_store(name, client)
    store.create(OLD)
    for field in ("class", "dataset"):
        client.delete_payload_index(name, field)
    assert memory_store(name, client).values("dataset") == {}
    assert client.get_collection(name).payload_schema.keys() in ({*()}, {*KEYWORD_FIELDS})
