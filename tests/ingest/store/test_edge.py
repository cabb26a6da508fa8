"""The embedded engine's files: locks, crashes and damage."""

import errno
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge as edge
from filelock import FileLock

from geosim.ingest.schema import Change, Filter, ModelRef, Payload, Point, VectorQuery
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.edge_files import EdgeFiles
from geosim.ingest.store.edge_terms import SETTLE_FROM
from geosim.trainer.errors import StoreBusyError, StoreError

MODEL = ModelRef("abc123", "efficientnet-lite0")


def payloads(count: int) -> list[Payload]:
    return [Payload(f"rocks/marble/{i}.jpg", "marble", "00", 28, 28, "rocks") for i in range(count)]


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 32)).astype(np.float32)


def make(folder: Path, count: int = 20) -> None:
    with EdgeStore(folder, "rocks") as store:
        store.create(MODEL)
        store.upsert(payloads(count), vectors(count))


def run_elsewhere(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in another process, with ``FOLDER`` set."""
    setup = f"from pathlib import Path\nFOLDER = Path({str(folder)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", setup + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_collection_outlives_its_process(tmp_path: Path) -> None:
    make(tmp_path)
    with EdgeStore(tmp_path, "rocks") as store:
        info = store.info()
        assert info is not None
        assert (info.model, info.points) == (MODEL, 20)
        assert store.query([VectorQuery(vectors(20)[7])], 1)[0][0].payload == payloads(20)[7]


def test_a_closed_store_opens_again(tmp_path: Path) -> None:
    make(tmp_path)
    store = EdgeStore(tmp_path, "rocks")
    assert store.count() == 20
    store.close()
    assert store.count() == 20
    store.close()


def test_asking_for_a_missing_collection_creates_nothing(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path / "qdrant", "rocks")
    assert store.info() is None
    with pytest.raises(StoreError, match="geosim ingest DATA"):
        store.count()
    assert list(tmp_path.iterdir()) == []


def test_collections_of_one_folder_are_independent(tmp_path: Path) -> None:
    make(tmp_path)
    with EdgeStore(tmp_path, "rocks.2") as other:
        other.create(MODEL)
        assert other.count() == 0
        other.drop()
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == 20


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".rocks", "a/b", "a\\b", "../rocks", "a b", "rocks.json", "rocks.lock"]
)
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="cannot name a collection"):
        EdgeStore(tmp_path, name)


def test_a_second_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    with EdgeStore(tmp_path, "rocks") as first:
        assert first.count() == 20
        second = run_elsewhere(
            "from geosim.ingest.store.edge import EdgeStore\n"
            "for call in ('info', 'count', 'drop'):\n"
            "    try:\n"
            "        getattr(EdgeStore(FOLDER, 'rocks'), call)()\n"
            "    except Exception as error:\n"
            "        print(type(error).__name__, error)\n",
            tmp_path,
        )
        lines = second.stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["StoreBusyError"] * 3, second.stderr
        assert "--qdrant URL" in lines[0]
        first.upsert(payloads(30), vectors(30))
        assert first.count() == 30
    with EdgeStore(tmp_path, "rocks") as again:
        assert again.count() == 30
        assert len(again.query([VectorQuery(vectors(1)[0])], 30)[0]) == 30


def test_a_second_store_in_the_same_process_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with EdgeStore(tmp_path, "rocks") as first:
        assert first.count() == 20
        with pytest.raises(StoreBusyError):
            EdgeStore(tmp_path, "rocks").count()
    with EdgeStore(tmp_path, "rocks") as second:
        assert second.count() == 20


READ = (
    "import sys\n"
    "from geosim.ingest.store.edge import EdgeStore\n"
    "with EdgeStore(FOLDER, 'rocks', 30.0) as store:\n"
    "    print('waiting', flush=True)\n"
    "    print(store.count())\n"
)


def start_elsewhere(code: str, folder: Path) -> subprocess.Popen[str]:
    setup = f"from pathlib import Path\nFOLDER = Path({str(folder)!r})\n"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", setup + code], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def test_processes_wait_for_each_other_and_say_for_whom(tmp_path: Path) -> None:
    make(tmp_path)
    with EdgeStore(tmp_path, "rocks") as first:
        assert first.count() == 20
        others = [start_elsewhere(READ, tmp_path) for _ in range(6)]
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == "waiting\n"
        time.sleep(1.5)
        first.upsert(payloads(30), vectors(30))
    for other in others:
        stdout, stderr = other.communicate(timeout=60)
        assert (other.returncode, stdout) == (0, "30\n"), stderr
        (line,) = stderr.splitlines()
        assert re.fullmatch(
            rf"waiting for process {os.getpid()} \(.+\) to close collection 'rocks' .*", line
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rocks", "rocks.json", "rocks.lock"]


def test_a_wait_ends_with_the_holder_s_name(tmp_path: Path) -> None:
    make(tmp_path)
    holder = start_elsewhere(f"{READ}    sys.stdout.flush()\n    sys.stdin.read()\n", tmp_path)
    assert holder.stdout is not None
    assert [holder.stdout.readline(), holder.stdout.readline()] == ["waiting\n", "20\n"]
    with pytest.raises(StoreBusyError, match=rf"open in process {holder.pid} \(python\)"):
        EdgeStore(tmp_path, "rocks", wait=0.2).count()
    holder.kill()
    holder.communicate(timeout=60)
    with EdgeStore(tmp_path, "rocks") as store:  # a killed process holds nothing
        assert store.count() == 20


def test_two_first_writers_share_what_one_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EdgeStore(tmp_path, "rocks") as store:
        acquire = store._files.acquire

        def acquire_late() -> None:
            make(tmp_path)
            acquire()

        monkeypatch.setattr(store._files, "acquire", acquire_late)
        store.create(MODEL)
        assert store.count() == 20


@pytest.mark.parametrize("content", ["", "[]", '{"pid": 1}', '{"pid": "x"}', "DEAD"])
def test_a_stale_or_damaged_holder_is_not_believed(tmp_path: Path, content: str) -> None:
    make(tmp_path)
    if content == "DEAD":
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        content = json.dumps({"pid": dead.pid, "host": platform.node(), "command": "geosim serve"})
    (tmp_path / ".rocks.holder").write_text(content)
    with (
        FileLock(tmp_path / "rocks.lock"),
        pytest.raises(StoreBusyError, match="open in another process;"),
    ):
        EdgeStore(tmp_path, "rocks").count()
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == 20


def test_a_read_only_folder_is_read_from_a_copy(
    tmp_path: Path,
    make_read_only: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folder = tmp_path / "store"
    make(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    make_read_only(folder)
    killed = run_elsewhere(
        "import os, signal, tempfile\n"
        "from geosim.ingest.store.edge import EdgeStore\n"
        "tempfile.tempdir = str(FOLDER.parent / 'temporary')\n"
        "EdgeStore(FOLDER, 'rocks').count()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
        folder,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    with EdgeStore(folder, "rocks") as first, EdgeStore(folder, "rocks") as second:
        assert first.count() == second.count() == 20
        assert first.query([VectorQuery(vectors(20)[7])], 1)[0][0].payload == payloads(20)[7]
        copies = list((tmp_path / "temporary").iterdir())
        assert len(copies) == 2, "the copy of a killed process is deleted, that of a live one not"
        used = sum(path.stat().st_blocks * 512 for path in copies[0].rglob("*"))
        assert used < 4e6, "holes of sparse files are not written"
        for write in (
            lambda: first.upsert(payloads(30), vectors(30)),
            lambda: first.delete([payloads(1)[0].id]),
            first.drop,
            lambda: first.create(MODEL),
        ):
            with pytest.raises(StoreError, match=r"cannot write to .*name a writable folder"):
                write()
        assert first.count() == 20
    assert (
        capsys.readouterr().err.splitlines()
        == [f"{folder} is read-only: reading a temporary copy of it"] * 2
    )
    assert list((tmp_path / "temporary").iterdir()) == []
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_read_only_shard_is_never_dropped_by_halves(
    tmp_path: Path, make_read_only: Callable[[Path], None]
) -> None:
    make(tmp_path)
    make_read_only(tmp_path / "rocks")
    with EdgeStore(tmp_path, "rocks") as store:
        with pytest.raises(StoreError, match="cannot write to"):
            store.drop()
        assert store.count() == 20
    with FileLock(tmp_path / "rocks.lock", timeout=0):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="a shared lock needs write access there")
def test_a_copy_is_not_made_while_another_process_writes(
    tmp_path: Path, make_read_only: Callable[[Path], None]
) -> None:
    make(tmp_path)
    with FileLock(tmp_path / "rocks.lock"):  # as over a read-only mount of a writable folder
        make_read_only(tmp_path)
        with pytest.raises(StoreBusyError, match="another process"):
            EdgeStore(tmp_path, "rocks", wait=0.2).count()
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == 20


def test_a_copy_without_room_is_a_clear_error(
    tmp_path: Path, make_read_only: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    make(folder)
    make_read_only(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StoreError, match=r"is read-only, and a copy .* failed .*TMPDIR"):
        EdgeStore(folder, "rocks").count()


def test_threads_share_one_store(tmp_path: Path) -> None:
    make(tmp_path)
    counts: list[int] = []
    with EdgeStore(tmp_path, "rocks") as store:
        threads = [threading.Thread(target=lambda: counts.append(store.count())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == [20] * 4
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == 20


def test_acknowledged_points_survive_a_killed_process(tmp_path: Path) -> None:
    make(tmp_path)
    killed = run_elsewhere(
        "import os, signal\n"
        "import numpy as np\n"
        "from geosim.ingest.store.edge import EdgeStore\n"
        "from geosim.ingest.schema import Payload, point_id\n"
        "store = EdgeStore(FOLDER, 'rocks')\n"
        "names = [f'rocks/gneiss/{i}.jpg' for i in range(1500)]\n"
        "store.upsert([Payload(n, 'gneiss', '00', 1, 1, 'rocks') for n in names],\n"
        "             np.ones((1500, 32), dtype=np.float32))\n"
        "store.delete([point_id('rocks/marble/0.jpg')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
        tmp_path,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.values("class") == {"gneiss": 1500, "marble": 19}
        assert store.count() == 1519


def test_what_the_killed_engine_left_half_written_is_removed(tmp_path: Path) -> None:
    make(tmp_path)
    (segment,) = (tmp_path / "rocks" / "segments").iterdir()
    for folder in (segment, tmp_path / "rocks"):
        (folder / ".atomicwriteAb12").mkdir()
        (folder / ".atomicwriteAb12" / "tmpfile.tmp").write_bytes(b"half")
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == 20
    assert list(tmp_path.rglob(".atomicwrite*")) == []


def test_a_killed_create_counts_as_missing_and_is_repeated(tmp_path: Path) -> None:
    killed = run_elsewhere(
        "import os, signal\n"
        "from geosim.ingest import schema; from geosim.ingest.store import edge\n"
        "store = edge.EdgeStore(FOLDER, 'rocks')\n"
        "store._files.mark_ready = lambda model: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.create(schema.ModelRef('old', 'old'))\n",
        tmp_path,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert any((tmp_path / "rocks").iterdir())
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.info() is None
        store.create(MODEL)
        assert store.count() == 0
        info = store.info()
        assert info is not None
        assert info.model == MODEL


def test_a_create_killed_before_the_shard_is_repeated(tmp_path: Path) -> None:
    files = EdgeFiles(tmp_path, "rocks")
    files.acquire()
    files.make_shard_folder(MODEL)
    files.release()
    (tmp_path / "rocks").rmdir()
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.info() is None
        store.create(MODEL)
        assert store.count() == 0


@pytest.mark.parametrize("then", ["create", "drop"])
def test_a_killed_drop_counts_as_missing_and_is_repeated(tmp_path: Path, then: str) -> None:
    make(tmp_path)
    metadata = tmp_path / "rocks.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"ready": False}))
    (tmp_path / "rocks" / "edge_config.json").unlink()
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.info() is None
        if then == "drop":
            store.drop()
            assert not (tmp_path / "rocks").exists()
        store.create(MODEL)
        assert store.count() == 0


def test_a_collection_whose_folder_is_gone_is_made_anew(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "rocks").rename(tmp_path / "aside")
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.info() is None
        store.create(MODEL)
        assert store.count() == 0


def test_a_folder_without_metadata_is_never_deleted(tmp_path: Path) -> None:
    precious = tmp_path / "rocks" / "photo.jpg"
    precious.parent.mkdir()
    precious.write_bytes(b"precious")
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.info() is None
        store.drop()
        with pytest.raises(StoreError, match="move it away"):
            store.create(MODEL)
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("broken", ["edge_config.json", "tracker.dat"])
def test_a_damaged_shard_is_named_with_the_remedy(tmp_path: Path, broken: str) -> None:
    make(tmp_path)
    for path in sorted((tmp_path / "rocks").rglob(broken)):
        path.write_bytes(b"\xff" * path.stat().st_size)
    for _ in range(2):  # the failed opening released the lock
        with pytest.raises(StoreError, match=r"move .*rocks and rocks\.json away") as caught:
            EdgeStore(tmp_path, "rocks").count()
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("missing", ["*", "*/version.info"])
def test_a_lost_segment_is_damage_and_not_an_empty_collection(tmp_path: Path, missing: str) -> None:
    make(tmp_path)
    (path,) = (tmp_path / "rocks" / "segments").glob(missing)
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(StoreError, match=r"is damaged \(.*segments is missing\); .* away"):
        EdgeStore(tmp_path, "rocks").count()


@pytest.mark.parametrize("version", ["99.0.0", "0.1.0"])
def test_another_version_of_the_engine_is_not_damage(tmp_path: Path, version: str) -> None:
    make(tmp_path)
    (path,) = (tmp_path / "rocks").rglob("version.info")
    own = path.read_text()
    path.write_text(version)
    with pytest.raises(StoreError, match=r"another version of the engine .*is kept") as caught:
        EdgeStore(tmp_path, "rocks").count()
    assert "away" not in str(caught.value)
    path.write_text(own)
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == 20


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.EROFS])
def test_a_fault_of_the_machine_is_not_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    make(tmp_path)

    def fail(*_: object) -> None:  # as Qdrant Edge does
        raise Exception(f"Service runtime error: IO Error: it failed (os error {code})")

    monkeypatch.setattr(edge.EdgeShard, "load", fail)
    with pytest.raises(StoreError, match=r"is kept$") as caught:
        EdgeStore(tmp_path, "rocks").count()
    monkeypatch.undo()
    assert "damaged" not in str(caught.value)
    assert "away" not in str(caught.value)
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == 20


def test_what_the_engine_returns_from_damaged_files_is_damage(tmp_path: Path) -> None:
    make(tmp_path)
    (path,) = (tmp_path / "rocks").rglob("vector_storage/vectors/status.dat")
    path.unlink()
    with (
        EdgeStore(tmp_path, "rocks") as store,
        pytest.raises(StoreError, match=r"damaged .* away"),
    ):
        list(store.scan(vectors=True))


def test_metadata_that_cannot_be_read_is_not_damage(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "rocks.json").unlink()
    (tmp_path / "rocks.json").mkdir()
    with pytest.raises(StoreError, match=r"cannot read .*rocks\.json") as caught:
        EdgeStore(tmp_path, "rocks").count()
    assert "away" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null"])
def test_damaged_metadata_is_an_error_and_deletes_nothing(tmp_path: Path, content: str) -> None:
    make(tmp_path)
    (tmp_path / "rocks.json").write_text(content)
    with EdgeStore(tmp_path, "rocks") as store:
        with pytest.raises(StoreError, match="ingest again"):
            store.info()
        with pytest.raises(StoreError, match="move"):
            store.drop()
    assert any((tmp_path / "rocks").iterdir()), "geosim may not have made it"


def test_another_vector_size_is_an_error_and_can_be_dropped(tmp_path: Path) -> None:
    make(tmp_path)
    metadata = tmp_path / "rocks.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"vector_size": 16}))
    with EdgeStore(tmp_path, "rocks") as store:
        with pytest.raises(StoreError, match="size 16, expected 32"):
            store.info()
        store.drop()
        assert store.info() is None


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = EdgeStore(tmp_path / "file" / "qdrant", "rocks")
    assert store.info() is None
    with pytest.raises(StoreError, match="writable folder"):
        store.create(MODEL)


@pytest.mark.parametrize("content", ['{"mine": 1}', "[]", "no json", ""])
def test_drop_never_deletes_a_folder_beside_foreign_metadata(tmp_path: Path, content: str) -> None:
    (tmp_path / "photos").mkdir()
    picture = tmp_path / "photos" / "a.jpg"
    picture.write_bytes(b"picture")
    (tmp_path / "photos.json").write_text(content)
    with EdgeStore(tmp_path, "photos") as store, pytest.raises(StoreError, match="move"):
        store.drop()
    assert picture.read_bytes() == b"picture"
    assert (tmp_path / "photos.json").read_text() == content


def test_many_points_are_settled_and_stay_the_same_points(tmp_path: Path) -> None:
    count = SETTLE_FROM + 500
    images = [
        Payload(f"rocks/{kind}/{i}.jpg", kind, f"{i:064x}", 28, 28, "rocks")
        for i in range(count)
        for kind in (("marble", "gneiss")[i % 2],)
    ]
    queries = [VectorQuery(one) for one in vectors(3)]
    with EdgeStore(tmp_path, "rocks") as store:
        store.create(MODEL)
        store.upsert(images, vectors(count))
        before = store.query(queries, 10)
    segments = [*(tmp_path / "rocks" / "segments").iterdir()]
    assert len(segments) == 2, "one of the points, and one to write to"
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.query(queries, 10) == before
        gone, moved = images[0], replace(images[1], label="schist")
        store.delete([gone.id])
        store.update([Change((moved.id,), fields={"class": "schist"})])
        assert store.count() == count - 1
        assert store.values("class") == {
            "gneiss": count // 2 - 1,
            "marble": count // 2 - 1,
            "schist": 1,
        }
        assert store.fetch([gone.id, moved.id], vectors=False) == [Point(moved)]
        assert sum(len(batch) for batch in store.scan(vectors=False)) == count - 1
    (large,) = [one for one in segments if _points(one)]
    shutil.rmtree(large)
    with pytest.raises(StoreError, match=r"is damaged \(.*segments is missing\)"):
        EdgeStore(tmp_path, "rocks").count()


def test_changes_are_settled_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = payloads(SETTLE_FROM + 500)
    with EdgeStore(tmp_path, "rocks") as store:
        store.create(MODEL)
        store.upsert(images, vectors(len(images)))
    folder = tmp_path / "rocks" / "segments"
    before = {*folder.iterdir()}
    monkeypatch.setattr("geosim.ingest.store.edge.SEGMENT_POINTS", 12_000)
    with EdgeStore(tmp_path, "rocks") as store:
        changed = [one.id for one in images[:12_000]]
        store.update([Change(tuple(changed), fields={"class": "schist"})])
        assert {*folder.iterdir()} != before, "the store is still open"
        assert store.values("class")["schist"] == 12_000
        assert store.count() == len(images)


def test_a_collection_of_an_earlier_version_is_settled_by_the_next_write(tmp_path: Path) -> None:
    make(tmp_path, 0)
    images = payloads(SETTLE_FROM + 500)
    keyword = edge.PayloadSchemaType.Keyword
    shard = edge.EdgeShard.load(str(tmp_path / "rocks"))
    shard.update(edge.UpdateOperation.create_field_index("sha256", keyword))
    points = [
        edge.Point(one.id, vector.tolist(), one.to_dict())
        for one, vector in zip(images, vectors(len(images)), strict=True)
    ]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count() == len(images)
        store.delete([images[0].id])
    assert len([*(tmp_path / "rocks" / "segments").iterdir()]) == 2
    with EdgeStore(tmp_path, "rocks") as store:
        assert store.count(Filter(sha256="00")) == len(images) - 1


def _points(segment: Path) -> bool:
    """Return whether a segment holds points that do not change."""
    return '"hnsw"' in (segment / "segment.json").read_text()
