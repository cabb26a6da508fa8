"""The study on a generated set: what is held out, kept, repeated and reported."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import Result
from PIL import Image

from geosim.search.evaluation.plots import confusion_plot, precision_plot, score_plot
from geosim.search.evaluation.report import write_report
from geosim.search.evaluation.runs import read_runs
from geosim.search.evaluation.study import Study, evaluate
from geosim.search.evaluation.summary import conclusions, summarise, text_table
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.errors import DatasetError, ImageError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import Inputs
from geosim.trainer.recipes.photograph import PhotographOptions
from geosim.trainer.sample.textures import draw
from geosim.trainer.train import FittedModel
from geosim.trainer.working import Working

OPTIONS = TrainOptions(epochs=10)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles cut from larger textures so that neighbours overlap: 3 classes of 4 x 9 tiles.

    They are too few for the votes to be calibrated, which takes more fits.
    """
    root = tmp_path_factory.mktemp("tiles") / "tiles"
    for label in ("granite", "schist", "marble"):
        (root / label).mkdir(parents=True)
        for number in range(4):
            large = Image.fromarray(draw(label, number, size=64))
            for place in range(9):
                top, left = 12 * (place // 3), 12 * (place % 3)
                tile = large.crop((left, top, left + 32, top + 32))
                tile.save(root / label / f"{number}-{place}.png")
    return root


def study(folder: Path, seeds: tuple[int, ...] = (0,)) -> Study:
    return Study(OPTIONS, ("random", "overlap-free"), seeds, 0.25, folder)


@pytest.fixture(scope="module")
def done(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Inputs]:
    folder = tmp_path_factory.mktemp("report")
    dataset, (pretrained, _) = open_dataset(tiles), choose("colour-grid")
    inputs = evaluate(dataset, pretrained, Working(folder), study(folder, (0, 1)))
    return folder, inputs


def test_pictures_without_a_class_are_trained_on_and_not_measured(
    tiles: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiles, tmp_path / "tiles"))
    loose = sorted((data / "marble").glob("[0-3]-*.png"))
    for path in loose:
        path.rename(data / path.name)
    options = PhotographOptions(epochs=2, views=1)
    wanted = replace(study(tmp_path / "report"), options=options)
    inputs = evaluate(
        open_dataset(data), choose("colour-grid")[0], Working(tmp_path / "working"), wanted
    )
    unlabelled = np.flatnonzero(inputs.labels < 0)
    assert len(unlabelled) == len(loose)
    runs = read_runs(wanted.folder, inputs)
    assert len(runs) == 2
    for run in runs:
        assert not np.isin(unlabelled, run.queries).any()
        assert not np.isin(unlabelled, run.hits).any()
        assert run.facts["queries"] + run.facts["training_images"] == len(inputs.labels) - len(
            loose
        )
    records = [item.record for item in inputs.items]
    assert write_report(runs, records, Files(), wanted.folder)


def test_no_query_of_an_overlap_free_split_shares_a_picture_with_the_gallery(
    done: tuple[Path, Inputs],
) -> None:
    folder, inputs = done
    scenes = np.array([item.record.path.rpartition("-")[0] for item in inputs.items])
    runs = read_runs(folder, inputs)
    assert len(runs) == 4
    for run in runs:
        queries = set(scenes[run.queries])
        gallery = set(scenes[run.hits.ravel()])
        assert not set(run.queries) & set(run.hits.ravel()), "a query is never a hit"
        if run.facts["split"] == "overlap-free":
            assert not queries & gallery
        else:
            assert queries & gallery
        assert run.facts["queries"] == 27
        assert run.facts["sharing_pixels"] == 1.0


def test_figures_agree_with_the_kept_hits(done: tuple[Path, Inputs]) -> None:
    folder, inputs = done
    for run in read_runs(folder, inputs):
        truth = inputs.labels[run.queries]
        relevant = inputs.labels[run.hits] == truth[:, None]
        metrics = run.facts["metrics"]
        assert metrics["precision_at_1"] == pytest.approx(relevant[:, 0].mean())
        assert metrics["precision_at_10"] == pytest.approx(relevant[:, :10].mean())
        by_class = run.facts["per_class"]["precision_at_10"]
        for number in range(3):
            assert by_class[number] == pytest.approx(relevant[truth == number, :10].mean())
        assert np.sum(run.facts["confusion"]) == len(run.queries)
        correct = np.trace(run.facts["confusion"]) / len(run.queries)
        assert metrics["knn_accuracy"] == pytest.approx(correct)
        assert (np.diff(run.scores, axis=1) <= 0).all()


def test_overlapping_partners_are_a_truth_without_labels(done: tuple[Path, Inputs]) -> None:
    folder, inputs = done
    for run in read_runs(folder, inputs):
        if run.facts["split"] == "overlap-free":
            assert run.facts["queries_with_partner"] == 0
            assert run.facts["overlap_recall_at_10"] is None
        else:
            assert run.facts["queries_with_partner"] > 20
            assert 0 < run.facts["overlap_recall_at_10"] <= 1


def test_a_finished_run_is_not_repeated_and_a_damaged_one_is(
    done: tuple[Path, Inputs], tiles: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(done[0], tmp_path / "report"))
    runs = sorted((folder / "runs").glob("*.json"))
    before = {path: path.read_bytes() for path in runs}
    runs[0].write_bytes(b"{")
    hits = runs[1].with_suffix(".npz")
    hits.write_bytes(hits.read_bytes()[:-40])
    dataset, (pretrained, _) = open_dataset(tiles), choose("colour-grid")
    inputs = evaluate(dataset, pretrained, Working(folder), study(folder, (0, 1)))
    assert len(read_runs(folder, inputs)) == 4
    for path in runs[2:]:
        assert path.read_bytes() == before[path], "kept as it was, timings included"
    for path in runs[:2]:
        again, first = json.loads(path.read_bytes()), json.loads(before[path])
        assert again["metrics"] == pytest.approx(first["metrics"]), "the same seed and figures"


def test_runs_of_earlier_versions_are_kept(done: tuple[Path, Inputs]) -> None:
    for path in (done[0] / "runs").glob("*.json"):
        facts = json.loads(path.read_bytes())
        made_of = ("recipe", "split", "test_share", "data", "backbone", *asdict(OPTIONS))
        settings = {name: facts[name] for name in made_of}
        key = hashlib.sha256(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)).hexdigest()
        name = f"colour-grid-dense-relu-{facts['split']}-seed{facts['seed']}-{key[:8]}.json"
        assert path.name == name
        assert not {"folds", "fold", "without_labels"} & set(facts)


def test_seeds_are_summarised_as_mean_and_spread(done: tuple[Path, Inputs]) -> None:
    folder, inputs = done
    runs = read_runs(folder, inputs)
    rows = summarise(runs)
    assert {(row.recipe, row.split) for row in rows} == {
        ("colour-grid + dense-relu", "random"),
        ("colour-grid + dense-relu", "overlap-free"),
    }
    for row in rows:
        values = [
            run.facts["metrics"]["precision_at_10"]
            for run in runs
            if run.facts["split"] == row.split
        ]
        assert row.seeds == (0, 1)
        assert row.figures["precision_at_10"] == pytest.approx(
            (np.mean(values), np.std(values, ddof=1))
        )
    lines = text_table(rows).splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert [head[:22].rstrip() for head in heads[::2]] == ["overlap-free split", "random split"]
    for head in heads[1::2]:
        assert head.startswith("colour-grid + dense-relu (seeds 0,1, fit ")
    assert sum("± over seeds" in line for line in lines) == 2
    assert sum("mean over classes" in line for line in lines) == 2
    assert max(map(len, lines)) <= 80


def test_the_command_reports_and_extends(
    geosim: Callable[..., Result], tiles: Path, tmp_path: Path
) -> None:
    command = ("evaluate", tiles, "--backbone", "colour-grid", "--epochs", 5, "--test-share", 0.25)
    options = ("--working", tmp_path / "working", "--report", tmp_path / "report")
    first = geosim(*command, *options, "--seed", 3)
    assert first.exit_code == 0, first.output
    assert "colour-grid + dense-relu" in first.stdout
    runs = {path: path.read_bytes() for path in (tmp_path / "report" / "runs").glob("*.json")}
    assert len(runs) == 2
    second = geosim(*command, *options, "--seeds", "3,4", "--head", "cosine", "--format", "json")
    report = json.loads(second.stdout)
    assert len(report["runs"]) == 6
    assert {tuple(row["seeds"]) for row in report["table"]} == {(3,), (3, 4)}
    assert all(0 <= row["figures"]["precision_at_10"][0] <= 1 for row in report["table"])
    confused = {(one["recipe"], one["split"]): one["pairs"] for one in report["most_confused"]}
    assert len(confused) == 4
    wrong = sum(pair["queries"] for pairs in confused.values() for pair in pairs)
    assert wrong > 0
    assert "100% of these images share pixels with another." in report["findings"]
    assert any("flatters you by" in one for one in report["findings"])
    assert all(path.read_bytes() == content for path, content in runs.items())
    page = (tmp_path / "report" / "report.html").read_text()
    for name in page.split('src="')[1:]:
        with Image.open(tmp_path / "report" / name.partition('"')[0]) as picture:
            assert min(picture.size) > 100


def test_a_random_split_is_compared_on_the_same_seeds(done: tuple[Path, Inputs]) -> None:
    folder, inputs = done
    runs = read_runs(folder, inputs)
    values = {("random", 0): 0.9, ("overlap-free", 0): 0.85, ("overlap-free", 1): 0.1}
    some = []
    for run in runs:
        key = run.facts["split"], run.facts["seed"]
        if key in values:
            metrics = run.facts["metrics"] | {"precision_at_10": values[key]}
            some.append(replace(run, facts=run.facts | {"metrics": metrics}))
    assert any("flatters you by 5.00 points" in one for one in conclusions(some, summarise(some)))
    free = [run for run in some if run.facts["split"] != "random"]
    assert not any("flatters" in one for one in conclusions(free, summarise(free)))
    apart = [run for run in some if (run.facts["split"] == "random") == (run.facts["seed"] == 0)]
    assert not any("flatters" in one for one in conclusions(apart, summarise(apart)))


def test_a_file_that_goes_meanwhile_is_named(tiles: Path, tmp_path: Path) -> None:
    class Vanishing(Files):
        """Loses one file after it was hashed and decoded."""

        reads = 0

        def read(self, record: Record) -> bytes:
            self.reads += record.path == "tiles/marble/3-4.png"
            if self.reads == 3:
                raise ImageError("no longer there")
            return super().read(record)

    dataset = replace(open_dataset(tiles), source=Vanishing())
    with pytest.raises(DatasetError, match=r"tiles/marble/3-4\.png changed while it was read"):
        evaluate(dataset, choose("colour-grid")[0], Working(tmp_path), study(tmp_path))


@pytest.mark.parametrize("seeds", ["", "a", "1,,2", "-1", "4294967296"])
def test_seeds_that_are_none(geosim: Callable[..., Result], tiles: Path, seeds: str) -> None:
    result = geosim("evaluate", tiles, "--backbone", "colour-grid", f"--seeds={seeds}")
    assert result.exit_code == 2
    assert "0,1,2" in result.output


def test_a_set_too_small_to_split_is_refused(rocks: Path, tmp_path: Path) -> None:
    for path in rocks.glob("*/*-00[01]*.jpg"):
        if not path.name.endswith("-0000.jpg"):
            path.unlink()
    dataset, (pretrained, _) = open_dataset(rocks), choose("colour-grid")
    with pytest.raises(DatasetError, match="too few"):
        evaluate(dataset, pretrained, Working(tmp_path), study(tmp_path))


def test_plots_of_little_are_drawn(tmp_path: Path) -> None:
    confusion_plot(np.zeros((1, 1), np.int64), ["only"], tmp_path / "confusion.png")
    precision_plot({"one": np.ones(1)}, tmp_path / "precision.png")
    score_plot(np.ones(3), np.zeros(0), tmp_path / "scores.png")
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG"


def test_settings_that_differ_are_told_apart_and_nothing_is_lost(
    done: tuple[Path, Inputs], tiles: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(done[0], tmp_path / "report"))
    dataset, (pretrained, _) = open_dataset(tiles), choose("colour-grid")
    for options in (TrainOptions(epochs=4), TrainOptions(epochs=4, batch_size=16)):
        more = Study(options, ("random", "overlap-free"), (0,), 0.25, folder)
        inputs = evaluate(dataset, pretrained, Working(folder), more)
    rows = summarise(read_runs(folder, inputs))
    names = {row.recipe for row in rows}
    assert names == {
        "colour-grid + dense-relu, 10 epochs, batches of 64",
        "colour-grid + dense-relu, 4 epochs, batches of 64",
        "colour-grid + dense-relu, 4 epochs, batches of 16",
    }
    assert {(row.recipe, row.split) for row in rows} == {
        (name, split) for name in names for split in ("random", "overlap-free")
    }
    assert sum(len(row.seeds) for row in rows) == 8


def test_queries_without_an_embedding_find_nothing(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FittedModel.embed

    def some_zero(self: FittedModel, array: np.ndarray) -> np.ndarray:
        embedded = original(self, array)
        embedded[::4] = 0
        return embedded

    monkeypatch.setattr(FittedModel, "embed", some_zero)
    dataset, (pretrained, _) = open_dataset(tiles), choose("colour-grid")
    inputs = evaluate(dataset, pretrained, Working(tmp_path), study(tmp_path))
    for run in read_runs(tmp_path, inputs):
        zero = run.queries % 4 == 0
        assert run.facts["zero_queries"] == zero.sum() > 0
        assert (run.hits[zero] == -1).all()
        assert not set(run.hits[~zero].ravel()) & set(range(0, 108, 4)), "nor are they indexed"
        assert run.facts["metrics"]["precision_at_1"] <= 1 - zero.mean()
        assert np.sum(run.facts["confusion"]) == (~zero).sum()
    write_report(
        read_runs(tmp_path, inputs),
        [item.record for item in inputs.items],
        dataset.source,
        tmp_path,
    )
    assert "NaN" not in (tmp_path / "report.json").read_text()
