"""What geosim wrote or drew is no data, wherever it lies."""

import shutil
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from geosim.trainer.data.dataset import open_dataset

Run = Callable[..., Result]
OPTIONS = ("--backbone", "colour-grid", "--epochs", 1)


def check(root: Path, classes: tuple[str, ...], passed_over: list[str]) -> None:
    for location in (root, Path(shutil.make_archive(str(root), "zip", root))):
        dataset = open_dataset(location)
        assert len(dataset.records) == 96
        assert dataset.classes == classes
        assert [str(one) for one in dataset.passed_over if one.own] == passed_over


def test_working_folders_and_reports_are_passed_over(geosim: Run, rocks: Path) -> None:
    classes = open_dataset(rocks).classes
    results = rocks / "schist" / "my results"
    assert geosim("run", rocks, *OPTIONS, "--working", results).exit_code == 0
    study = ("--split", "random", "--report", rocks / "study", "--working", results)
    assert geosim("evaluate", rocks, *OPTIONS, *study).exit_code == 0
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


def test_drawn_pictures_are_passed_over_under_any_name(
    geosim: Run, rocks: Path, tmp_path: Path
) -> None:
    classes, working = open_dataset(rocks).classes, tmp_path / "working"
    assert geosim("run", rocks, *OPTIONS, "--working", working).exit_code == 0
    (rocks / "sheets").mkdir()
    for name in ("sheets/hits.png", "sheets/hits.jpg", "marble/hits.JPEG", "hits.jpeg"):
        query = rocks / "marble" / "marble-0003.jpg"
        sheet = ("-k", 1, "--sheet", rocks / name, "--working", working)
        assert geosim("search", query, *sheet).exit_code == 0
    study = ("--split", "random", "--report", tmp_path / "study", "--working", working)
    assert geosim("evaluate", rocks, *OPTIONS, *study).exit_code == 0
    drawn = [working / "samples.png", working / "model" / "loss.png"]
    drawn += sorted((tmp_path / "study").glob("*.png"))
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
