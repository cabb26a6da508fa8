"""The certainty in the model card: which images vote, and when there are too few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geosim.trainer import votes
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.evaluation.calibration import Certainty
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import Inputs, read_inputs
from geosim.trainer.kept import read_card
from geosim.trainer.recipes.registry import recipe_of
from geosim.trainer.rows import Rows
from geosim.trainer.sample.generate import write_sample
from geosim.trainer.train import train
from geosim.trainer.votes import MAX_FITS, MIN_LABELLED, vote_facts
from geosim.trainer.working import Working

OPTIONS = TrainOptions(epochs=2)


@pytest.fixture(scope="module")
def inputs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """96 images, twice, so that each has a byte-identical copy but for those renamed below."""
    folder = tmp_path_factory.mktemp("votes")
    found = read_inputs(open_dataset(sample), choose("colour-grid")[0], Working(folder), OPTIONS)
    items = [replace(item, sha256=f"{row:064x}") for row, item in enumerate(found.items)]
    return replace(
        found,
        items=(*found.items, *items),
        labels=np.tile(found.labels, 2),
        array=np.tile(found.array, (2, 1)),
        decodings=found.decodings * 2,
    )


def unit(chosen: Rows) -> NDArray[np.float32]:
    """Stand in for a head: the first 32 features, centred."""
    rows = chosen[:][:, :32] - 0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def facts(inputs: Inputs, rows: NDArray[np.intp], fits: list[NDArray[np.intp]]) -> Any:
    def fit(part: NDArray[np.intp]) -> Any:
        fits.append(part)
        return unit

    return vote_facts(inputs, rows, OPTIONS, unit, fit)


def test_images_vote_that_the_fit_has_not_seen(inputs: Inputs) -> None:
    fits: list[NDArray[np.intp]] = []
    rows = np.arange(len(inputs.labels))
    vote = facts(inputs, rows, fits)["vote"]
    assert len(fits) == MAX_FITS, "few images vote several times"
    assert all(len(part) == pytest.approx(0.8 * len(rows), abs=5) for part in fits)
    assert vote["held_out"] == sum(len(rows) - len(part) for part in fits)
    assert 0 < vote["right"] <= vote["held_out"]
    assert isinstance(Certainty.of_card({"vote": vote}), Certainty)


def test_a_copy_of_a_file_does_not_vote_with_its_copy_in_the_gallery(inputs: Inputs) -> None:
    copied = replace(inputs, items=inputs.items[:96] * 2)
    vote = facts(copied, np.arange(192), [])["vote"]
    assert vote is None or vote["held_out"] < 0.4 * 192


def test_images_without_a_class_are_learned_from_and_do_not_vote(inputs: Inputs) -> None:
    fits: list[NDArray[np.intp]] = []
    half = replace(inputs, labels=np.where(np.arange(192) < 120, inputs.labels, -1).astype("i4"))
    vote = facts(half, np.arange(192), fits)["vote"]
    assert all(set(range(120, 192)) <= set(part.tolist()) for part in fits)
    assert vote["held_out"] <= MAX_FITS * 0.25 * 120
    none = replace(inputs, labels=np.full_like(inputs.labels, -1))
    assert facts(none, np.arange(192), []) == {"vote": None}


def test_too_few_images_tell_nothing(inputs: Inputs) -> None:
    fits: list[NDArray[np.intp]] = []
    assert facts(inputs, np.arange(MIN_LABELLED - 1), fits) == {"vote": None}
    assert not fits


def test_one_class_wins_every_vote_and_tells_nothing(inputs: Inputs) -> None:
    alike, fits = replace(inputs, labels=np.zeros_like(inputs.labels)), list[NDArray[np.intp]]()
    assert facts(alike, np.arange(192), fits) == {"vote": None}
    assert not fits


def test_of_many_images_a_number_votes_whose_hits_are_the_same(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(192)
    every = facts(inputs, rows, [])["vote"]
    monkeypatch.setattr(votes, "SCORES", 500)  # three queries at once
    in_turn = facts(inputs, rows, [])["vote"]
    assert (in_turn["held_out"], in_turn["right"]) == (every["held_out"], every["right"])
    monkeypatch.setattr(votes, "MOST_QUERIES", 11)
    assert facts(inputs, rows, [])["vote"]["held_out"] == MAX_FITS * 11


def test_a_training_keeps_it_in_the_card(tmp_path: Path, sample: Path) -> None:
    few, many = Working(tmp_path / "few"), Working(tmp_path / "many")
    write_sample(tmp_path / "rocks", per_class=14, size=32)
    for data, working in ((sample, few), (tmp_path / "rocks", many)):
        train(open_dataset(data), choose("colour-grid")[0], working, OPTIONS)
    assert read_card(few.model)["vote"] is None
    vote = read_card(many.model)["vote"]
    assert set(vote) == {"offset", "slope", "closeness", "most", "held_out", "right"}
    assert vote["held_out"] >= 20


def test_a_trained_backbone_votes_with_its_validation_part(inputs: Inputs) -> None:
    pixels = replace(inputs, recipe=recipe_of(choose("tile-resnet")[0].spec, OPTIONS))
    rows = np.arange(192)

    def refuse(_: NDArray[np.intp]) -> Any:
        pytest.fail("it would take too long")

    held = replace(OPTIONS, validation_split=0.25)
    assert vote_facts(pixels, rows, held, unit, refuse)["vote"]["held_out"] == 48
    assert vote_facts(pixels, rows, OPTIONS, unit, refuse) == {}, "nothing was held out"
    assert vote_facts(pixels, rows[:64], held, unit, refuse) == {"vote": None}, "16 votes"
