"""Evaluation by groups: what is kept on one side, told, resumed, and reported side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.search.evaluation import study as study_module
from geosim.search.evaluation.grouping import find_grouping
from geosim.search.evaluation.runs import read_runs
from geosim.search.evaluation.study import Study, evaluate
from geosim.search.evaluation.summary import summarise
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.layout import decide_anew
from geosim.trainer.facts.collect import FactOptions, open_described
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import Inputs
from geosim.trainer.recipes.photograph import PhotographOptions
from geosim.trainer.working import Working

Run = Callable[..., Result]
CLASSES = ("granite", "marble", "schist")
SAMPLES, PICTURES = 5, 4  # of a class, of a sample
RECIPE = "colour-grid + dense-relu"
OPTIONS = ("--backbone", "colour-grid", "--epochs", 2, "--split", "random", "--format", "json")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of samples of which each has a colour of its own, whatever its class."""
    root, generator = tmp_path_factory.mktemp("photos") / "photos", np.random.default_rng(0)
    rows = ["file,sample,collector,number,spot_lat,spot_lon"]
    number = 0
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        for sample in range(SAMPLES):
            colour = generator.uniform(40, 215, 3)
            for picture in range(PICTURES):
                pixels = generator.normal(colour, 6, (32, 40, 3)).clip(0, 255).astype(np.uint8)
                name = f"{label}_{sample}_{picture}.png"
                Image.fromarray(pixels).save(root / label / name)
                known = "" if picture == 3 and sample == 0 else f"{label[0].upper()}-{sample}"
                rows.append(f"{name},{known},Anna,{number},5{sample}.5,{CLASSES.index(label)}.25")
                number += 1
    (root.parent / "samples.csv").write_text("\n".join(rows))
    return root


def described(data: Path, **options: Any) -> Dataset:
    facts = FactOptions(table=data.parent / "samples.csv", **options)
    return open_described(data, (), decide_anew, facts)


def samples(inputs: Inputs) -> np.ndarray:
    """Return the sample of each image by its file name."""
    stems = [item.record.path.rpartition("/")[2].rpartition("_")[0] for item in inputs.items]
    return np.array(stems)


def measure(data: Path, folder: Path, fact: str, **changed: Any) -> Inputs:
    dataset, options = described(data), changed.pop("options", TrainOptions(epochs=1))
    wanted = Study(options, ("random",), (0,), 0.25, folder, grouping=find_grouping(dataset, fact))
    pretrained, _ = choose("colour-grid")
    return evaluate(dataset, pretrained, Working(folder), replace(wanted, **changed))


def test_the_report_has_the_figures_with_and_without_groups(
    geosim: Run, photos: Path, tmp_path: Path
) -> None:
    command = ("evaluate", photos, *OPTIONS, "--working", tmp_path)
    table = ("--table", photos.parent / "samples.csv", "--group-by", "sample")
    result = geosim(*command, *table)
    assert result.exit_code == 0, result.output
    told = " ".join(result.stderr.split())
    assert (
        "grouped by sample: 57 pictures in 15 groups; 3 pictures without it are each a group of "
        "its own"
    ) in told
    report = json.loads(result.stdout)
    rows = {row["split"]: row for row in report["table"] if row["recipe"] == RECIPE}
    assert set(rows) == {"random", "random by sample"}
    plain, grouped = rows["random"], rows["random by sample"]
    assert (plain["group_by"], plain["ungrouped"]) == ("", None)
    assert grouped["group_by"] == "sample"
    assert grouped["ungrouped"] == plain["figures"]
    first = plain["figures"]["precision_at_1"][0], grouped["figures"]["precision_at_1"][0]
    assert first[0] > 0.9, "the other pictures of the sample are found"
    assert first[1] < 0.6, "pictures of other samples do not tell the class"
    cost = 100 * (plain["figures"]["precision_at_10"][0] - grouped["figures"]["precision_at_10"][0])
    assert (
        f"{RECIPE}: pictures of one sample on both sides flatter you by {cost:.2f} points of P@10 "
        "(random split)."
    ) in report["findings"]
    baseline = {row["split"] for row in report["table"] if row["recipe"] == "colour histogram"}
    assert baseline == {"random", "random by sample"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "With and without groups" in page
    assert f"<bdi>{first[1]:.4f}</bdi>" in page

    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "report").glob("*/*.json")}
    assert len(runs) == 2 + 2
    again = geosim(*command[:-3], "table", *command[-2:], *table)
    assert {path: path.stat().st_mtime_ns for path in runs} == runs
    assert "random by sample split" in again.stdout
    assert again.stdout.count("    not grouped") == 2
    assert len(list((tmp_path / "report").glob("*/*.json"))) == 4, "nothing is trained anew"
    assert (
        json.loads((tmp_path / "report" / "report.json").read_bytes())["table"] == report["table"]
    )


def test_no_group_is_on_both_sides_of_any_split(photos: Path, tmp_path: Path) -> None:
    splits = ("random", "overlap-free")
    inputs = measure(photos, tmp_path, "spot_lat")
    measure(photos, tmp_path, "sample", splits=splits)
    folded = measure(photos, tmp_path, "sample", folds=2)
    names = samples(inputs)
    runs = read_runs(tmp_path, folded)
    grouped = [run for run in runs if run.facts.get("group_by") == "sample"]
    assert len(grouped) == 2 + 2
    for run in grouped:
        without = [path.endswith("_0_3.png") for path in paths(inputs, run.queries)]
        queries = set(names[run.queries[~np.array(without)]])
        hits = run.hits.ravel()
        kept = [not one.endswith("_0_3.png") for one in paths(inputs, hits)]
        assert not queries & set(names[hits[kept]])
    folds = [run for run in grouped if run.facts["split"] == "random" and "folds" in run.facts]
    assert sorted(np.concatenate([run.queries for run in folds])) == list(range(60))
    for run in runs:
        if run.facts.get("group_by") == "spot_lat":
            numbers = np.array([name.rpartition("_")[2] for name in names])
            assert not set(numbers[run.queries]) & set(numbers[run.hits.ravel()])


def paths(inputs: Inputs, rows: np.ndarray) -> list[str]:
    return [inputs.items[row].record.path for row in rows.tolist()]


def test_groups_of_another_table_are_measured_anew_and_told_apart(
    photos: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(photos.parent, tmp_path / "data")) / "photos"
    folder = tmp_path / "report"
    measure(data, folder, "sample")
    table = data.parent / "samples.csv"
    table.write_text(table.read_text().replace("G-1", "G-0").replace("Anna", "Ben"))
    inputs = measure(data, folder, "sample")
    runs = read_runs(folder, inputs)
    assert len(runs) == 3, "the split without groups is the same"
    splits = sorted(row.split for row in summarise(runs))
    assert splits[0] == "random"
    assert all(one.startswith("random by sample (") for one in splits[1:])
    assert len(set(splits)) == 3


def test_pictures_without_a_class_are_not_trained_on_beside_their_group(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(shutil.copytree(photos.parent, tmp_path / "data")) / "photos"
    for path in sorted(data.glob("*/*_1.png")):
        path.rename(data / path.name)
    trained: list[tuple[np.ndarray, Inputs]] = []
    original = study_module.fit_model

    class EnoughError(Exception):
        """Both splits were trained on."""

    def noted(inputs: Inputs, rows: np.ndarray, *rest: Any, **named: Any) -> Any:
        if named:  # with a progress: no fit for the certainty
            trained.append((rows, inputs))
        if len(trained) == 2:
            raise EnoughError
        return original(inputs, rows, *rest, **named)

    monkeypatch.setattr(study_module, "fit_model", noted)
    options = PhotographOptions(epochs=1, views=1)
    with pytest.raises(EnoughError):
        measure(data, tmp_path / "report", "sample", options=options)
    (plain, inputs), (grouped, _) = trained
    loose, names = np.flatnonzero(inputs.labels < 0), samples(inputs)
    assert np.isin(loose, plain).all()
    ungrouped = [path.endswith("_0_3.png") for path in paths(inputs, np.arange(len(names)))]
    queries = np.setdiff1d(np.flatnonzero((inputs.labels >= 0) & ~np.array(ungrouped)), grouped)
    beside = loose[np.isin(names[loose], names[queries])]
    assert 0 < len(beside) < len(loose) == 15
    assert not np.isin(beside, grouped).any()
    assert np.isin(np.setdiff1d(loose, beside), grouped).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--group-by", "specimen"),
            "--group-by names 'specimen', which is no fact of photos; its facts: sample, "
            "collector, number",
        ),
        (
            ("--group-by", "collector"),
            "all 60 pictures of photos have one collector, 'Anna', so that no split keeps it on "
            "one side; name another --group-by",
        ),
        (
            ("--group-by", "rock", "--name-pattern", "{rock}_{number}_{picture}"),
            "class granite: its 20 images have rock in common in groups too large to part, so no "
            "split that keeps them together has it on both sides; add pictures with other values "
            "of rock, or leave out --group-by",
        ),
        (
            ("--group-by", "sample", "--folds", 9),
            "class granite has 20 images in 6 groups that have sample in common, too few for 9 "
            "folds that hold it each; use 6 folds, or add pictures with other values of sample",
        ),
    ],
)
def test_groups_that_cannot_be_parted(
    geosim: Run, photos: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    table = ("--table", photos.parent / "samples.csv")
    result = geosim("evaluate", photos, *OPTIONS, *table, *options, "--working", tmp_path)
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "report" / "runs").exists()


def test_a_fact_that_no_two_pictures_share_is_told(photos: Path) -> None:
    told = str(find_grouping(described(photos), "number"))
    assert "60 pictures in 60 groups. No two pictures have it in common" in told
    without = geosim_error(photos)
    assert "give the facts, as with --table" in without


def geosim_error(photos: Path) -> str:
    dataset = open_described(photos, (), decide_anew, FactOptions())
    with pytest.raises(Exception, match="no fact of photos") as error:
        find_grouping(dataset, "sample")
    return str(error.value)
