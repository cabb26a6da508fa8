"""Pictures without a class, alone and beside class folders, through every command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from geosim.ingest.schema import Filter, point_id
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.search import open_index
from geosim.search.graph.export import export
from geosim.search.pipeline import SPREAD_QUERIES, sample_queries
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.text import NO_CLASS
from geosim.trainer.working import Working

Run = Callable[..., Result]


def gather(sample: Path, folder: Path, *, classes: tuple[str, ...] = ()) -> Path:
    """Copy whole classes as class folders, and four pictures of each other one beside them."""
    folder.mkdir()
    for path in sorted(sample.iterdir()):
        if path.name in classes:
            shutil.copytree(path, folder / path.name)
        elif path.is_dir():
            for one in sorted(path.glob("*.jpg"))[:4]:
                shutil.copy(one, folder)
    return folder


@pytest.fixture
def loose(sample: Path, tmp_path: Path) -> Path:
    """A folder of 32 pictures and nothing else."""
    return gather(sample, tmp_path / "photos")


@pytest.fixture
def mixed(sample: Path, tmp_path: Path) -> Path:
    """A folder of two classes of twelve pictures, and 24 pictures without a class."""
    return gather(sample, tmp_path / "trip", classes=("granite", "marble"))


@pytest.fixture
def store(working: Working) -> Iterator[VectorStore]:
    with EdgeStore(working.qdrant, "geosim") as opened:
        yield opened


@pytest.fixture
def filled(geosim: Run, mixed: Path, working: Working) -> Working:
    ingested(geosim("ingest", mixed, "--working", working.root))
    return working


def ingested(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def failed(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line


def test_a_training_on_classes_leaves_the_others_out_and_says_so(
    geosim: Run, mixed: Path, tmp_path: Path
) -> None:
    cards = []
    for name in ("all", "labelled"):
        options = ("--backbone", "colour-grid", "--epochs", 1, "--working", tmp_path / name)
        told = ingested(geosim("train", mixed, *options)).stderr.splitlines()
        cards.append(json.loads((tmp_path / name / "model" / "model.json").read_bytes()))
        if name == "all":
            assert told[0] == (
                "data set trip: 48 pictures, classes by folder: granite 12, marble 12; "
                "24 without a class"
            )
            left = "recipe owner learns from classes: 24 pictures without one are left out of the"
            assert f"{left} training" in told
            assert any("24 images of 2 classes" in line for line in told)
            for path in mixed.glob("*.jpg"):
                path.unlink()
    assert cards[0]["recipe"] == cards[1]["recipe"], "a model that exists stays"
    assert cards[0]["training"]["images_per_class"] == {"granite": 12, "marble": 12}


PHOTOGRAPH = ("--recipe", "photograph", "--backbone", "colour-grid", "--views", 2, "--epochs", 1)


def test_the_whole_job_without_classes(
    geosim: Run, loose: Path, mixed: Path, tmp_path: Path
) -> None:
    working = Working(tmp_path / "new")
    done = ingested(geosim("run", loose, *PHOTOGRAPH, "--working", working.root))
    assert "with no classes, the training learns from the pictures alone" in done.stderr
    assert "32 images without classes" in done.stderr
    card = json.loads((working.model / "model.json").read_bytes())
    assert (card["classes"], card["training"]["images_per_class"]) == ([], {})
    assert done.stdout.count("(indexed, no class)") == SPREAD_QUERIES
    assert working.samples.is_file()
    again = geosim("run", loose, *PHOTOGRAPH, "--working", working.root)
    assert "kept, it is up to date" in again.stderr
    ingested(geosim("ingest", mixed, "--working", working.root))
    found = json.loads(geosim("status", "--format", "json", "--working", working.root).stdout)
    assert (found["without_class"], found["classes"]) == (56, {"granite": 12, "marble": 12})


def test_one_class_is_learned_as_none(geosim: Run, sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample / "granite", tmp_path / "rocks" / "granite")
    done = ingested(geosim("train", tmp_path / "rocks", *PHOTOGRAPH, "--working", tmp_path / "new"))
    told = "with only one class, granite, the training learns from the pictures alone"
    assert told in done.stderr.splitlines()
    message = failed(
        geosim("evaluate", tmp_path / "rocks", *PHOTOGRAPH, "--working", tmp_path / "new")
    )
    assert "one class only (granite)" in message
    assert "evaluate needs at least two class folders" in message


@pytest.mark.parametrize("command", ["train", "run", "evaluate"])
def test_what_needs_classes_says_so_in_one_line(
    geosim: Run, loose: Path, tmp_path: Path, command: str
) -> None:
    options = ("--backbone", "colour-grid", "--working", tmp_path / "working")
    message = failed(geosim(command, loose, *options))
    assert f"{loose} holds no class folders" in message
    assert "at least two class folders" in message
    assert not (tmp_path / "working" / "model").exists()


def test_a_folder_without_classes_is_ingested_searched_and_exported(
    geosim: Run, loose: Path, working: Working, tmp_path: Path
) -> None:
    options = ("--working", working.root)
    told = ingested(geosim("ingest", loose, *options))
    first = "data set photos: 32 pictures, no classes (there are no class folders)"
    assert told.stderr.splitlines()[0] == first
    assert "added 32, changed 0, deleted 0, unchanged 0, rejected 0" in told.stdout
    assert "unchanged 32" in geosim("ingest", loose, *options).stdout

    status = geosim("status", *options).stdout
    assert [line.split() for line in status.splitlines() if NO_CLASS in line] == [
        [*NO_CLASS.split(), "32"]
    ]
    found = json.loads(geosim("status", "--format", "json", *options).stdout)
    assert (found["classes"], found["without_class"], found["points"]) == ({}, 32, 32)

    picture = loose / "marble-0002.jpg"
    for query in (picture, "photos/marble-0002.jpg"):
        table = ingested(geosim("search", query, "-k", 4, *options)).stdout.splitlines()
        assert table[0] == f"{query}  (indexed, no class)"
        assert all(NO_CLASS in line for line in table[2:6])
        assert table[6] == "votes: none; 10 of the 10 nearest have no class"
        assert "photos/marble-0002.jpg" not in "\n".join(table[1:])
    sheet = tmp_path / "hits.png"
    Image.effect_noise((50, 50), 60).save(tmp_path / "new.png")
    new = ingested(geosim("search", tmp_path / "new.png", "--sheet", sheet, *options)).stdout
    assert "predicted" not in new
    assert sheet.is_file()

    (answer,) = json.loads(geosim("search", picture, "--format", "json", *options).stdout)
    assert [hit["class"] for hit in answer["hits"]] == [None] * 10
    assert answer["explanation"] == {"votes": [], "without_class": 10}
    assert "none has any" in failed(geosim("search", picture, "--class", "marble", *options))
    message = failed(geosim("search", picture, "--one-per", "class", *options))
    assert "no indexed image has a class" in message

    told = ingested(geosim("export", *options))
    assert "same class" not in told.stderr
    assert len(json.loads(working.index.read_bytes())) == 32
    assert len(json.loads(working.embeddings.read_bytes())) == 32
    with open_index(working.root) as index:
        assert index.classes == {}
        assert {hit.label for hit in index.search(picture)} == {""}


def test_classes_and_pictures_without_one_are_told_apart(
    geosim: Run, mixed: Path, filled: Working
) -> None:
    options = ("--working", filled.root)
    query = mixed / "granite" / "granite-0000.jpg"
    (answer,) = json.loads(geosim("search", query, "-k", 47, "--format", "json", *options).stdout)
    kinds = {hit["path"]: hit["class"] for hit in answer["hits"]}
    assert all(
        label == (path.split("/")[1] if path.count("/") == 2 else None)
        for path, label in kinds.items()
    )
    voted = [hit["class"] for hit in answer["hits"][:10]]
    votes = {vote["class"]: vote["votes"] for vote in answer["explanation"]["votes"]}
    assert votes == {label: voted.count(label) for label in {*voted} - {None}}
    unlabelled = voted.count(None)
    assert answer["explanation"]["without_class"] == unlabelled > 0
    table = geosim("search", query, *options).stdout
    verb = "has" if unlabelled == 1 else "have"
    assert f"; {unlabelled} of the 10 nearest {verb} no class" in table

    grouped = ingested(geosim("search", query, "--one-per", "class", *options))
    assert grouped.stderr.splitlines() == ["--one-per class leaves out 24 images without a class"]
    assert len(grouped.stdout.splitlines()) == 5, "a hit of each of two classes"
    assert NO_CLASS not in grouped.stdout
    only = geosim("search", query, "--class", "marble", "-k", 50, *options)
    assert len(only.stdout.splitlines()) == 2 + 12 + 1
    assert NO_CLASS not in only.stdout
    status = json.loads(geosim("status", "--format", "json", *options).stdout)
    assert (status["classes"], status["without_class"]) == ({"granite": 12, "marble": 12}, 24)


def test_the_neighbours_of_one_class_are_counted_where_both_have_one(
    filled: Working, store: VectorStore, tmp_path: Path
) -> None:
    report = export(store, tmp_path / "index.json", tmp_path / "embeddings.json", k=5)
    graph = json.loads((tmp_path / "index.json").read_bytes())
    label = {path: path.split("/")[1] for path in graph if path.count("/") == 2}
    pairs = [
        (label[path], label[near])
        for path, found in graph.items()
        for near, _ in found
        if path in label and near in label
    ]
    assert report.without_class == 24
    assert report.same_class == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


def test_pictures_move_into_class_folders_and_out_again(
    geosim: Run, mixed: Path, filled: Working
) -> None:
    options = ("--working", filled.root)
    (mixed / "schist").mkdir()
    for path in mixed.glob("schist-*.jpg"):
        path.rename(mixed / "schist" / path.name)
    told = ingested(geosim("ingest", mixed, *options)).stdout
    assert "added 4, changed 0, deleted 4, unchanged 44" in told
    assert "0 embedded by the backbone" in told
    with EdgeStore(filled.qdrant, "geosim") as store:
        assert store.values("class") == {"granite": 12, "marble": 12, "schist": 4}
        assert (store.unlabelled(), store.count(Filter(label="schist"))) == (20, 4)
    for path in (mixed / "marble").iterdir():
        path.rename(mixed / path.name)
    assert "added 12, changed 0, deleted 12" in ingested(geosim("ingest", mixed, *options)).stdout
    with EdgeStore(filled.qdrant, "geosim") as store:
        assert store.values("class") == {"granite": 12, "schist": 4}
        assert store.unlabelled() == 32
        (point,) = store.fetch([point_id("trip/marble-0000.jpg")])
    assert "class" not in point.payload.to_dict()


def test_what_an_earlier_version_left_out_is_added(
    geosim: Run, mixed: Path, working: Working, tmp_path: Path
) -> None:
    options = ("--working", working.root)
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in mixed.glob("*.jpg"):
        path.rename(aside / path.name)
    ingested(geosim("ingest", mixed, *options))
    for path in aside.iterdir():
        path.rename(mixed / path.name)
    told = ingested(geosim("ingest", mixed, *options))
    assert "; 24 without a class" in told.stderr
    assert "added 24, changed 0, deleted 0, unchanged 24" in told.stdout


def test_the_sample_queries_of_a_set_without_classes_are_spread_over_it(
    geosim: Run, loose: Path, mixed: Path, working: Working, store: VectorStore
) -> None:
    ingested(geosim("ingest", loose, "--working", working.root))
    ingested(geosim("ingest", mixed, "--working", working.root))
    queries = sample_queries(open_dataset(loose), store)
    assert 1 < len(queries) <= SPREAD_QUERIES
    assert len({query.split("/")[1].split("-")[0] for query in queries}) == len(queries)
    assert sample_queries(open_dataset(mixed), store) == [
        f"trip/{name}/{name}-0000.jpg" for name in ("granite", "marble")
    ]
