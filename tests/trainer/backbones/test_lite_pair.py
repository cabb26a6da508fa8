"""Two frozen networks as one: that each part is what its network gives alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from geosim.trainer.backbones import efficientnet_lite
from geosim.trainer.backbones.efficientnet_lite import LITE0, LITE2, weights_file
from geosim.trainer.backbones.lite_pair import PART_NORM
from geosim.trainer.backbones.registry import choose
from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.backbones.weights import read_state_dict
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.sample.textures import draw

SIZE = 260


@pytest.fixture(scope="module")
def pretrained() -> Pretrained:
    return choose("efficientnet-lite-pair")[0]


@pytest.fixture(scope="module")
def pair(pretrained: Pretrained) -> Any:
    return pretrained.load()


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [Image.fromarray(draw(name, 0, size=400)) for name in ("granite", "schist", "gneiss")]


def squeezed(pictures: list[Image.Image], size: int) -> np.ndarray:
    return np.stack(
        [np.asarray(one.resize((size, size), Image.Resampling.BILINEAR)) for one in pictures]
    )


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.slow
def test_each_pooled_part_of_the_exported_graph_is_its_network_scaled_to_one_norm(
    pair: Any, pictures: Any
) -> None:
    exported = choose_runtime(pair, "f32")  # as Keras computes below
    features = exported(squeezed(pictures, SIZE))
    assert features.shape == (3, 5296)
    for variant, start in ((LITE0, 0), (LITE2, 2592)):
        part = features[:, start : start + 1280]
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), PART_NORM, rtol=0.01)
        alone = efficientnet_lite.build(variant)
        state = read_state_dict(weights_file(variant), sha256=variant.sha256)
        efficientnet_lite.load_pretrained(alone, state, variant)
        direct = alone.predict_on_batch(squeezed(pictures, variant.input_size).astype(np.float32))
        # Lite0 sees pictures that were resized twice, the second time without a filter.
        least = 0.97 if variant is LITE0 else 0.995
        assert (unit(part) * unit(direct)).sum(axis=1).min() >= least


def test_the_statistics_are_those_of_the_maps_in_units_of_their_batch_normalisation(
    pair: Any, pictures: Any
) -> None:
    seen = squeezed(pictures, SIZE).astype(np.float32)
    features = pair(seen.astype(np.uint8))
    _, projection, expansion = pair.model.get_layer(LITE2.model_name).predict_on_batch(seen)
    assert (projection.shape, expansion.shape) == ((3, 9, 9, 352), (3, 17, 17, 720))
    state = read_state_dict(weights_file(LITE2), sha256=LITE2.sha256)
    mean, variance = (state[f"_blocks.20._bn2.{one}"] for one in ("running_mean", "running_var"))
    spread = projection.std(axis=(1, 2)) / np.sqrt(variance + 1e-3)
    drawn = np.random.default_rng(0).normal(size=(20_000, 1))
    shift, gain = (state[f"_blocks.15._bn0.{one}"] for one in ("bias", "weight"))
    cut = np.clip(shift + gain * drawn, 0, 6).var(axis=0)
    texture = expansion.std(axis=(1, 2)) / np.sqrt(cut + 1e-3)
    for start, expected, least in (
        (3872, (projection.mean(axis=(1, 2)) - mean) / np.sqrt(variance + 1e-3), 0.9999),
        (4224, spread - spread.mean(axis=1, keepdims=True), 0.9999),
        (4576, texture - texture.mean(axis=1, keepdims=True), 0.999),  # a sample of ReLU6
    ):
        part = features[:, start : start + expected.shape[1]]
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), PART_NORM / 2, rtol=1e-4)
        assert (unit(part) * unit(expected)).sum(axis=1).min() >= least


def test_both_weights_files_count(pretrained: Pretrained) -> None:
    assert pretrained.files == (weights_file(LITE0), weights_file(LITE2))
    assert pretrained.sha256 not in {"", LITE0.sha256, LITE2.sha256}
    assert choose("efficientnet-lite-pair")[0].fingerprint == pretrained.fingerprint
