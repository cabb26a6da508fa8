"""What a report says of certainty and of pictures unlike all, by hand and from real runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from geosim.search.evaluation.left_out import left_out_facts
from geosim.search.evaluation.reliability import pooled, reliability_facts, reliability_text
from geosim.search.evaluation.runs import Run
from geosim.search.evaluation.trust import trust_figures, trust_section
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.inputs import read_inputs
from geosim.trainer.working import Working

LABELS = np.array([0] * 10 + [1] * 10 + [0, 1], dtype=np.int64)
QUERIES = np.array([20, 21])


def facts(vote: dict[str, Any]) -> dict[str, Any]:
    """Two queries whose ten hits are all of class 0: the first vote is right, the other wrong."""
    hits, scores = np.tile(np.arange(10), (2, 1)), np.full((2, 10), 0.99)
    return reliability_facts(LABELS, QUERIES, hits, scores, vote)


def run(**given: Any) -> Run:
    empty = np.empty((0, 10))
    return Run(given, QUERIES, empty.astype(np.int64), empty)


def test_a_sure_vote_that_is_half_right_is_off_by_half() -> None:
    default = facts({"vote": None})
    assert default["after"] is None
    figures = pooled([run(calibration=default)])
    assert figures is not None
    assert figures["ece_before"] == pytest.approx(9.9 / 10 - 0.5)
    assert figures["ece"] is None
    assert "0.490 with the default" in reliability_text(figures)

    half = facts({"vote": {"offset": 0.0, "slope": 0.0, "closeness": 0.0, "most": 0.9}})
    figures = pooled([run(calibration=half), run(calibration=half)])
    assert figures is not None
    assert figures["ece"] == pytest.approx(0)
    assert figures["ece_unavoidable"] == pytest.approx(0.75 / 4, abs=0.02)  # E|B(4, 1/2) - 2| / 4
    assert sum(row[0] for row in figures["diagram"]) == 4


def test_queries_without_an_embedding_are_not_counted() -> None:
    hits, scores = np.full((2, 10), -1), np.full((2, 10), np.nan)
    hits[0], scores[0] = np.arange(10), 0.99
    found = reliability_facts(LABELS, QUERIES, hits, scores, {})
    assert sum(row[0] for row in found["before"]) == 1


def test_runs_of_earlier_versions_have_no_figures(tmp_path: Path) -> None:
    figures = trust_figures([run(), run(calibration=facts({}))])
    assert figures == {"calibration": None, "novelty": None}
    assert trust_section(figures, "old", tmp_path, "old") == ""
    assert not list(tmp_path.iterdir())


def test_a_class_far_from_the_others_is_told(sample: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in sample.iterdir() if path.is_dir())[:3]
    for name in names:
        shutil.copytree(sample / name, tmp_path / "rocks" / name)
    dataset, pretrained = open_dataset(tmp_path / "rocks"), choose("colour-grid")[0]
    inputs = read_inputs(dataset, pretrained, Working(tmp_path / "working"))
    embedded = np.eye(32, dtype=np.float32)[inputs.labels]
    rows = np.arange(len(inputs.labels))
    found = left_out_facts(inputs, rows, rows, embedded)
    assert found == {"left_out_of": "the gallery", "auroc": 1.0, "per_class": [1.0] * 3}
    same = np.tile(np.eye(32, dtype=np.float32)[:1], (len(rows), 1))
    alike = left_out_facts(inputs, rows, rows, same)
    assert alike is not None
    assert alike["auroc"] == 0.5


def test_the_command_leaves_each_class_out_of_the_training(
    geosim: Callable[..., Result], small_sample: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in small_sample.iterdir() if path.is_dir())[:3]
    for name in names:
        shutil.copytree(small_sample / name, tmp_path / "rocks" / name)
    command = ("evaluate", tmp_path / "rocks", "--backbone", "colour-grid", "--epochs", 2)
    options = ("--split", "random", "--working", tmp_path / "working", "--novelty")
    done = geosim(*command, *options)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "working" / "report"
    report = json.loads((folder / "report.json").read_bytes())
    (entry,) = report["certainty"]
    assert entry["novelty"]["left_out_of"] == "training and gallery"
    assert len(entry["novelty"]["per_class"]) == 3
    assert 0 <= entry["novelty"]["auroc"] <= 1
    assert entry["calibration"]["ece"] is None, "too few images to fit it"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Expected calibration error" in page
    assert "left out of training and gallery" in page
    assert len(list(folder.glob("*-reliability.png"))) == 1
