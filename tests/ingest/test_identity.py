"""Whose pictures a data set holds: places, refusals, moves and removals, on both engines."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qdrant_client import QdrantClient

from geosim.ingest.known import decide_for
from geosim.ingest.remove import remove
from geosim.ingest.schema import Filter, ModelRef, Origin
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import SyncReport, sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.layout import Layout
from geosim.trainer.data.places import Place, read_places
from geosim.trainer.errors import DatasetError, StoreError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.memory import memory_store


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def pictures(root: Path, *classes: str, count: int = 4, seed: int = 0) -> Path:
    for number, label in enumerate(classes):
        for image in range(count):
            picture(root / label / f"IMG_{image:04}.png", seed + 100 * number + image)
    return root


@pytest.fixture
def working(working: Working) -> Working:
    working.datasets.unlink()  # of the training
    return working


def ingest(data: Path, working: Working, store: VectorStore, **options: Any) -> SyncReport:
    dataset = open_dataset(data, decide=decide_for(store, working.datasets))
    return sync(dataset, load_model(working.model), store, working, **options)


def counts(report: SyncReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.deleted, report.unchanged


def content(store: VectorStore) -> dict[str, tuple[str, str]]:
    points = [one.payload for batch in store.scan(vectors=False) for one in batch]
    return {one.path: (one.label, one.sha256) for one in points}


def elsewhere(store: VectorStore, name: str) -> None:
    """Note that a data set comes from another machine."""
    origin = store.origins()[name]
    store.set_origin(name, replace(origin, machine="0" * 16, host="lab-3"))


# Root and classes


def test_a_second_year_and_a_stray_picture_change_no_class(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    trip = pictures(tmp_path / "trip", "2023/granite", "2023/gneiss")
    assert counts(ingest(trip, working, store)) == (8, 0, 0, 0)
    pictures(trip, "2024/granite", "2024/gneiss", seed=500)
    picture(trip / "stray.png", 1)
    assert counts(ingest(trip, working, store)) == (9, 0, 0, 8)
    assert store.values("class") == {"gneiss": 8, "granite": 8}
    shutil.rmtree(trip / "2024")
    shutil.rmtree(trip / "2023" / "gneiss")
    with pytest.raises(StoreError, match="12 of its 17 images"):
        ingest(trip, working, store)
    assert counts(ingest(trip, working, store, replace=True)) == (0, 0, 12, 5)
    assert store.values("class") == {"granite": 4}
    assert store.unlabelled() == 1


def test_the_level_of_the_classes_is_kept_in_the_collection(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    trip = pictures(tmp_path / "trip", "north/granite", "north/gneiss")
    ingest(trip, working, store)
    pictures(trip, "south/granite", "south/gneiss", seed=500)
    working.datasets.unlink()  # another working folder
    assert counts(ingest(trip, working, store)) == (8, 0, 0, 8)
    assert store.values("class") == {"gneiss": 8, "granite": 8}
    assert read_places(working.datasets) == {"trip": Place(str(trip), None, 1)}
    elsewhere(store, "trip")
    working.datasets.unlink()
    assert counts(ingest(trip, working, store)) == (0, 0, 0, 16)


@pytest.mark.parametrize("catalog", [True, False])
def test_a_data_set_of_an_earlier_version_goes_on(
    tmp_path: Path, working: Working, store: VectorStore, catalog: bool
) -> None:
    trip = pictures(tmp_path / "trip", "2023/granite", "2023/gneiss")
    ingest(trip / "2023", working, store)  # gives the paths of an earlier version
    before = content(store)
    assert "2023/granite/IMG_0000.png" in before
    store.set_origin("2023", None)
    working.datasets.unlink()
    if catalog:
        working.datasets.write_text('{"2023": {"folder": "%s"}}' % (trip / "2023"))
    assert counts(ingest(trip, working, store)) == (0, 0, 0, 8)
    assert content(store) == before
    assert store.origins()["2023"].place == Place(str(trip / "2023"))
    picture(trip / "stray.png", 1)
    picture(trip / "2023" / "marble" / "a.png", 2)
    assert counts(ingest(trip, working, store)) == (1, 0, 0, 8)


def test_the_classes_of_an_earlier_version_stay(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    data = pictures(tmp_path / "set", "train/granite", "test/granite")
    old = open_dataset(data, decide=lambda *_: Layout("set"))
    sync(old, load_model(working.model), store, working)
    store.set_origin("set", None)
    working.datasets.unlink()
    assert counts(ingest(data, working, store)) == (0, 0, 0, 8)
    assert store.values("class") == {"test": 4, "train": 4}
    remove(store, "set", working.datasets)
    assert counts(ingest(data, working, store)) == (8, 0, 0, 0)
    assert store.values("class") == {"granite": 8}


# Refusals


def test_another_folder_of_the_same_name_and_file_names_is_refused(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    first = pictures(tmp_path / "day1" / "photos", "granite", "gneiss")
    ingest(first, working, store)
    before = content(store)
    second = pictures(tmp_path / "day2" / "photos", "granite", "gneiss", seed=900)
    with pytest.raises(StoreError) as refused:
        ingest(second, working, store)
    for text in ("8 of its 8 images", str(first), str(second), "--replace", "rename"):
        assert text in str(refused.value)
    assert content(store) == before
    assert read_places(working.datasets)["photos"].path == str(first)
    assert counts(ingest(second, working, store, replace=True)) == (0, 8, 0, 0)
    assert store.origins()["photos"].place.path == str(second)
    with pytest.raises(StoreError, match="8 of its 8"):
        ingest(first, working, store)


@pytest.mark.parametrize("change", ["other names", "one deleted", "one edited", "one in common"])
def test_another_machine_of_the_same_folder_name_is_refused(
    tmp_path: Path, working: Working, store: VectorStore, change: str
) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    ingest(photos, working, store)
    elsewhere(store, "photos")
    before = content(store)
    lost = 1
    if change == "other names":
        lost = 8
        (photos / "granite").rename(photos / "other")
        shutil.rmtree(photos)
        pictures(photos, "marble", seed=300)
    elif change == "one deleted":
        (photos / "granite" / "IMG_0000.png").unlink()
    elif change == "one edited":
        picture(photos / "granite" / "IMG_0000.png", 77)
    else:
        lost = 7
        shutil.rmtree(photos / "gneiss")
        for number in (1, 2, 3):
            (photos / "granite" / f"IMG_000{number}.png").unlink()
        pictures(photos, "marble", seed=300)
    with pytest.raises(StoreError, match=rf"{lost} of its 8 images.*--replace") as refused:
        ingest(photos, working, store)
    assert "on lab-3" in str(refused.value)
    assert content(store) == before
    ingest(photos, working, store, replace=True)
    assert store.origins()["photos"] == Origin.here(Place(str(photos)))


def test_the_same_pictures_from_another_machine_or_folder_go_on(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    ingest(photos, working, store)
    elsewhere(store, "photos")
    home = store.origins()["photos"]
    assert counts(ingest(photos, working, store)) == (0, 0, 0, 8)
    pictures(photos, "marble", seed=300, count=20)
    assert counts(ingest(photos, working, store)) == (20, 0, 0, 8)
    assert store.origins()["photos"] == home
    store.set_origin("photos", Origin.here(Place(str(photos))))
    copy = Path(shutil.copytree(photos, tmp_path / "copy" / "photos"))
    assert counts(ingest(copy, working, store)) == (0, 0, 0, 28)
    (copy / "marble" / "IMG_0000.png").unlink()
    with pytest.raises(StoreError, match="1 of its 28"):
        ingest(copy, working, store)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "photos").symlink_to(photos)
    (photos / "marble" / "IMG_0000.png").unlink()
    assert counts(ingest(tmp_path / "link" / "photos", working, store)) == (0, 0, 1, 27)
    shutil.rmtree(photos)  # the copy is now where the folder was moved to
    (copy / "marble" / "IMG_0001.png").unlink()
    assert counts(ingest(copy, working, store)) == (0, 0, 1, 26)
    assert store.origins()["photos"].place.path == str(copy)


def test_more_than_half_of_an_own_folder_is_refused_and_a_few_are_not(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    photos = pictures(tmp_path / "photos", "granite", count=3)
    ingest(photos, working, store)
    for number in range(2):
        picture(photos / "granite" / f"IMG_000{number}.png", 50 + number)
    assert counts(ingest(photos, working, store)) == (0, 2, 0, 1)
    for number in range(3):
        picture(photos / "granite" / f"IMG_000{number}.png", 60 + number)
    with pytest.raises(StoreError, match=r"3 of its 3 images.*check .*--replace"):
        ingest(photos, working, store)
    assert counts(ingest(photos, working, store, replace=True)) == (0, 3, 0, 0)


def test_recreate_does_not_drop_the_data_sets_of_other_machines(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    ingest(pictures(tmp_path / "theirs", "granite"), working, store)
    own = pictures(tmp_path / "own", "gneiss", seed=300)
    ingest(own, working, store)
    report = ingest(own, working, store, recreate=True)
    assert report.dropped == {"theirs": 4}
    assert store.origins().keys() == {"own"}
    ingest(tmp_path / "theirs", working, store)
    elsewhere(store, "theirs")
    with pytest.raises(StoreError, match=r"theirs of .*theirs on lab-3; .*--replace"):
        ingest(own, working, store, recreate=True)
    assert store.count() == 8
    assert ingest(own, working, store, recreate=True, replace=True).points == 4


# Moves


def vectors(store: VectorStore) -> dict[str, np.ndarray]:
    points = [one for batch in store.scan(vectors=True) for one in batch]
    return {one.payload.path: np.asarray(one.vector) for one in points}


def test_a_renamed_folder_moves_with_its_vectors(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    ingest(photos, working, store)
    before = vectors(store)
    renamed = photos.rename(tmp_path / "field-photos")
    shutil.rmtree(working.features)
    picture(renamed / "granite" / "new.png", 42)
    report = ingest(renamed, working, store)
    assert (counts(report), report.computed, report.moved) == ((9, 0, 0, 0), 1, {"photos": 8})
    after = vectors(store)
    for path, vector in before.items():
        moved = after[path.replace("photos", "field-photos")]
        np.testing.assert_allclose(moved, vector, atol=1e-6)
    assert store.values("dataset") == {"field-photos": 9}
    assert store.origins().keys() == read_places(working.datasets).keys() == {"field-photos"}
    assert ingest(renamed, working, store).moved == {}


def test_what_is_left_of_a_moved_data_set_stays(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    ingest(photos, working, store)
    renamed = photos.rename(tmp_path / "field-photos")
    (renamed / "granite" / "IMG_0000.png").unlink()
    report = ingest(renamed, working, store)
    assert (report.moved, report.left) == ({"photos": 7}, {"photos": 1})
    assert store.values("dataset") == {"field-photos": 7, "photos": 1}
    assert "photos" in store.origins()


def test_pictures_renamed_in_a_data_set_keep_their_vectors(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    ingest(photos, working, store)
    shutil.rmtree(working.features)
    (photos / "granite").rename(photos / "granodiorite")
    first, second = (photos / "gneiss" / f"IMG_000{n}.png" for n in (0, 1))
    first.rename(photos / "x"), second.rename(first), (photos / "x").rename(second)
    report = ingest(photos, working, store)
    assert (counts(report), report.computed) == ((4, 2, 4, 2), 0)
    assert store.values("class") == {"gneiss": 4, "granodiorite": 4}
    with EdgeStore(tmp_path / "fresh", "geosim") as fresh:
        ingest(photos, working, fresh)
        expected, found = vectors(fresh), vectors(store)
    assert found.keys() == expected.keys()
    for path, vector in found.items():
        np.testing.assert_allclose(vector, expected[path], atol=1e-6)


def test_a_folder_within_a_data_set_is_not_stored_twice(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    trip = pictures(tmp_path / "trip", "2023/granite", "2023/gneiss", "2024/granite")
    ingest(trip / "2023", working, store)
    with pytest.raises(StoreError, match=r"8 images of .*trip are in data set '2023'.*--replace"):
        ingest(trip, working, store)
    report = ingest(trip, working, store, replace=True)
    assert report.moved == {"2023": 8}
    assert store.values("dataset") == {"trip": 12}
    with pytest.raises(StoreError, match="in data set 'trip'"):
        ingest(trip / "2024", working, store)
    assert store.count() == 12


def test_a_folder_is_known_by_every_link_to_it(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    trip = pictures(tmp_path / "disk" / "trip", "2023/granite", "2023/gneiss", "2024/granite")
    (tmp_path / "shortcut").symlink_to(trip)
    (tmp_path / "mount").symlink_to(tmp_path / "disk")
    assert counts(ingest(tmp_path / "shortcut", working, store)) == (12, 0, 0, 0)
    for path in (trip, tmp_path / "mount" / "trip", tmp_path / "shortcut"):
        assert counts(ingest(path, working, store)) == (0, 0, 0, 12)
    with pytest.raises(StoreError, match=r"8 images of .* are in data set 'shortcut'"):
        ingest(tmp_path / "mount" / "trip" / "2023", working, store)
    assert store.values("dataset") == {"shortcut": 12}


def test_a_class_on_a_disk_that_is_not_mounted_is_not_deleted(
    tmp_path: Path, working: Working, store: VectorStore
) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss", "slate")
    disk = pictures(tmp_path / "disk", "basalt", seed=900)
    (photos / "basalt").symlink_to(disk / "basalt")
    (photos / "notes.txt").symlink_to(tmp_path / "nowhere.txt")
    ingest(photos, working, store)
    disk.rename(tmp_path / "unmounted")
    with pytest.raises(DatasetError, match=r"photos.basalt.*--exclude. Nothing was changed"):
        ingest(photos, working, store)
    assert store.count() == 16
    (photos / "basalt").unlink()
    assert counts(ingest(photos, working, store)) == (0, 0, 4, 12)


KILLED = """
import os, signal, sys
from pathlib import Path
import geosim.ingest.sync as module
from geosim.ingest.known import decide_for
from geosim.ingest.store.edge import EdgeStore
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

class KilledStore(EdgeStore):
    calls = 0
    def write(self, name, *args):
        KilledStore.calls += 1
        if KilledStore.calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        getattr(super(), name)(*args)
    def upsert(self, *args): self.write("upsert", *args)
    def delete(self, *args): self.write("delete", *args)
    def set_origin(self, *args): self.write("set_origin", *args)

data, working = Path(sys.argv[1]), Working(Path(sys.argv[2]))
store = KilledStore(working.qdrant, "geosim")
dataset = open_dataset(data, decide=decide_for(store, working.datasets))
module.sync(dataset, load_model(working.model), store, working)
"""


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_a_killed_move_ends_right(tmp_path: Path, working: Working, call: int) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    with EdgeStore(working.qdrant, "geosim") as store:
        ingest(photos, working, store)
    renamed = photos.rename(tmp_path / "field-photos")
    arguments = [str(renamed), str(working.root), str(call)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, timeout=120)
    assert killed.returncode == -9
    with EdgeStore(working.qdrant, "geosim") as store:
        ingest(renamed, working, store)
        assert store.values("dataset") == {"field-photos": 8}
        assert store.origins().keys() == {"field-photos"}
    assert read_places(working.datasets).keys() == {"field-photos"}


# Removal


def test_one_data_set_is_removed(tmp_path: Path, working: Working, store: VectorStore) -> None:
    with pytest.raises(StoreError, match="no collection"):
        remove(store, "photos", working.datasets)
    photos = pictures(tmp_path / "photos", "granite")
    ingest(photos, working, store)
    ingest(pictures(tmp_path / "others", "granite", seed=300), working, store)
    with pytest.raises(StoreError, match=r"no data set 'photo' .*expected: others, photos"):
        remove(store, "photo", working.datasets)
    remove(store, "photos", working.datasets)
    assert store.values("dataset") == {"others": 4}
    assert store.origins().keys() == read_places(working.datasets).keys() == {"others"}
    assert len(list(photos.rglob("*.png"))) == 4
    assert store.count(Filter(dataset="others")) == 4


def test_machines_may_note_their_origins_at_once(tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    stores = [memory_store("geosim", client) for _ in range(2)]
    stores[0].create(ModelRef("f" * 64, "colour-grid"))
    seen = [store.origins() for store in stores]  # both before either writes
    assert seen == [{}, {}]
    for number, store in enumerate(stores):
        store.set_origin(f"set-{number}", Origin.here(Place(f"/data/\udcff{number}", None, 2)))
    assert stores[0].origins() == {
        f"set-{number}": Origin.here(Place(f"/data/\udcff{number}", None, 2)) for number in range(2)
    }
    info = stores[1].info()
    assert info is not None
    assert info.model.backbone == "colour-grid"
