"""Two frozen networks as one: that each half is what its network gives alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from geosim.trainer.backbones.efficientnet_lite import LITE0, LITE2, weights_file
from geosim.trainer.backbones.lite_pair import PART_NORM
from geosim.trainer.backbones.registry import choose, spec_of
from geosim.trainer.backbones.spec import Pretrained
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


def test_each_half_of_the_exported_graph_is_its_network_scaled_to_one_norm(
    pair: Any, pictures: Any
) -> None:
    exported = choose_runtime(pair, spec_of("efficientnet-lite-pair").precision)
    features = exported(squeezed(pictures, SIZE))
    assert features.shape == (3, 2560)
    for variant, half in ((LITE0, features[:, :1280]), (LITE2, features[:, 1280:])):
        np.testing.assert_allclose(np.linalg.norm(half, axis=1), PART_NORM, rtol=0.01)
        alone = pair.model.get_layer(variant.model_name)
        direct = alone.predict_on_batch(squeezed(pictures, variant.input_size).astype(np.float32))
        # Lite0 sees pictures that were resized twice, the second time without a filter.
        least = 0.97 if variant is LITE0 else 0.995
        assert (unit(half) * unit(direct)).sum(axis=1).min() >= least


def test_both_weights_files_count(pretrained: Pretrained) -> None:
    assert pretrained.files == (weights_file(LITE0), weights_file(LITE2))
    assert pretrained.sha256 not in {"", LITE0.sha256, LITE2.sha256}
    assert choose("efficientnet-lite-pair")[0].fingerprint == pretrained.fingerprint
