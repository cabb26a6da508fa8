"""Folds: each image is a query once, killed studies go on, and the spread is over the folds."""

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

from geosim.search.evaluation.report import write_report
from geosim.search.evaluation.runs import read_runs
from geosim.search.evaluation.study import Study, evaluate
from geosim.search.evaluation.summary import summarise
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import Dataset, open_dataset
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import Inputs
from geosim.trainer.sample.textures import draw
from geosim.trainer.working import Working

SPLITS = ("random", "overlap-free")


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uneven classes, 12, 18 and 30 images; every third image is a re-encoded one before it."""
    root = tmp_path_factory.mktemp("copies") / "copies"
    for label, count in (("granite", 12), ("schist", 18), ("marble", 30)):
        (root / label).mkdir(parents=True)
        for number in range(count):
            of = number - number % 3 if number % 3 == 2 else number
            picture = Image.fromarray(draw(label, of, size=64))
            ending, quality = (".jpg", 85) if of != number else (".png", 0)
            picture.save(root / label / f"{of:02}-{number:02}{ending}", quality=quality)
    return root


def study(folder: Path, **changed: object) -> Study:
    options = TrainOptions(epochs=1)
    return Study(options, SPLITS, (0,), 0.2, folder, folds=3, **changed)  # type: ignore[arg-type]


def measure(copies: Path, folder: Path, **changed: object) -> tuple[Dataset, Inputs]:
    dataset = open_dataset(copies)
    pretrained, _ = choose("colour-grid")
    return dataset, evaluate(dataset, pretrained, Working(folder), study(folder, **changed))


@pytest.fixture(scope="module")
def done(copies: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset, Inputs]:
    folder = tmp_path_factory.mktemp("report")
    return folder, *measure(copies, folder)


def test_each_image_is_a_query_once_for_each_split(
    done: tuple[Path, Dataset, Inputs],
) -> None:
    folder, _, inputs = done
    runs = read_runs(folder, inputs)
    assert len(runs) == 6
    for split in SPLITS:
        folds = [run for run in runs if run.facts["split"] == split]
        assert sorted(run.facts["fold"] for run in folds) == [1, 2, 3]
        queries = np.concatenate([run.queries for run in folds])
        assert sorted(queries) == list(range(60))
        counts = [np.bincount(inputs.labels[run.queries]).tolist() for run in folds]
        assert np.ptp(counts, axis=0).max() <= (1 if split == "random" else 2)
    for run in runs:
        assert run.facts["training_images"] + run.facts["queries"] == 60
        assert not set(run.queries) & set(run.hits.ravel())


def test_copies_are_on_one_side(done: tuple[Path, Dataset, Inputs]) -> None:
    folder, _, inputs = done
    scenes = np.array([item.record.path.rpartition("-")[0] for item in inputs.items])
    torn = dict.fromkeys(SPLITS, 0)
    for run in read_runs(folder, inputs):
        shared = set(scenes[run.queries]) & set(np.delete(scenes, run.queries))
        torn[run.facts["split"]] += len(shared)
    assert torn["overlap-free"] == 0 < torn["random"]


def test_a_killed_study_goes_on_where_it_stopped(
    done: tuple[Path, Dataset, Inputs], copies: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(done[0], tmp_path / "report"))
    runs = sorted((folder / "runs").glob("*.json"))
    before = {path: path.read_bytes() for path in runs}
    runs[0].unlink()  # the .json is the last that is written
    partial = summarise(read_runs(folder, done[2]))
    assert {row.spread for row in partial} == {"3 folds", "2 runs of 3 folds"}
    measure(copies, folder)
    assert sorted((folder / "runs").glob("*.json")) == runs
    for path in runs[1:]:
        assert path.read_bytes() == before[path]
    metrics = [json.loads(one)["metrics"] for one in (runs[0].read_bytes(), before[runs[0]])]
    assert metrics[0] == pytest.approx(metrics[1])


def test_mean_and_deviation_are_over_the_folds(done: tuple[Path, Dataset, Inputs]) -> None:
    folder, dataset, inputs = done
    runs = read_runs(folder, inputs)
    runs += [replace(run, facts=run.facts | {"seed": 1}) for run in runs]
    records = [item.record for item in inputs.items]
    rows = write_report(runs, records, dataset.source, folder)
    assert len(rows) == 2
    for row in rows:
        values = [
            run.facts["metrics"]["knn_accuracy"] for run in runs if run.facts["split"] == row.split
        ]
        assert (row.seeds, row.folds, row.runs) == ((0, 1), 3, 6)
        assert row.spread == "3 folds x 2 seeds"
        expected = (np.mean(values), np.std(values, ddof=1))
        assert row.figures["knn_accuracy"] == pytest.approx(expected)
    report = json.loads((folder / "report.json").read_bytes())
    confusion = sum(np.array(run["confusion"]) for run in report["runs"])
    assert confusion.sum(axis=1).tolist() == [4 * n for n in (12, 30, 18)]
    page = (folder / "report.html").read_text()
    assert "3 folds x 2 seeds, seeds 0,1" in page
    assert "of 120 queries" in page


def test_a_run_with_more_figures_counts_once(done: tuple[Path, Dataset, Inputs]) -> None:
    folder, _, inputs = done
    runs = read_runs(folder, inputs)
    again = [replace(run, facts=run.facts | {"novelty": True}) for run in runs[:2]]
    assert summarise([*again, *runs]) == summarise(runs)


def test_macro_figures_are_means_over_the_classes(done: tuple[Path, Dataset, Inputs]) -> None:
    folder, _, inputs = done
    runs = [run for run in read_runs(folder, inputs) if run.facts["split"] == "random"]
    (row,) = summarise(runs)
    macro = []
    for run in runs:
        truth = inputs.labels[run.queries]
        first = inputs.labels[run.hits[:, 0]] == truth
        macro.append(np.mean([first[truth == label].mean() for label in range(3)]))
    figure = row.figures["macro_precision_at_1"]
    assert figure == pytest.approx((np.mean(macro), np.std(macro, ddof=1)))
    assert figure != row.figures["precision_at_1"]


def test_folds_and_shares_are_told_apart(
    done: tuple[Path, Dataset, Inputs], copies: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(done[0], tmp_path / "report"))
    one = Study(TrainOptions(epochs=1), ("random",), (0,), 0.25, folder)
    inputs = evaluate(open_dataset(copies), choose("colour-grid")[0], Working(folder), one)
    names = {row.recipe for row in summarise(read_runs(folder, inputs))}
    recipe = "colour-grid + dense-relu"
    assert names == {f"{recipe}, 3 folds", f"{recipe}, 0.25 queries"}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--folds", 5, "--test-share", 0.2), 2, "--folds 5 and --test-share 0.2; give one"),
        (("--folds", 1), 2, "x>=2"),
        (("--folds", 13), 1, "class granite has 12 images, too few for 13 folds"),
        (
            ("--folds", 9, "--split", "overlap-free"),
            1,
            "class granite has 12 images in 8 groups that share pixels, too few for 9 folds that "
            "hold it each; use 8 folds, or",
        ),
    ],
)
def test_folds_that_cannot_be(
    geosim: Callable[..., Result],
    copies: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    code: int,
    message: str,
) -> None:
    working = ("--working", tmp_path / "working")
    result = geosim("evaluate", copies, "--backbone", "colour-grid", *options, *working)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "working" / "report" / "runs").exists()


@pytest.mark.slow
def test_labels_are_hidden_from_the_training_and_measure(
    geosim: Callable[..., Result], copies: Path, tmp_path: Path
) -> None:
    command = ("evaluate", copies, "--backbone", "colour-grid", "--split", "random", "--epochs", 1)
    options = ("--working", tmp_path / "working", "--format", "json")
    refused = geosim(*command, "--recipe", "owner", "--without-labels", *options)
    assert refused.exit_code == 1
    assert "recipe owner learns from them alone; take --recipe photograph" in refused.stderr
    assert not (tmp_path / "working").exists()
    for more in ((), ("--without-labels",)):
        result = geosim(*command, "--recipe", "photograph", "--views", 1, *more, *options)
        assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    name = "photograph: colour-grid"
    rows = {row["recipe"]: row["figures"]["precision_at_10"][0] for row in report["table"]}
    assert set(rows) == {name, f"{name}, without labels", "colour histogram"}
    blind, seeing = sorted(report["runs"], key=lambda run: run.get("without_labels", False))[::-1]
    assert blind["without_labels"] is True
    assert "without_labels" not in seeing
    assert blind["queries"] == seeing["queries"] == np.sum(blind["confusion"]) == 12
    cost = 100 * (rows[name] - rows[f"{name}, without labels"])
    sentence = f"{name}: hiding the labels costs {cost:.2f} points of P@10 (random)."
    assert sentence in report["findings"]
