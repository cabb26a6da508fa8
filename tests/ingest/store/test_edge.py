"""The embedded engine's files: locks, crashes and damage."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from geosim.ingest.schema import ModelRef, Payload, VectorQuery
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.edge_files import EdgeFiles
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
