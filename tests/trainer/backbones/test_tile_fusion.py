"""Two networks in one: that each has its share, and what the frozen one sees."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from geosim.trainer.backbones.efficientnet_lite import INPUT_SIZE
from geosim.trainer.backbones.registry import choose, spec_of
from geosim.trainer.backbones.tile_fusion import TILE_WEIGHT, WIDTH, fit
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.sample.textures import draw

pytestmark = pytest.mark.slow

LABELS = ("granite", "schist")


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """48 tiles of 28 x 28, two classes in turn, and another 16 at the end to test with."""
    return np.stack([draw(label, number, size=28) for number in range(32) for label in LABELS])


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.arange(64, dtype=np.int32) % 2


@pytest.fixture(scope="module")
def fitted(tiles: np.ndarray, labels: np.ndarray):
    options = TrainOptions(epochs=4, batch_size=16, seed=3, validation_split=0.25)
    return fit(tiles[:48], labels[:48], 2, options)


def test_the_cosine_is_the_weighted_mean_of_both_networks_cosines(fitted, tiles) -> None:
    backbone, result = fitted
    embedded = result.head(backbone(tiles))
    assert embedded.shape == (64, 32)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-6)
    shares = [np.linalg.norm(part, axis=1) for part in (embedded[:, :WIDTH], embedded[:, WIDTH:])]
    np.testing.assert_allclose(shares[0] ** 2, TILE_WEIGHT, atol=1e-5)
    np.testing.assert_allclose(shares[1] ** 2, 1 - TILE_WEIGHT, atol=1e-5)


def test_each_network_alone_tells_textures_apart_that_it_has_not_seen(
    fitted, tiles, labels
) -> None:
    embedded = fitted[0](tiles)
    for part in (embedded[:, :WIDTH], embedded[:, WIDTH:]):
        nearest = (part[48:] @ part[:48].T).argmax(axis=1)
        assert (labels[:48][nearest] == labels[48:]).mean() >= 0.9


def test_the_frozen_networks_share_is_trained(fitted, tiles, labels) -> None:
    cosines = (part := fitted[0](tiles[:48])[:, WIDTH:] / (1 - TILE_WEIGHT) ** 0.5) @ part.T
    same = labels[:48, None] == labels[:48]
    assert cosines[same].mean() > 0.9
    assert cosines[~same].mean() < 0.2, "features themselves are all much alike: none below 0.5"


def test_the_losses_are_the_tile_networks(fitted) -> None:
    result = fitted[1]
    assert (len(result.loss), len(result.validation_loss)) == (4, 4)
    assert result.best_epoch == int(np.argmin(result.validation_loss)) + 1


def test_the_graph_enlarges_tiles_as_pillow_does_but_does_not_round(fitted, tiles) -> None:
    def enlarged(channel: np.ndarray) -> np.ndarray:
        size = (INPUT_SIZE, INPUT_SIZE)
        return np.asarray(
            Image.fromarray(channel.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        )

    large = np.stack(
        [np.dstack([enlarged(tile[..., channel]) for channel in range(3)]) for tile in tiles[:4]]
    )
    frozen = choose("efficientnet-lite0")[0].load().model
    inside = fitted[0].model.get_layer("enlarged").predict(tiles[:4].astype(np.float32), verbose=0)
    np.testing.assert_allclose(inside, frozen.predict(large, verbose=0), atol=0.02)  # of 0 to 6


def test_the_exported_graph_embeds_alike(fitted, tiles) -> None:
    plain, exported = fitted[0](tiles), choose_runtime(fitted[0], "bf16")(tiles)
    assert (plain * exported).sum(axis=1).min() >= 0.999


def test_weights_come_back_into_a_new_graph(fitted, tiles, tmp_path) -> None:
    path = tmp_path / "backbone.weights.h5"
    fitted[0].save(path)
    again = spec_of("tile-fusion").build(28)
    assert np.abs(again(tiles[:4]) - fitted[0](tiles[:4])).max() > 0.1
    again.load(path)
    np.testing.assert_array_equal(again(tiles[:4]), fitted[0](tiles[:4]))


def test_it_has_a_head_of_its_own() -> None:
    with pytest.raises(ModelError, match="leave --head out"):
        spec_of("tile-fusion").train_options(head="dense-relu")
