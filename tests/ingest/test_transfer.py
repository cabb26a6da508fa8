"""A collection that is copied to another engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from geosim.ingest.schema import ModelRef, Origin, Payload
from geosim.ingest.store import base
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.transfer import CopyReport, copy_collection
from geosim.ingest.work import Work
from geosim.search.marks import RIGHT, WRONG, Mark, Marks, Verdict
from geosim.trainer.data.places import Place
from geosim.trainer.errors import ModelMismatchError, StoreBusyError, StoreError
from geosim.trainer.working import Working
from tests.memory import engine, memory_store
from tests.test_cli import failed

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

MODEL, ANOTHER = ModelRef("a" * 64, "colour-grid"), ModelRef("b" * 64, "colour-grid")
ORIGIN = Origin("machine", "host", Place("/data/rocks", None, 1))
KINDS = {"depth": "float", "hole": "keyword", "at": "geo", "on": "datetime"}


def payloads(count: int) -> list[Payload]:
    return [
        Payload(
            path=f"rocks/gneiß/{i:05d}\u2028.jpg",
            label="gneiß" if i % 3 else "",
            sha256=f"{i:064x}",
            width=28,
            height=30,
            dataset="rocks",
            image_url="http://localhost:8000/x.jpg" if i % 2 else "",
            facts={"depth": i / 7, "hole": f"H{i % 5}", "at": {"lat": i / 9, "lon": -0.1}}
            if i % 4
            else {},
            box=(i, 0, 8, 8) if i % 5 == 0 else None,
        )
        for i in range(count)
    ]


def vectors(count: int) -> NDArray[np.float32]:
    """Vectors of norm 1 exactly: the in-memory mode scales also those that have it nearly."""
    rng = np.random.default_rng(7)
    found = np.zeros((count, 32), np.float32)
    for row in found:
        row[rng.choice(32, 16, replace=False)] = rng.choice([-0.25, 0.25], 16)
    return found


def fill(store: VectorStore, count: int = 60, model: ModelRef = MODEL) -> None:
    store.create(model)
    store.upsert(payloads(count), vectors(count))
    store.index_facts(KINDS)
    store.set_origin("rocks", ORIGIN)


def content(store: VectorStore) -> dict[Payload, bytes]:
    points = [point for batch in store.scan(vectors=True) for point in batch]
    return {one.payload: one.vector.tobytes() for one in points if one.vector is not None}


PAIRS = ["edge-memory", "memory-edge", "edge-server", "server-server", "server-cluster"]


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[VectorStore, ...]]:
    source, target = request.param.split("-")
    with ExitStack() as stack:
        yield (
            stack.enter_context(engine(source, tmp_path / "from")),
            stack.enter_context(engine(target, tmp_path / "to")),
        )


def test_a_copy_has_everything(pair: tuple[VectorStore, VectorStore]) -> None:
    source, target = pair
    fill(source)
    assert copy_collection(source, target) == CopyReport(60, 60, 0)
    for made in (source, target):
        info = made.info()
        assert info is not None
        assert (info.model, info.points) == (MODEL, 60)
        if "memory" not in (source.location, target.location):  # which has no indexes
            assert made.fact_indexes() == KINDS
        assert made.origins() == {"rocks": ORIGIN}
    assert content(source) == content(target)
    assert copy_collection(source, target) == CopyReport(60, 0, 0)


def test_an_empty_collection_is_copied(pair: tuple[VectorStore, VectorStore]) -> None:
    source, target = pair
    with pytest.raises(StoreError, match="there is no collection"):
        copy_collection(source, target)
    assert target.info() is None
    source.create(MODEL)
    assert copy_collection(source, target) == CopyReport(0, 0, 0)
    info = target.info()
    assert info is not None
    assert info.model == MODEL


@pytest.mark.parametrize("pair", ["memory-memory", "edge-server"], indirect=True)
@pytest.mark.parametrize("kind", ["payload", "vector", "more", "origin", "model"])
def test_what_is_there_is_kept_unless_it_may_be_replaced(
    pair: tuple[VectorStore, VectorStore], kind: str
) -> None:
    source, target = pair
    fill(source)
    fill(target, 40, ANOTHER if kind == "model" else MODEL)
    one = payloads(1)[0]
    if kind == "payload":
        target.upsert([replace(one, label="mine")], vectors(1))
    elif kind == "vector":
        target.upsert([one], vectors(2)[1:])
    elif kind == "more":
        target.upsert([replace(one, path="rocks/more.jpg")], vectors(1))
    elif kind == "origin":
        target.set_origin("rocks", replace(ORIGIN, host="elsewhere"))
    before = content(target)
    with pytest.raises(StoreError, match="add --replace") as told:
        copy_collection(source, target)
    assert isinstance(told.value, ModelMismatchError) == (kind == "model")
    assert "\n" not in str(told.value)
    assert content(target) == before
    report = copy_collection(source, target, replace=True)
    copied = {"model": 60, "payload": 21, "vector": 21}.get(kind, 20)
    assert report == CopyReport(60, copied, int(kind == "more"))
    assert content(target) == content(source)
    assert target.origins() == source.origins()


@pytest.mark.parametrize("pair", ["memory-memory", "server-server"], indirect=True)
def test_an_interrupted_copy_goes_on(
    pair: tuple[VectorStore, VectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair
    fill(source)
    monkeypatch.setattr(base, "SCAN_BATCH", 10)
    upsert, batches = target.upsert, []

    def interrupted(*arguments: object) -> None:
        if len(batches) == 3:
            raise KeyboardInterrupt
        batches.append(arguments)
        upsert(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(target, "upsert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            copy_collection(source, target)
    assert target.count() == 30
    assert copy_collection(source, target) == CopyReport(60, 30, 0)
    assert content(target) == content(source)


def test_a_change_meanwhile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine("memory", tmp_path) as source, engine("memory", tmp_path) as target:
        fill(source)
        upsert = target.upsert

        def changed(points: list[Payload], rows: NDArray[np.float32]) -> None:
            upsert(points[:-1], rows[:-1])
            upsert([replace(points[0], label="mine")], rows[:1])

        monkeypatch.setattr(target, "upsert", changed)
        with pytest.raises(StoreError, match="holds 59 points, expected 60, and 1 differ"):
            copy_collection(source, target)


@pytest.mark.parametrize("model", [MODEL, ANOTHER])
def test_a_collection_that_another_command_writes_is_left_alone(model: ModelRef) -> None:
    client = QdrantClient(":memory:")
    source, target = memory_store("from", client), memory_store("to", client, wait=0)
    fill(source)
    fill(target, 40, model)
    with memory_store("to", client).lease(Work("rocks")), pytest.raises(StoreBusyError):
        copy_collection(source, target, replace=True)
    assert target.count() == 40
    assert copy_collection(source, target, replace=True).points == 60


KILLED = """
import os, sys
from geosim.ingest.store import base, edge
base.SCAN_BATCH = 10
calls, last = [], int(sys.argv.pop(1))
def killing(call):
    def counted(*arguments):
        calls.append(call)
        if len(calls) == last:
            os._exit(9)  # as after a kill: nothing is closed or deleted
        return call(*arguments)
    return counted
for name in ("create", "_index", "_upsert", "_flush", "set_origin"):
    setattr(edge.EdgeStore, name, killing(getattr(edge.EdgeStore, name)))
from geosim.search.cli.main import geosim
geosim(sys.argv[1:])
"""


def test_a_killed_copy_goes_on(tmp_path: Path, geosim: Callable[..., Result]) -> None:
    with EdgeStore(tmp_path / "from", "rocks") as source:
        fill(source)
        expected = content(source)
    options = ["--from", tmp_path / "from", "--to", tmp_path / "to", "--collection", "rocks"]
    command = list(map(str, ("copy", *options, "--as", "r2", "--working", tmp_path / "w")))
    for call in (4, 9, 5):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(call), *command],
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert killed.returncode == 9, killed.stderr
    done = geosim(*command)
    assert done.exit_code == 0, done.output
    assert "60 points, equal to rocks at" in done.stdout
    assert "; 10 copied" in done.stdout, "what was stored is not written again"
    with EdgeStore(tmp_path / "to", "r2") as target:
        assert content(target) == expected
        assert target.fact_indexes() == KINDS


def test_marks_come_along_under_another_name(geosim: Callable[..., Result], tmp_path: Path) -> None:
    working = Working(tmp_path / "w")
    with EdgeStore(working.qdrant, "rocks") as source:
        fill(source)

    def mark(collection: str, verdict: Verdict) -> None:
        mark = Mark("q", "a photo", "rocks/a.jpg", "", verdict, "2026-01-01T00:00:00Z")
        Marks(working, collection).set(mark)

    mark("rocks", WRONG)
    options = ("--collection", "rocks", "--as", "rocks-2027", "--working", working.root)
    assert geosim("copy", *options).exit_code == 0
    assert Marks(working, "rocks-2027").of("q") == {"rocks/a.jpg": WRONG}
    mark("rocks-2027", RIGHT)
    assert "add --replace to have those" in geosim("copy", *options).stderr
    assert Marks(working, "rocks-2027").of("q") == {"rocks/a.jpg": RIGHT}
    assert geosim("copy", *options, "--replace").exit_code == 0
    assert Marks(working, "rocks-2027").of("q") == {"rocks/a.jpg": WRONG}


def test_a_damaged_collection_is_replaced_only_if_told_to(
    geosim: Callable[..., Result], tmp_path: Path
) -> None:
    for folder in ("from", "to"):
        with EdgeStore(tmp_path / folder, "geosim") as source:
            fill(source)
    (tmp_path / "to" / "geosim" / "edge_config.json").write_bytes(b"\0" * 100)
    command = ("copy", "--from", tmp_path / "from", "--to", tmp_path / "to")
    assert "is damaged" in failed(geosim(*command, "--working", tmp_path / "w"))
    done = geosim(*command, "--replace", "--working", tmp_path / "w")
    assert done.exit_code == 0, done.output
    assert "60 copied" in done.stdout


def test_a_copy_needs_another_place(geosim: Callable[..., Result], tmp_path: Path) -> None:
    told = geosim("copy", "--working", tmp_path)
    assert told.exit_code == 2
    assert "--to" in told.stderr


def test_each_server_gets_its_own_key(
    geosim: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geosim.ingest.store import server

    keys = []
    monkeypatch.setattr(
        server, "open_nodes", lambda url, key: [] if keys.append((url, key)) else keys[:0]
    )
    monkeypatch.setenv("GEOSIM_FROM_API_KEY", "one")
    monkeypatch.setenv("GEOSIM_QDRANT_API_KEY", "two")
    geosim("copy", "--from", "http://a", "--to", "http://b", "--working", tmp_path)
    assert keys == [("http://a", "one"), ("http://b", "two")]
    assert os.environ["GEOSIM_QDRANT_API_KEY"] == "two"
