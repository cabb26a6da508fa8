"""What geosim wrote or drew is no data, wherever it lies."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from geosim.trainer.data.dataset import open_dataset

Run = Callable[..., Result]


@dataclass(frozen=True)
class Made:
    """A data set, and what a run and an evaluation of it wrote."""

    rocks: Path
    working: Path
    study: Path


@pytest.fixture(scope="module")
def outputs(geosim: Run, small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("outputs")
    made = Made(small_sample, root / "working", root / "study")
    options = ("--backbone", "colour-grid", "--epochs", 1, "--working", made.working)
    study = ("--split", "random", "--report", made.study)
    for command in (("run", made.rocks), ("evaluate", made.rocks, *study)):
        done = geosim(*command, *options)
        assert done.exit_code == 0, done.output
    return made


@pytest.fixture
def made(outputs: Made, tmp_path: Path) -> Made:
    """A copy of `outputs` of the test's own."""
    return Made(
        Path(shutil.copytree(outputs.rocks, tmp_path / "rocks")),
        Path(shutil.copytree(outputs.working, tmp_path / "working")),
        Path(shutil.copytree(outputs.study, tmp_path / "study")),
    )


def check(root: Path, classes: tuple[str, ...], passed_over: list[str]) -> None:
    for location in (root, Path(shutil.make_archive(str(root), "zip", root))):
        dataset = open_dataset(location)
        assert len(dataset.records) == 96
        assert dataset.classes == classes
        assert [str(one) for one in dataset.passed_over if one.own] == passed_over


def test_working_folders_and_reports_are_passed_over(made: Made) -> None:
    rocks, classes = made.rocks, open_dataset(made.rocks).classes
    results = made.working.rename(rocks / "schist" / "my results")
    made.study.rename(rocks / "study")
    shutil.copytree(results / "model", rocks / "old-model")
    (rocks / "old").mkdir()
    shutil.copytree(rocks / "marble", rocks / "old" / "geosim-sample" / "marble")
    check(
        rocks,
        classes,
        [
            f"{name}/ passed over: geosim wrote this folder"
            for name in ("old", "old-model", "schist/my results", "study")
        ],
    )


def test_drawn_pictures_are_passed_over_under_any_name(geosim: Run, made: Made) -> None:
    rocks, working, classes = made.rocks, made.working, open_dataset(made.rocks).classes
    (rocks / "sheets").mkdir()
    for name in ("sheets/hits.png", "sheets/hits.jpg", "marble/hits.JPEG", "hits.jpeg"):
        query = rocks / "marble" / "marble-0003.jpg"
        sheet = ("-k", 1, "--sheet", rocks / name, "--working", working)
        assert geosim("search", query, *sheet).exit_code == 0
    drawn = [working / "samples.png", working / "model" / "loss.png"]
    drawn += sorted(made.study.glob("*.png"))
    assert len(drawn) == 7
    for number, path in enumerate(drawn):
        shutil.copy(path, rocks / "schist" / f"{number}.png")
    check(
        rocks,
        classes,
        [
            "1 .jpeg in marble passed over: geosim drew them",
            "1 .jpeg in rocks passed over: geosim drew them",
            "7 .png in schist passed over: geosim drew them",
            "1 .jpg in sheets passed over: geosim drew them",
            "1 .png in sheets passed over: geosim drew them",
        ],
    )
    strict = geosim("ingest", rocks, "--strict", "--working", working)
    assert strict.exit_code == 0, strict.stderr
    assert "unchanged 96" in strict.stdout
    assert "7 .png in schist passed over: geosim drew them" in strict.stderr
    found = geosim("search", rocks, "-k", 1, "--format", "jsonl", "--working", working)
    assert found.exit_code == 0
    assert len(found.stdout.splitlines()) == 96
    assert "7 .png in schist passed over: geosim drew them" in found.stderr
