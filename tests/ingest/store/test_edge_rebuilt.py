"""A collection of the embedded engine is made anew beside the old one, which is read meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geosim.ingest.schema import ModelRef, Payload
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.edge_shared import SharedEdgeStore
from geosim.trainer.errors import StoreBusyError, StoreError

OLD, NEW = ModelRef("a" * 64, "colour-grid"), ModelRef("b" * 64, "colour-grid")


def fill(store: VectorStore, model: ModelRef, count: int) -> None:
    if store.info() is None:
        store.create(model)
    payloads = [Payload(f"rocks/c/{i}.jpg", "c", "0" * 64, 1, 1, "rocks") for i in range(count)]
    store.upsert(payloads, np.eye(32, dtype=np.float32)[:count])


def found(store: VectorStore) -> tuple[str, int]:
    info = store.info()
    assert info is not None
    assert info.model == store.model()
    return info.model.fingerprint[0], len(next(store.scan(vectors=True), []))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a collection of 2 points."""
    with EdgeStore(tmp_path / "qdrant", "rocks") as store:
        fill(store, OLD, 2)
    return tmp_path / "qdrant"


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_others_read_the_old_one_until_the_new_one_is_complete(folder: Path) -> None:
    with EdgeStore(folder, "rocks") as store, SharedEdgeStore(folder, "rocks") as page:
        for model, count, place in ((NEW, 3, "rocks+2"), (OLD, 4, "rocks"), (NEW, 5, "rocks+2")):
            before = found(page)
            with store.rebuilt(model) as new:
                assert new.info() is None
                fill(new, model, count)
                assert found(page) == before
                with EdgeStore(folder, "rocks") as reader:
                    assert found(reader) == before
            assert found(page) == found(store) == (model.fingerprint[0], count)
            assert names(folder) == sorted([place, "rocks.json", "rocks.lock", ".rocks.holder"])
            store.release()
        fill(store, NEW, 6)
        assert found(store) == ("b", 6)
        store.drop()
    assert names(folder) == ["rocks.lock"]


def test_a_failure_leaves_the_old_one(folder: Path) -> None:
    with EdgeStore(folder, "rocks") as store:

        def fail(error: BaseException) -> None:
            with store.rebuilt(NEW) as new:
                fill(new, NEW, 3)
                raise error

        for error in (StoreError("full"), KeyboardInterrupt()):
            with pytest.raises(type(error)):
                fail(error)
            assert found(store) == ("a", 2)
    assert names(folder) == ["rocks", "rocks.json", "rocks.lock"]


def test_without_a_collection_it_is_made(tmp_path: Path) -> None:
    with EdgeStore(tmp_path, "rocks") as store:
        with store.rebuilt(NEW) as new:
            fill(new, NEW, 3)
        assert found(store) == ("b", 3)


def test_a_change_meanwhile_is_not_lost(folder: Path) -> None:
    with EdgeStore(folder, "rocks") as store:

        def be_late() -> None:
            with store.rebuilt(NEW) as new:
                fill(new, NEW, 3)
                with EdgeStore(folder, "rocks") as other:
                    fill(other, OLD, 7)

        with pytest.raises(StoreError, match=r"another process changed .* run the same command"):
            be_late()
        assert found(store) == ("a", 7)


def test_a_reader_that_stays_is_named(folder: Path) -> None:
    def be_kept_out() -> None:
        with EdgeStore(folder, "rocks") as store, store.rebuilt(NEW) as new:
            fill(new, NEW, 3)
            assert found(reader) == ("a", 2)

    with EdgeStore(folder, "rocks") as reader:
        with pytest.raises(
            StoreBusyError, match=r"cannot take the place .* is open in this process"
        ):
            be_kept_out()
        assert found(reader) == ("a", 2)


KILLED = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.ingest.store.test_edge_rebuilt import NEW, fill
from tests.kills import die_at
from geosim.ingest.store.edge import EdgeStore

with EdgeStore(Path(sys.argv[2]), "rocks") as store:
    with store.rebuilt(NEW) as new:
        fill(new, NEW, 3)
        die_at(int(sys.argv[3]), (Path, "rename"), (Path, "replace"), (Path, "unlink"),
               (shutil, "rmtree"), (os, "unlink"), (os, "rmdir"))
print("ended")
"""


def test_a_kill_leaves_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    outcomes = []
    # Before the new shard and the metadata have their names, after it, and amid the deletion.
    for at in (9, 11, 12, 60):
        folder = tmp_path / str(at)
        with EdgeStore(folder, "rocks") as store:
            fill(store, OLD, 2)
        root = Path(__file__).parents[3]
        command = [sys.executable, "-c", KILLED, str(root), str(folder), str(at)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
        with SharedEdgeStore(folder, "rocks") as page, EdgeStore(folder, "rocks") as store:
            outcomes.append(found(page))
            assert found(store) == outcomes[-1]
            assert len(names(folder)) == 4, "nothing is left of the other one"
            with store.rebuilt(NEW) as new:
                fill(new, NEW, 4)
            assert found(store) == ("b", 4)
    assert outcomes == [("a", 2)] * 2 + [("b", 3)] * 2


@pytest.mark.parametrize("place", ["../rocks", "other", "", None, 3])
def test_metadata_never_names_another_folder(folder: Path, place: object) -> None:
    stored = json.loads((folder / "rocks.json").read_text())
    (folder / "rocks.json").write_text(json.dumps({**stored, "shard": place}))
    with EdgeStore(folder, "rocks") as store, pytest.raises(StoreError, match="is damaged"):
        store.count()
