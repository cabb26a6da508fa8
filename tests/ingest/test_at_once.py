"""Several ingests into one collection of a server at once."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from qdrant_client import QdrantClient

from geosim.ingest.remove import remove
from geosim.ingest.schema import ModelRef
from geosim.ingest.store import server_lease
from geosim.ingest.store.server import ServerStore, connect
from geosim.ingest.sync import sync
from geosim.ingest.work import Work
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import ModelMismatchError, StoreBusyError, StoreDeniedError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.ingest.store.test_server_lease import denied
from tests.memory import memory_store, real_server

Run = Callable[..., Result]

HOLDING = """
import sys
from geosim.ingest import writing
from geosim.ingest.store.base import VectorStore
from geosim.search.cli.main import geosim

upsert = VectorStore.upsert
def hold(store, payloads, vectors):
    upsert(store, payloads, vectors)
    print("holding", flush=True)
    sys.stdin.readline()
VectorStore.upsert = hold
geosim()
"""
"""A geosim whose ingest stops after each upsert until it is told to go on."""


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


@pytest.fixture
def made(client: QdrantClient, working: Working) -> ServerStore:
    """An empty collection of `working`'s model, open without patience."""
    store = memory_store("geosim", client, wait=0)
    model = load_model(working.model)
    store.create(ModelRef(model.fingerprint, model.spec.name))
    return store


def ingest(data: Path, working: Working, store: ServerStore, **options: Any) -> Any:
    return sync(open_dataset(data), load_model(working.model), store, working, **options)


@pytest.mark.parametrize("recreate", [False, True])
def test_a_rebuild_and_an_ingest_are_kept_apart(
    client: QdrantClient, made: ServerStore, working: Working, sample: Path, recreate: bool
) -> None:
    ingest(sample, working, made)
    other = memory_store("geosim", client)
    with other.lease(Work("scans")):
        if recreate:
            with pytest.raises(StoreBusyError, match="works on data set 'scans'"):
                ingest(sample, working, made, recreate=True)
        else:
            ingest(sample, working, made)
        assert made.count() == 96
    with other.lease(Work()), pytest.raises(StoreBusyError, match="works on all data sets"):
        ingest(sample, working, made, recreate=recreate)
    assert made.count() == 96
    assert ingest(sample, working, made, recreate=True).added == 96
    assert len(client.get_collections().collections) == 1


def test_a_rebuild_that_was_taken_over_does_not_switch(
    client: QdrantClient,
    made: ServerStore,
    working: Working,
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingest(sample, working, made)
    model = ModelRef("f" * 64, "colour-grid")

    def lease_keys() -> list[str]:
        metadata = client.get_collection("geosim").config.metadata or {}
        return [key for key in metadata if key.startswith("geosim-lease:")]

    def rebuild() -> None:
        with made.lease(Work()), made.rebuilt(model) as new:
            new.create(model)
            client.update_collection("geosim", metadata=dict.fromkeys(lease_keys()))
            monkeypatch.setattr(server_lease, "LATE_S", -1.0)

    with pytest.raises(StoreBusyError, match="the lease taken over"):
        rebuild()
    assert made.count() == 96


def test_a_data_set_that_is_ingested_is_not_removed(
    client: QdrantClient, made: ServerStore, working: Working, sample: Path
) -> None:
    ingest(sample, working, made)
    with (
        memory_store("geosim", client).lease(Work("rocks")),
        pytest.raises(StoreBusyError, match="works on data set 'rocks'"),
    ):
        remove(made, "rocks", working.datasets)
    assert made.count() == 96
    remove(made, "rocks", working.datasets)
    assert made.count() == 0


def test_a_collection_that_another_ingest_made_at_the_same_time_is_joined(
    client: QdrantClient, working: Working, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = memory_store("geosim", client), memory_store("geosim", client)
    create = ServerStore.create

    def make_before(model: ModelRef) -> Callable[..., None]:
        def both(self: ServerStore, wanted: ModelRef) -> None:
            create(other, model)
            create(self, wanted)

        return both

    model = load_model(working.model)
    for found in (ModelRef("f" * 64, "resnet50"), ModelRef(model.fingerprint, model.spec.name)):
        store.drop()
        monkeypatch.setattr(ServerStore, "create", make_before(found))
        if found.fingerprint == model.fingerprint:
            assert ingest(sample, working, store).added == 96
        else:
            with pytest.raises(ModelMismatchError):
                ingest(sample, working, store)


def test_a_key_that_may_only_read_fails_before_a_picture_is_read(
    client: QdrantClient,
    made: ServerStore,
    working: Working,
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingest(sample, working, made)
    for request in ("update_collection", "upsert", "delete"):
        monkeypatch.setattr(client, request, denied)
    monkeypatch.setattr("geosim.ingest.check.hash_dataset", None)
    with pytest.raises(StoreDeniedError, match="GEOSIM_QDRANT_API_KEY"):
        ingest(sample, working, made)


# Processes, on a real server


@contextmanager
def holding(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a command to its first upsert, and hold it there."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holding\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def server(working: Working, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[object, ...]]:
    """Options of a collection of the test's own on a real server."""
    (url, key), name = real_server(), f"geosim-test-{uuid.uuid4().hex}"
    if key is not None:
        monkeypatch.setenv("GEOSIM_QDRANT_API_KEY", key)
    yield "--qdrant", url, "--collection", name, "--working", working.root
    with connect(url, key, name) as store:
        store.drop()


def test_processes_of_one_data_set_take_turns(
    geosim: Run, server: tuple[object, ...], sample: Path, rocks: Path, tmp_path: Path
) -> None:
    scans = rocks.rename(tmp_path / "scans")
    with holding("ingest", sample, *server) as first:
        again = geosim("ingest", sample, *server, "--wait", 0)
        assert again.exit_code == 1
        assert f"Error: process {first.pid} on " in again.stderr
        assert "works on data set 'rocks'" in again.stderr
        assert geosim("ingest", scans, *server, "--wait", 0).exit_code == 0
        rebuilt = geosim("ingest", scans, *server, "--recreate", "--wait", 0)
        assert f"Error: process {first.pid} on " in rebuilt.stderr
        out, err = first.communicate("\n" * 99, timeout=120)
        assert first.returncode == 0, err
        assert "added 96" in out
    assert "unchanged 96" in geosim("ingest", sample, *server, "--wait", 0).stdout


@pytest.mark.parametrize("recreate", [False, True])
def test_a_killed_process_is_taken_over(
    geosim: Run, server: tuple[object, ...], sample: Path, recreate: bool
) -> None:
    options = ["--recreate"] if recreate else []
    if recreate:
        assert geosim("ingest", sample, *server).exit_code == 0
    with holding("ingest", sample, *server, *options) as killed:
        killed.kill()
        killed.wait(60)
        done = geosim("ingest", sample, *server, *options)
        assert done.exit_code == 0, done.output
        assert ": 96 points" in done.stdout
