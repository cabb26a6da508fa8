"""What the commands tell about data sets, and what they refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.ingest.store.edge import EdgeStore
from geosim.trainer.data.places import read_places
from geosim.trainer.working import Working

Run = Callable[..., Result]
OPTIONS = ("--backbone", "colour-grid", "--epochs", 1)
ONCE = ("--split", "random")


def pictures(root: Path, *classes: str, count: int = 4, seed: int = 0) -> Path:
    for number, label in enumerate(classes):
        (root / label).mkdir(parents=True, exist_ok=True)
        for image in range(count):
            random = np.random.default_rng(seed + 100 * number + image)
            pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"IMG_{image:04}.png")
    return root


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    (line,) = (one for one in result.stderr.splitlines() if one.startswith("Error: "))
    return line


@pytest.fixture
def options(working: Working, tmp_path: Path) -> tuple[str, ...]:
    """A working folder with a model that knows no data set."""
    working.datasets.unlink()
    return ("--working", str(working.root))


def test_every_command_tells_name_and_classes_before_any_work(geosim: Run, tmp_path: Path) -> None:
    trip = pictures(tmp_path / "trip", "2023/granite", "2023/gneiss")
    working = ("--working", tmp_path / "working")
    first = "data set trip: 8 pictures, classes by folder: gneiss 4, granite 4"
    for command in (
        ("train", trip, *OPTIONS, *working),
        ("ingest", trip, *working),
        ("run", trip, *OPTIONS, *working),
        ("evaluate", trip, *OPTIONS, *ONCE, "--test-share", 0.5, *working),
    ):
        assert geosim(*command).stderr.splitlines()[0] == first, command


def test_many_classes_are_not_all_listed(geosim: Run, tmp_path: Path, options: object) -> None:
    data = pictures(tmp_path / "boxes", *(f"box-{n:02}" for n in range(20)), count=1)
    line = geosim("ingest", data, *options).stderr.splitlines()[0]
    assert line.startswith("data set boxes: 20 pictures, classes by folder: box-00 1, box-01 1, ")
    assert line.endswith("box-11 1 and 8 more")


def test_a_training_decides_the_classes_of_later_commands(geosim: Run, tmp_path: Path) -> None:
    trip = pictures(tmp_path / "trip", "north/granite", "north/gneiss")
    working = ("--working", tmp_path / "working")
    assert geosim("train", trip, *OPTIONS, *working).exit_code == 0
    pictures(trip, "south/granite", "south/gneiss", seed=500)
    told = "data set trip: 16 pictures, classes by folder: gneiss 8, granite 8"
    for command in (("ingest", trip), ("train", trip, *OPTIONS), ("ingest", trip)):
        assert geosim(*command, *working).stderr.splitlines()[0] == told
    assert geosim("evaluate", trip, *OPTIONS, *ONCE, *working).stderr.splitlines()[0] == told


def test_a_run_on_another_folder_of_the_same_name_keeps_model_and_collection(
    geosim: Run, tmp_path: Path
) -> None:
    working = Working(tmp_path / "working")
    options = ("--working", working.root)
    first = pictures(tmp_path / "day1" / "photos", "granite", "gneiss")
    assert geosim("run", first, *OPTIONS, *options).exit_code == 0
    model = (working.model / "model.json").read_bytes()
    second = pictures(tmp_path / "day2" / "photos", "granite", "gneiss", seed=900)
    for command in (("run", second, *OPTIONS), ("ingest", second)):
        line = refused(geosim(*command, *options))
        assert f"{first}: 8 of its 8 images would be deleted or replaced" in line
        assert f"if those of {second} are other ones" in line
        assert "--replace" in line
    assert (working.model / "model.json").read_bytes() == model
    assert "unchanged 8" in geosim("ingest", first, *options).stdout
    assert "changed 8" in geosim("ingest", second, "--replace", *options).stdout
    assert geosim("run", second, *OPTIONS, *options).exit_code == 0


def test_moves_and_drops_are_told(geosim: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    geosim("ingest", photos, *options)
    renamed = photos.rename(tmp_path / "field-photos")
    (renamed / "granite" / "IMG_0000.png").unlink()
    moved = geosim("ingest", renamed, *options)
    told = "moved 7 pictures from photos to field-photos; 1 others of it stay, see `geosim remove`"
    assert told in moved.stderr.splitlines()
    dropped = geosim("ingest", renamed, "--recreate", *options)
    assert "--recreate dropped other data sets: photos 1" in dropped.stderr.splitlines()


def test_a_run_on_a_renamed_folder_moves_it(geosim: Run, tmp_path: Path) -> None:
    working = Working(tmp_path / "working")
    options = ("--working", working.root)
    photos = pictures(tmp_path / "photos", "granite", "gneiss")
    assert geosim("run", photos, *OPTIONS, *options).exit_code == 0
    renamed = photos.rename(tmp_path / "field-photos")
    pictures(renamed, "marble", seed=300)
    done = geosim("run", renamed, *OPTIONS, *options)
    assert done.exit_code == 0, done.stderr
    assert "moved 8 pictures from photos to field-photos" in done.stderr.splitlines()
    assert "dropped" not in done.stderr
    with EdgeStore(working.qdrant, "geosim") as store:
        assert store.values("dataset") == {"field-photos": 12}
        assert store.origins().keys() == {"field-photos"}
    assert read_places(working.datasets).keys() == {"field-photos"}


def test_status_tells_where_data_sets_come_from(
    geosim: Run, tmp_path: Path, options: tuple[str, ...], working: Working
) -> None:
    photos = pictures(tmp_path / "photos", "granite")
    geosim("ingest", photos, *options)
    assert f"photos: 4 images; pictures: {photos}\n" in geosim("status", *options).stdout
    with EdgeStore(working.qdrant, "geosim") as store:
        origin = replace(store.origins()["photos"], machine="0" * 16, host="lab-3")
        store.set_origin("photos", origin)
    shown = geosim("status", *options).stdout
    assert f"pictures: {photos}; ingested from {photos} on lab-3\n" in shown
    found = json.loads(geosim("status", *options, "--format", "json").stdout)
    assert found["origins"] == {"photos": f"{photos} on lab-3"}


def test_a_data_set_is_removed_after_a_confirmation(
    geosim: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert "there is no collection" in refused(geosim("remove", "photos", "--yes", *options))
    photos = pictures(tmp_path / "photos", "granite")
    shutil.copytree(photos, tmp_path / "others")
    geosim("ingest", photos, *options)
    geosim("ingest", tmp_path / "others", *options)
    asked = geosim("remove", "photos", *options)
    assert asked.exit_code == 2
    assert "4 images of photos from collection geosim would be removed" in asked.stderr
    line = refused(geosim("remove", "photo", "--yes", *options))
    assert "no data set 'photo' in collection 'geosim'; expected: others, photos" in line
    done = geosim("remove", "photos/", "--yes", *options)
    assert done.exit_code == 0
    assert done.stderr == (
        "removed 4 images of photos from collection geosim; the pictures stay on disk\n"
    )
    found = json.loads(geosim("status", *options, "--format", "json").stdout)
    assert found["datasets"] == {"others": 4}
    assert found["pictures"].keys() == {"others"}
    assert len(list(photos.rglob("*.png"))) == 4
