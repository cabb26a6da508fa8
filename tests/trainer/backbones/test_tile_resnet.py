"""The network for small tiles: what it is blind to, that it learns, and that it comes back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.trainer.backbones.registry import choose
from geosim.trainer.backbones.tile_resnet import fit
from geosim.trainer.backbones.views import VIEWS, view_averaged, view_of
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import ModelError, WeightsError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import TILE_SIZES, read_inputs, tile_size
from geosim.trainer.model import load_model
from geosim.trainer.runtime.keras import import_keras
from geosim.trainer.sample.textures import draw
from geosim.trainer.train import train
from geosim.trainer.working import Working

LABELS = ("granite", "schist")


@pytest.fixture(scope="module")
def tiles() -> tuple[np.ndarray, np.ndarray]:
    """48 tiles of 28 x 28, two classes, and another 16 at the end to test with."""
    pixels = [draw(label, number, size=28) for number in range(32) for label in LABELS]
    return np.stack(pixels), np.arange(64, dtype=np.int32) % 2


@pytest.fixture(scope="module")
def fitted(tiles: tuple[np.ndarray, np.ndarray]):
    pixels, labels = tiles
    options = TrainOptions(epochs=8, batch_size=16, seed=3)
    return fit(pixels[:48], labels[:48], 2, options)


def test_views_are_the_eight_symmetries_of_a_square() -> None:
    image = np.arange(9).reshape(1, 3, 3, 1)
    views = {view_of(image, view).tobytes() for view in range(VIEWS)}
    expected = {
        np.ascontiguousarray(np.rot90(flipped, turns, axes=(1, 2))).tobytes()
        for flipped in (image, image[:, ::-1])
        for turns in range(4)
    }
    assert views == expected
    assert len(views) == 8


def test_the_mean_over_all_views_is_the_graphs_own() -> None:
    keras = import_keras()
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(5, "relu")]
    network = keras.Sequential(layers)
    images = np.random.default_rng(2).integers(0, 256, (6, 4, 4, 3)).astype(np.float32)
    views = [network.predict(view_of(images, view), verbose=0) for view in range(VIEWS)]
    averaged = view_averaged(network).predict(images, verbose=0)
    np.testing.assert_allclose(averaged, np.mean(views, axis=0), rtol=1e-4)


def test_an_embedding_does_not_change_when_the_tile_is_turned_or_mirrored(fitted, tiles) -> None:
    backbone, result = fitted
    pixels = tiles[0][48:]
    plain = result.head(backbone(pixels))
    assert plain.shape == (16, 32)
    assert plain.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-6)
    for view in range(1, VIEWS):
        again = result.head(backbone(view_of(pixels, view)))
        np.testing.assert_allclose(again, plain, atol=1e-5)


def test_it_tells_textures_apart_that_it_has_not_seen(fitted, tiles) -> None:
    backbone, result = fitted
    pixels, labels = tiles
    embedded = result.head(backbone(pixels))
    cosines = embedded[48:] @ embedded[:48].T
    assert (labels[:48][cosines.argmax(axis=1)] == labels[48:]).mean() >= 0.9
    assert len(result.loss) == 8
    assert result.loss[-1] < 0.5 * result.loss[0]
    assert result.best_epoch == int(np.argmin(result.loss)) + 1


@pytest.mark.slow
def test_a_seed_repeats_the_fit_and_callers_arrays_stay(tiles) -> None:
    pixels, labels = tiles
    before = pixels.copy()
    options = TrainOptions(epochs=1, batch_size=16, validation_split=0.25, seed=5)
    runs = [fit(pixels, labels, 2, options) for _ in range(2)]
    assert runs[0][1].loss == pytest.approx(runs[1][1].loss, rel=1e-3)
    assert len(runs[0][1].validation_loss) == 1
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    "name", ["tile-resnet", pytest.param("tile-fusion", marks=pytest.mark.slow)]
)
def test_it_is_trained_saved_ingested_and_trained_no_second_time(
    name: str, small_sample: Path, tmp_path: Path
) -> None:
    working = Working(tmp_path / "working")
    dataset, (pretrained, _) = open_dataset(small_sample), choose(name)
    options = pretrained.spec.train_options(epochs=2, batch_size=32)
    report = train(dataset, pretrained, working, options)
    assert not report.reused
    card = report.model.card
    assert card["input_size"] == 32, "the size of the sample's images"
    assert card["head"] == "cosine"
    assert len(card["backbone"]["weights_sha256"]) == 64
    model = load_model(working.model)
    with EdgeStore(working.qdrant, "geosim") as store:
        first = sync(dataset, model, store, working)
        assert (first.added, first.computed) == (96, 96)
        assert sync(dataset, model, store, working).unchanged == 96
    inputs = read_inputs(dataset, pretrained, working)
    backbone = model.extractor(working.features).backbone
    with EdgeStore(working.qdrant, "geosim") as store:
        points = {p.payload.path: p.vector for b in store.scan(vectors=True) for p in b}
    embedded = model.head(backbone(inputs.array[:8]))
    for item, vector in zip(inputs.items, embedded, strict=False):
        np.testing.assert_allclose(points[item.record.path], vector, atol=1e-5)
    again = train(dataset, pretrained, working, options)
    assert again.reused
    assert again.model.fingerprint == report.model.fingerprint


def test_a_batch_of_one_is_refused(tiles) -> None:
    with pytest.raises(ModelError, match="takes 2 images or more"):
        fit(tiles[0], tiles[1], 2, TrainOptions(epochs=1, batch_size=1))


@pytest.mark.parametrize("name", ["tile-resnet", "tile-fusion"])
def test_it_has_no_weights_before_it_is_trained(name: str) -> None:
    with pytest.raises(WeightsError, match="before it is trained"):
        choose(name)[0].load()
    with pytest.raises(WeightsError, match="takes none"):
        choose(name, Path("weights.h5"))


@pytest.mark.parametrize(("side", "expected"), [(28, 28), (8, 16), (30, 32), (300, 64)])
def test_tiles_are_learned_at_their_own_size(tmp_path: Path, side: int, expected: int) -> None:
    from PIL import Image

    from geosim.trainer.data.dataset import hash_records

    (tmp_path / "rocks" / "marble").mkdir(parents=True)
    for number in range(3):
        picture = Image.new("RGB", (side + 9, side), (number, 0, 0))
        picture.save(tmp_path / "rocks" / "marble" / f"{number}.png")
    (tmp_path / "rocks" / "marble" / "broken.png").touch()
    dataset = open_dataset(tmp_path / "rocks")
    hashed, _ = hash_records(dataset.source, dataset.records)
    assert tile_size(dataset.source, hashed) == expected
    assert TILE_SIZES[0] <= expected <= TILE_SIZES[1]
    shutil.rmtree(tmp_path / "rocks")
