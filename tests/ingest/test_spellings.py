"""Collections whose paths earlier versions stored as the files are called on disk."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from geosim.ingest.catalog import ImageReader
from geosim.ingest.schema import Point, point_id
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.trainer.data.dataset import Dataset, open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

NFC, NFD = (unicodedata.normalize(form, "Grünstein") for form in ("NFC", "NFD"))


def points(store: EdgeStore) -> dict[str, Point]:
    return {point.payload.path: point for batch in store.scan(vectors=True) for point in batch}


def ingest(working: Working, dataset: Dataset) -> None:
    with EdgeStore(working.qdrant, "geosim") as store:
        report = sync(dataset, load_model(working.model), store, working)
    assert not report.rejected
    assert report.points == len(dataset.records)


def store_as_before(working: Working, spell: Callable[[str], str], *, copy: bool = False) -> None:
    """Give all points the paths, classes and data sets that an earlier version stored."""
    ids, payloads, vectors = [], [], []
    with EdgeStore(working.qdrant, "geosim") as store:
        for point in points(store).values():
            old = point.payload
            path, url = spell(old.path), f"http://host/{point_id(spell(old.path))}.jpg"
            name, label, _ = path.split("/", 2)
            fields = {"path": path, "label": label, "dataset": name, "image_url": url}
            if path != old.path:
                ids.append(old.id)
                payloads.append(replace(old, **fields))
                vectors.append(point.vector)
        if payloads:
            store.upsert(payloads, np.array(vectors))
            if not copy:
                store.delete(ids)


@pytest.fixture(params=["rocks", NFD])
def macos(request: pytest.FixtureRequest, rocks: Path, tmp_path: Path) -> Path:
    """A data set as a Mac names it, below a folder of a plain name or of its own kind."""
    (rocks / "marble").rename(rocks / NFD)
    return rocks.rename(tmp_path / request.param)


def decomposed(path: str) -> str:
    return unicodedata.normalize("NFD", path)


@pytest.mark.parametrize("copy", [False, True], ids=["as left by a Mac", "with both forms"])
def test_an_ingest_stores_the_present_spelling_and_doubles_nothing(
    working: Working, macos: Path, *, copy: bool
) -> None:
    dataset = open_dataset(macos)
    ingest(working, dataset)
    with EdgeStore(working.qdrant, "geosim") as store:
        expected = points(store)
    store_as_before(working, decomposed, copy=copy)
    ingest(working, dataset)
    with EdgeStore(working.qdrant, "geosim") as store:
        found = points(store)
    assert found.keys() == expected.keys()
    for path, point in found.items():
        assert point.payload.label == expected[path].payload.label
        url = point.payload.image_url
        assert not url or copy or url == f"http://host/{point_id(path)}.jpg"


def test_an_unreadable_image_keeps_its_point_under_the_former_spelling(
    working: Working, macos: Path
) -> None:
    dataset = open_dataset(macos)
    ingest(working, dataset)
    store_as_before(working, decomposed)
    broken = next(macos.joinpath(NFD).iterdir())
    broken.unlink()
    broken.mkdir()  # in place of the picture
    with EdgeStore(working.qdrant, "geosim") as store:
        report = sync(dataset, load_model(working.model), store, working)
        assert len(report.rejected) == 1
        assert report.points == len(dataset.records)
        assert sum(path != unicodedata.normalize("NFC", path) for path in points(store)) == 1


def test_former_spellings_of_deleted_files_are_deleted(working: Working, macos: Path) -> None:
    ingest(working, open_dataset(macos))
    store_as_before(working, decomposed)
    next(macos.joinpath(NFD).iterdir()).unlink()
    ingest(working, open_dataset(macos))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_class_or_path_typed_in_either_form_is_found_before_the_next_ingest(
    working: Working,
    macos: Path,
    form: str,
    geosim: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingest(working, open_dataset(macos))
    for spell in (lambda path: path, decomposed):
        store_as_before(working, spell)
        typed = unicodedata.normalize(form, f"{macos.name}/Grünstein/marble-0003.jpg")
        for query in (typed, typed.replace("/", "\\")):
            for where in (macos.parent, macos.parent.parent):  # with and without the file
                monkeypatch.chdir(where)
                options = ("--class", unicodedata.normalize(form, "Grünstein"), "-k", 5)
                options += ("--format", "jsonl", "--working", working.root)
                result = geosim("search", query, *options)
                assert result.exit_code == 0, result.output
                assert result.stdout.count('"rank":') == 5


def test_pictures_are_found_under_either_spelling(working: Working, macos: Path) -> None:
    ingest(working, open_dataset(macos))
    reader = ImageReader(working.datasets)
    with EdgeStore(working.qdrant, "geosim") as store:
        payloads = [point.payload for point in points(store).values()]
    assert all(reader.read(payload.path) for payload in payloads)


def test_points_with_garbled_names_of_an_archive_are_stored_anew(
    working: Working, rocks: Path, tmp_path: Path
) -> None:
    mark = "M" * len(NFC.encode())
    (rocks / "marble").rename(rocks / mark)
    archive = Path(shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "rocks"))
    archive.write_bytes(archive.read_bytes().replace(mark.encode(), NFC.encode()))
    dataset = open_dataset(archive)
    ingest(working, dataset)
    with EdgeStore(working.qdrant, "geosim") as store:
        expected = points(store)
    assert f"rocks/{NFC}/marble-0003.jpg" in expected
    store_as_before(working, lambda path: path.encode().decode("cp437"))
    ingest(working, dataset)
    with EdgeStore(working.qdrant, "geosim") as store:
        assert points(store).keys() == expected.keys()
    reader = ImageReader(working.datasets)
    assert all(reader.read(path) for path in expected)
