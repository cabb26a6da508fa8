"""A newcomer's backbone: one module that registers its spec, and the whole job runs with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from geosim.trainer.backbones.registry import BACKBONES, register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.heads.fit import Fit, TrainOptions
from geosim.trainer.heads.head import Head
from geosim.trainer.runtime.keras import KerasBackbone, import_keras


class MeanColours:
    """Mean colours of 16 strips."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, images: np.ndarray) -> np.ndarray:
        assert images.shape[1:] == (self.size, self.size, 3)
        strips = images.reshape(len(images), 16, -1, 3).mean(axis=2)
        return (strips.reshape(len(images), -1) / 255).astype(np.float32)


def frozen() -> BackboneSpec:
    return BackboneSpec(
        name="toy-frozen",
        summary="mean colours of strips",
        input_size=32,
        feature_width=48,
        version=1,
        licence="Apache-2.0",
        build=MeanColours,
        keras=False,
        epochs=3,
    )


def network(size: int) -> Any:
    keras = import_keras()
    image = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(8, 3, 2, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dense(32)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.UnitNormalization()(x))


def fit_toy(
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: TrainOptions,
    *,
    progress: Callable[[int], object],
) -> tuple[KerasBackbone, Fit]:
    import_keras().utils.set_random_seed(options.seed)
    for _ in range(options.epochs):
        progress(1)
    return KerasBackbone(network(pixels.shape[1])), Fit(Head.identity(), [1.0], [], 1)


def trained() -> BackboneSpec:
    return BackboneSpec(
        name="toy-trained",
        summary="one convolution",
        input_size=28,
        feature_width=32,
        version=1,
        licence="Apache-2.0",
        build=lambda size: KerasBackbone(network(size)),
        fit=fit_toy,
        optimizer="none",
        epochs=2,
    )


@pytest.fixture(params=[frozen, trained])
def spec(request: pytest.FixtureRequest) -> Iterator[BackboneSpec]:
    registered = register(request.param())
    yield registered
    del BACKBONES[registered.name]


def test_the_whole_job_runs_with_it(
    spec: BackboneSpec, small_sample: Path, geosim: Callable[..., Result], tmp_path: Path
) -> None:
    for folder in ("granite", "schist", "marble"):
        shutil.copytree(small_sample / folder, tmp_path / "rocks" / folder)
    options = ("--working", tmp_path / "working")
    done = geosim("run", tmp_path / "rocks", "--backbone", spec.name, "-k", 3, *options)
    assert done.exit_code == 0, done.output
    assert f"backbone {spec.name}, as asked" in done.stderr
    card = json.loads((tmp_path / "working" / "model" / "model.json").read_bytes())
    assert card["backbone"]["name"] == spec.name
    assert card["training"]["epochs"] == spec.epochs
    assert card["training"]["optimizer"] == spec.optimizer
    new = shutil.copy(small_sample / "basalt" / "basalt-0001.jpg", tmp_path)
    found = geosim("search", new, "-k", 3, "--format", "json", *options)
    assert found.exit_code == 0, found.output
    assert len(json.loads(found.stdout)[0]["hits"]) == 3
    once = ("--split", "random", *options)
    evaluated = geosim("evaluate", tmp_path / "rocks", "--backbone", spec.name, *once)
    assert evaluated.exit_code == 0, evaluated.output
    assert spec.name in evaluated.stdout


def test_help_and_errors_list_it(
    spec: BackboneSpec, sample: Path, geosim: Callable[..., Result]
) -> None:
    told = " ".join(geosim("train", "--help").stdout.split())
    assert f"{spec.name} ({spec.summary})" in told
    refused = geosim("train", sample, "--backbone", "toy")
    assert refused.exit_code == 1
    assert spec.name in refused.stderr


def test_a_name_is_taken_once(spec: BackboneSpec) -> None:
    assert register(spec) is spec
    with pytest.raises(ValueError, match="is taken"):
        register(replace(spec, version=2))
