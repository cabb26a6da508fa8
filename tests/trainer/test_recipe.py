"""A kept model or run is current only as long as no constant of its recipe changed."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import geosim.search.evaluation.study
from geosim.trainer.backbones.registry import BACKBONES, choose
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.heads import fit as heads
from geosim.trainer.heads.fit import TrainOptions, fit_head
from geosim.trainer.inputs import read_inputs
from geosim.trainer.recipe import UNRECORDED, changed_recipe, constants_of
from geosim.trainer.train import train, training_recipe
from geosim.trainer.working import Working

Run = Callable[..., Result]
OPTIONS = TrainOptions(epochs=5)  # those of the fixture `trained`

FROZEN = {
    "efficientnet-lite-pair": (1, "1ede1129194d9575"),
    "colour-grid": (1, "56d8a307f1c84dad"),
    "efficientnet-lite0": (2, "4c48c964c57822c7"),
    "efficientnet-lite1": (1, "4c48c964c57822c7"),
    "efficientnet-lite2": (1, "4c48c964c57822c7"),
    "resnet50": (2, "d604fd66aaada958"),
}
"""Version and digest of the constants of each frozen backbone."""


@pytest.mark.parametrize("module", UNRECORDED)
def test_what_earlier_versions_made_stays_current(module: str) -> None:
    assert changed_recipe(module) == "", (
        "a constant was changed, added or renamed: models and runs are made anew. If it changes no "
        "outcome, write the new digest to UNRECORDED; otherwise update nothing but this test"
    )


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_backbone_with_other_constants_has_another_version(name: str) -> None:
    spec = BACKBONES[name]
    found = spec.version, changed_recipe(sys.modules[spec.build.__module__].__name__)
    assert found == FROZEN[name], "raise the version if the features change, then update this"


def test_every_trained_backbone_is_watched() -> None:
    for spec in BACKBONES.values():
        assert training_recipe(spec) == "", spec.name
        assert spec.trained or spec.name in FROZEN


@pytest.mark.parametrize("module", UNRECORDED)
def test_each_constant_counts(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = constants_of(module)
    assert len(constants) >= 6
    for name, value in constants.items():
        owner, _, key = name.rpartition(".")
        with monkeypatch.context() as context:
            context.setattr(sys.modules[owner], key, (value, 1))
            assert changed_recipe(module), name


def test_a_new_constant_counts_without_being_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "DROPOUT", 0.5, raising=False)
    monkeypatch.setattr(heads, "REMEDY", "another text", raising=False)
    assert "geosim.trainer.heads.fit.DROPOUT" in constants_of("geosim.trainer.heads.fit")
    for spec in BACKBONES.values():
        assert bool(training_recipe(spec))


def test_a_model_of_another_recipe_is_trained_anew(
    working: Working, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, pretrained = open_dataset(sample), choose("colour-grid")[0]

    def again() -> bool:
        return train(dataset, pretrained, working, OPTIONS).reused

    before = (working.model / "model.json").read_bytes()
    inputs = read_inputs(dataset, pretrained, working)
    settings = f"{pretrained.fingerprint}|{asdict(OPTIONS)}".encode()
    earlier = hashlib.sha256(
        settings + b"".join(inputs.listing())
    ).hexdigest()  # as versions before it
    assert json.loads(before)["recipe"] == earlier
    assert again()
    monkeypatch.setattr(heads, "LEARNING_RATE", 2e-3)
    assert [again(), again()] == [False, True]
    monkeypatch.undo()
    assert not again()
    assert json.loads((working.model / "model.json").read_bytes())["recipe"] == earlier


@pytest.mark.slow
def test_a_run_of_another_recipe_is_done_anew_and_not_reported(
    working: Working, small_sample: Path, geosim: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate() -> list[dict[str, object]]:
        command = ("evaluate", small_sample, "--backbone", "colour-grid", "--split", "random")
        more = ("--epochs", 1, "--format", "json", "--working", working.root)
        done = geosim(*command, *more)
        assert done.exit_code == 0, done.stderr
        runs: list[dict[str, object]] = json.loads(done.stdout)["runs"]
        return runs

    (first,) = evaluate()
    assert evaluate() == [first]
    monkeypatch.setattr(geosim_study, "KEPT_HITS", 20)
    (second,) = evaluate()
    assert len(second["precision_by_k"]) == 20  # type: ignore[arg-type]
    assert evaluate() == [second]
    monkeypatch.setattr(heads, "LEARNING_RATE", 2e-3)
    (third,) = evaluate()
    assert third["training_recipe"]
    monkeypatch.undo()
    assert evaluate() == [first]


geosim_study = geosim.search.evaluation.study


@pytest.mark.parametrize(
    ("head", "losses"), [("dense-relu", [2.0910, 1.9083]), ("cosine", [3.7527, 1.1592])]
)
def test_the_fit_of_a_head_is_golden(head: str, losses: list[float]) -> None:
    """A change of the code that changes the outcome needs another constant in `heads/fit.py`."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4, dtype=np.int32), 16)
    features = generator.normal(size=(64, 24)).astype(np.float32) + labels[:, None]
    fitted = fit_head(features, labels, 4, TrainOptions(epochs=2, batch_size=16, head=head))
    assert fitted.loss == pytest.approx(losses, rel=1e-3)
