"""Reading an embedded collection that other processes use meanwhile."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from geosim.ingest.schema import ModelRef, Payload, VectorQuery
from geosim.ingest.store import edge_shared
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.edge_shared import SharedEdgeStore
from geosim.trainer.errors import StoreBusyError, StoreError

MODEL, OTHER = ModelRef("abc123", "efficientnet-lite0"), ModelRef("def456", "colour-grid")


def payloads(count: int) -> list[Payload]:
    return [Payload(f"rocks/marble/{i}.jpg", "marble", "00", 28, 28, "rocks") for i in range(count)]


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 32)).astype(np.float32)


def fill(store: EdgeStore, count: int) -> None:
    store.upsert(payloads(count), vectors(count))


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path, copies: Path) -> Path:
    """A folder with a collection of 20 points."""
    with EdgeStore(tmp_path / "qdrant", "rocks") as store:
        store.create(MODEL)
        fill(store, 20)
    return tmp_path / "qdrant"


@pytest.fixture
def shared(folder: Path) -> Iterator[SharedEdgeStore]:
    with SharedEdgeStore(folder, "rocks") as store:
        yield store


def test_it_reads_what_is_stored_and_leaves_it_to_others(
    folder: Path, shared: SharedEdgeStore, copies: Path
) -> None:
    with SharedEdgeStore(folder, "rocks") as second:
        assert shared.count() == second.count() == 20
        assert len(list(copies.iterdir())) == 2
    with EdgeStore(folder, "rocks") as direct:
        queries = [VectorQuery(vector) for vector in vectors(3)]
        assert shared.query(queries, 5) == direct.query(queries, 5)
        assert shared.info() == direct.info()
        assert shared.values("class") == {"marble": 20}
        assert sum(map(len, shared.scan(vectors=True))) == 20
        ids = [payload.id for payload in payloads(4)]
        assert [one.payload for one in shared.fetch(ids)] == payloads(4)
    shared.close()
    shared.close()
    assert list(copies.iterdir()) == []
    assert sorted(one.name for one in folder.iterdir()) == ["rocks", "rocks.json", "rocks.lock"]


def test_a_change_is_seen_once_its_process_closes_the_collection(
    folder: Path, shared: SharedEdgeStore, copies: Path
) -> None:
    before = shared.info()
    with EdgeStore(folder, "rocks") as writer:
        assert shared.count() == writer.count() == 20
        fill(writer, 30)
        assert shared.count() == 20
        writer.delete([payloads(1)[0].id])
        assert shared.info() == before
    after = shared.info()
    assert before is not None
    assert after is not None
    assert (after.points, after.model) == (29, MODEL)
    assert after.revision != before.revision
    assert len(list(copies.iterdir())) == 1, "the copy before is deleted"


def test_reading_alone_makes_no_new_copy(
    folder: Path, shared: SharedEdgeStore, copies: Path
) -> None:
    assert shared.count() == 20
    first = list(copies.iterdir())
    with EdgeStore(folder, "rocks") as reader:
        assert reader.count() == 20
    assert shared.count() == 20
    assert list(copies.iterdir()) == first


def test_a_block_reads_one_state(folder: Path, shared: SharedEdgeStore, copies: Path) -> None:
    found: list[int] = []
    with shared.reading():
        assert shared.count() == 20
        with EdgeStore(folder, "rocks") as writer:
            fill(writer, 30)
        other = threading.Thread(target=lambda: found.append(shared.count()))
        other.start()
        other.join()
        with shared.reading():
            assert shared.values("class") == {"marble": 20}
    assert found == [30]
    assert shared.count() == 30
    assert len(list(copies.iterdir())) == 1


def test_a_collection_that_is_made_anew_is_never_missing(
    folder: Path, shared: SharedEdgeStore
) -> None:
    assert shared.count() == 20
    with EdgeStore(folder, "rocks") as writer:
        writer.drop()
        assert shared.count() == 20
        writer.create(OTHER)
        fill(writer, 5)
        info = shared.info()
        assert info is not None
        assert (info.model, info.points) == (MODEL, 20)
    info = shared.info()
    assert info is not None
    assert (info.model, info.points) == (OTHER, 5)
    with EdgeStore(folder, "rocks") as writer:
        writer.drop()
    with pytest.raises(StoreError, match="geosim ingest DATA"):
        shared.count()


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from geosim.ingest.schema import ModelRef, Payload
from geosim.ingest.store.edge import EdgeStore
store = EdgeStore(Path(sys.argv[1]), "rocks")
if sys.argv[2] == "recreate":
    store.drop()
    store.create(ModelRef("def456", "colour-grid"))
names = [f"rocks/gneiss/{i}.jpg" for i in range(7)]
store.upsert([Payload(n, "gneiss", "00", 1, 1, "rocks") for n in names],
             np.ones((7, 32), dtype=np.float32))
print("written", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "points"), [("add", 27), ("recreate", 7)])
def test_a_killed_writer_keeps_nobody_out(
    folder: Path, shared: SharedEdgeStore, how: str, points: int
) -> None:
    assert shared.count() == 20
    pipe = subprocess.PIPE
    arguments = [sys.executable, "-c", KILLED, str(folder), how]
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        assert shared.count() == 20
        writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    assert shared.count() == points
    with EdgeStore(folder, "rocks") as again:
        assert again.count() == points


def test_a_copy_of_a_killed_process_is_deleted(folder: Path, copies: Path) -> None:
    code = (
        "import os, signal, tempfile\n"
        "from pathlib import Path\n"
        "from geosim.ingest.store import edge_copy\n"
        "from geosim.ingest.store.edge_shared import SharedEdgeStore\n"
        f"tempfile.tempdir = {str(copies)!r}\n"
        "copied = edge_copy.copy_sparse\n"
        "def kill(*paths):\n"
        "    copied(*paths)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "edge_copy.copy_sparse = kill\n"
        f"SharedEdgeStore(Path({str(folder)!r}), 'rocks').count()\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (left,) = copies.iterdir()
    with EdgeStore(folder, "rocks") as store:  # its lock is free
        assert store.count() == 20
    with SharedEdgeStore(folder, "rocks") as shared:
        assert shared.count() == 20
        assert not left.exists()


def test_it_waits_for_a_reader_of_a_change_but_not_long(
    folder: Path, shared: SharedEdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared.count() == 20
    with EdgeStore(folder, "rocks") as writer:
        fill(writer, 30)
    with EdgeStore(folder, "rocks") as reader:
        assert reader.count() == 30
        monkeypatch.setattr(edge_shared, "BUSY_SECONDS", 0.1)
        assert shared.count() == 20
        monkeypatch.setattr(edge_shared, "BUSY_SECONDS", 60.0)
        assert shared.count() == 20, "the time was spent"
    assert shared.count() == 30
    with EdgeStore(folder, "rocks") as writer:
        fill(writer, 40)
    reader = EdgeStore(folder, "rocks")
    assert reader.count() == 40
    closing = threading.Timer(0.3, reader.close)
    closing.start()
    assert shared.count() == 40
    closing.join()


def test_the_first_reader_waits_for_a_writer(folder: Path) -> None:
    with EdgeStore(folder, "rocks") as writer:
        fill(writer, 30)
        with SharedEdgeStore(folder, "rocks") as shared, pytest.raises(StoreBusyError):
            shared.count()
        closing = threading.Timer(0.3, writer.close)
        closing.start()
        with SharedEdgeStore(folder, "rocks", wait=60.0) as shared:
            assert shared.count() == 30
        closing.join()


def test_without_room_for_a_copy_it_is_open_only_while_it_is_read(
    folder: Path, shared: SharedEdgeStore, copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies.rmdir()
    for count in (20, 30):
        with EdgeStore(folder, "rocks") as writer:
            fill(writer, count)
        with shared.reading():
            assert shared.count() == count
            with pytest.raises(StoreBusyError):
                EdgeStore(folder, "rocks").count()
            assert shared.values("class") == {"marble": count}
    (line,) = capsys.readouterr().err.splitlines()
    assert "TMPDIR" in line
    copies.mkdir()
    with shared.reading(), EdgeStore(folder, "rocks") as reader:
        assert shared.count() == reader.count() == 30


def test_without_room_for_a_copy_busy_readers_let_others_in(folder: Path, copies: Path) -> None:
    copies.rmdir()
    shared = SharedEdgeStore(folder, "rocks", wait=60.0)
    done = threading.Event()
    found: list[tuple[int, dict[str, int]]] = []

    def read() -> None:
        while not done.is_set():
            with shared.reading():
                found.append((shared.count(), shared.values("class")))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for count in (30, 40):
            with EdgeStore(folder, "rocks", wait=60.0) as writer:
                fill(writer, count)
                before = len(found)
            assert shared.count() == count
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert before
    assert all(classes == {"marble": count} for count, classes in found)
    assert [count for count, _ in found] == sorted(count for count, _ in found)


def test_it_refuses_to_write(shared: SharedEdgeStore) -> None:
    for write in (
        lambda: fill(shared, 30),  # type: ignore[arg-type]
        lambda: shared.delete([payloads(1)[0].id]),
        lambda: shared.create(MODEL),
        shared.drop,
    ):
        with pytest.raises(StoreError, match="open for reading"):
            write()
    assert shared.count() == 20


def test_a_missing_collection_creates_nothing(tmp_path: Path) -> None:
    with SharedEdgeStore(tmp_path / "qdrant", "rocks") as shared:
        assert shared.info() is None
        with pytest.raises(StoreError, match="geosim ingest DATA"):
            shared.count()
    assert list(tmp_path.iterdir()) == []


def test_a_collection_of_an_earlier_version_is_read(folder: Path, shared: SharedEdgeStore) -> None:
    metadata = folder / "rocks.json"
    stored = json.loads(metadata.read_text())
    metadata.write_text(
        json.dumps({name: stored[name] for name in stored.keys() - {"revision", "writing"}})
    )
    assert shared.count() == 20
    with EdgeStore(folder, "rocks") as writer:
        fill(writer, 30)
    assert shared.count() == 30


def test_a_read_only_folder_is_shared(
    folder: Path, make_read_only: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    make_read_only(folder)
    with SharedEdgeStore(folder, "rocks") as first, SharedEdgeStore(folder, "rocks") as second:
        assert first.count() == second.count() == 20
    assert "is read-only: reading a temporary copy" in capsys.readouterr().err


def test_many_threads_see_only_whole_changes(folder: Path, shared: SharedEdgeStore) -> None:
    done, wrong = threading.Event(), []
    assert shared.count() == 20, "copied before another process writes"

    def read() -> None:
        latest = 0
        while not done.is_set():
            with shared.reading():
                count, classes = shared.count(), shared.values("class")
            if count % 10 or classes != {"marble": count} or count < latest:
                wrong.append((latest, count, classes))
            latest = count

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for count in (30, 40, 50):
        with EdgeStore(folder, "rocks", wait=60.0) as writer:
            for start in range(count - 10, count, 2):  # half a change is never seen
                writer.upsert(payloads(count)[start : start + 2], vectors(2))
        assert shared.count() == count
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
