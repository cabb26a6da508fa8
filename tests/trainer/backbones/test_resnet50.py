"""ResNet50: the graph, files in the published layout, and the checked copy in Keras' cache."""

import hashlib
import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import Result

from geosim.trainer.backbones import resnet50
from geosim.trainer.backbones.resnet50 import Published
from geosim.trainer.errors import WeightsError
from geosim.trainer.runtime.keras import KerasBackbone
from geosim.trainer.runtime.openvino import OpenVinoBackbone

# TensorFlow's variables do not know NumPy 2's `copy` argument.
COPY_KEYWORD = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
REMEDIES = r"--weights FILE.*--backbone efficientnet-lite0"
CONTENT = np.random.default_rng(5).bytes(50_000)


@pytest.fixture(scope="module")
def model() -> Any:
    return resnet50.build()


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def write_published(path: Path, backbone: Any, *, own: bool = False) -> dict[str, list[np.ndarray]]:
    """Writes random weights, or the backbone's own, as Keras publishes them; returns them by layer.

    The layout: attribute "layer_names" in the graph's order, a group per layer with the attribute
    "weight_names" and a data set "<layer>/<weight>:0" each.
    """
    generator = np.random.default_rng(3)
    written = {}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([layer.name for layer in backbone.layers], "S")
        for layer in backbone.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            values = [
                weight.numpy()
                if own
                else generator.random(tuple(weight.shape), dtype=np.float32) * np.float32(0.05)
                for weight in layer.weights
            ]
            group.attrs["weight_names"] = np.array(names, "S")
            for name, value in zip(names, values, strict=True):
                group.create_dataset(name, data=value)
            if values:
                written[layer.name] = values
    return written


@pytest.fixture(scope="module")
def published_layout(
    model: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list[np.ndarray]]]:
    path = tmp_path_factory.mktemp("weights") / "notop.h5"
    return path, write_published(path, model.get_layer("resnet50"))


def test_the_graph_holds_the_preprocessing(model: Any, batch: np.ndarray) -> None:
    import keras

    prepared = keras.applications.resnet.preprocess_input(batch.astype(np.float32))
    inside = keras.Model(model.input, model.get_layer("subtract_mean").output)
    np.testing.assert_array_equal(inside.predict_on_batch(batch), prepared)
    features = model.predict_on_batch(batch)
    assert features.shape == (2, resnet50.FEATURES)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, model.get_layer("resnet50").predict_on_batch(prepared))
    np.testing.assert_array_equal(features, model.predict_on_batch(batch.astype(np.float32)))


@pytest.mark.filterwarnings(COPY_KEYWORD)
def test_the_model_can_be_saved(model: Any, batch: np.ndarray, tmp_path: Path) -> None:
    import keras

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(batch), model.predict_on_batch(batch))


@pytest.mark.slow
def test_the_exported_graph_gives_the_same_features(model: Any, batch: np.ndarray) -> None:
    exported = OpenVinoBackbone(KerasBackbone(model).exported, "f32")
    expected = model.predict_on_batch(batch)
    np.testing.assert_allclose(exported(batch), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings(COPY_KEYWORD)
def test_a_file_in_the_published_layout_is_loaded(
    model: Any, published_layout: tuple[Path, dict[str, list[np.ndarray]]]
) -> None:
    path, written = published_layout
    resnet50.load_pretrained(model, path)
    backbone = model.get_layer("resnet50")
    loaded = {layer.name: layer.get_weights() for layer in backbone.layers if layer.weights}
    assert list(loaded) == list(written)
    assert sum(len(values) for values in loaded.values()) == 318
    for name, values in loaded.items():
        for value, expected in zip(values, written[name], strict=True):
            np.testing.assert_array_equal(value, expected)


def refused(model: Any, path: Path) -> str:
    with pytest.raises(WeightsError, match=f"expected a Keras .h5 file.*{REMEDIES}") as caught:
        resnet50.load_pretrained(model, path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_an_absent_file_is_refused(model: Any, tmp_path: Path) -> None:
    assert "no weights file" in refused(model, tmp_path / "absent.h5")
    assert "no weights file" in refused(model, tmp_path)


def test_another_kind_of_file_is_refused(model: Any, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(CONTENT)
    assert "is no .h5 file" in refused(model, tmp_path / "weights.pth")
    (tmp_path / "weights.h5").write_bytes(CONTENT)
    refused(model, tmp_path / "weights.h5")


def test_a_cut_file_is_refused(
    model: Any, published_layout: tuple[Path, Any], tmp_path: Path
) -> None:
    path = tmp_path / "cut.h5"
    with published_layout[0].open("rb") as whole:
        path.write_bytes(whole.read(1_000_000))
    refused(model, path)


def test_weights_of_another_network_are_refused(model: Any, tmp_path: Path) -> None:
    import keras

    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    path = tmp_path / "small.h5"
    write_published(path, small)
    assert "Layer count mismatch" in refused(model, path)


def test_another_shape_is_refused(
    model: Any, published_layout: tuple[Path, Any], tmp_path: Path
) -> None:
    path = shutil.copy(published_layout[0], tmp_path / "other.h5")
    with h5py.File(path, "r+") as file:
        group = file["conv1_conv"]
        name = group.attrs["weight_names"][0].decode()
        del group[name]
        group.create_dataset(name, data=np.zeros((3, 3, 3, 64), np.float32))
    refused(model, path)


def test_the_published_file_is_the_one_keras_names() -> None:
    from keras.src.applications import resnet

    file = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert resnet50.PUBLISHED.url == f"{resnet.BASE_WEIGHTS_PATH}{file}"
    assert resnet50.PUBLISHED.md5 == resnet.WEIGHTS_HASHES["resnet50"][1]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Keras' cache that weights lie in."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


@pytest.fixture
def published(served_folder: tuple[Path, str]) -> Published:
    folder, url = served_folder
    (folder / "notop.h5").write_bytes(CONTENT)
    return Published(f"{url}/notop.h5", hashlib.md5(CONTENT).hexdigest())


@pytest.fixture
def offline(published: Published) -> Published:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return replace(published, url=f"http://127.0.0.1:{port}/notop.h5")


def test_the_file_is_fetched_once(published: Published, offline: Published, cache: Path) -> None:
    path = resnet50.pretrained_file(published)
    assert path == cache / "notop.h5"
    assert path.read_bytes() == CONTENT
    assert [one.name for one in cache.iterdir()] == ["notop.h5"]
    assert resnet50.pretrained_file(offline) == path


def test_the_default_cache_is_keras_own(
    offline: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".keras" / "models"
    folder.mkdir(parents=True)
    (folder / "notop.h5").write_bytes(CONTENT)
    assert resnet50.pretrained_file(offline) == folder / "notop.h5"


def test_a_damaged_file_is_fetched_again(
    published: Published, offline: Published, cache: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / "notop.h5").write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError, match=f"cannot download.*{REMEDIES}"):
        resnet50.pretrained_file(offline)
    assert resnet50.pretrained_file(published).read_bytes() == CONTENT


@pytest.mark.parametrize("change", [{"md5": "0" * 32}, {"url": "absent.h5"}])
def test_a_download_that_does_not_fit_is_not_kept(
    published: Published, cache: Path, change: dict[str, Any]
) -> None:
    if "url" in change:
        change = {"url": published.url.replace("notop.h5", change["url"])}
    with pytest.raises(WeightsError, match=REMEDIES) as caught:
        resnet50.pretrained_file(replace(published, **change))
    assert "\n" not in str(caught.value)
    assert not list(cache.glob("*.h5*"))


def test_without_network_the_remedies_are_named(offline: Published, cache: Path) -> None:
    with pytest.raises(WeightsError, match=f"cannot download.*{REMEDIES}"):
        resnet50.pretrained_file(offline)


def test_a_cache_that_cannot_be_made_is_refused(
    published: Published, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "keras").write_text("in the way")
    with pytest.raises(WeightsError, match=REMEDIES):
        resnet50.pretrained_file(published)


@pytest.mark.slow
def test_the_whole_job_on_given_weights(
    sample: Path, geosim: Callable[..., Result], tmp_path: Path
) -> None:
    fresh = resnet50.build().get_layer("resnet50")
    write_published(tmp_path / "weights.h5", fresh, own=True)
    for folder in ("granite", "schist"):
        (tmp_path / "few" / folder).mkdir(parents=True)
        for path in sorted((sample / folder).glob("*.jpg"))[:3]:
            shutil.copy(path, tmp_path / "few" / folder)
    options = ("--working", tmp_path / "working")
    trained = geosim("train", tmp_path / "few", "--weights", tmp_path / "weights.h5", *options)
    assert trained.exit_code == 0, trained.output
    (tmp_path / "weights.h5").unlink()  # the model stands alone
    shutil.rmtree(tmp_path / "working" / "features")
    ingested = geosim("ingest", tmp_path / "few", *options)
    assert "added 6" in ingested.stdout
    assert "6 embedded by the backbone" in ingested.stdout
    card = json.loads((tmp_path / "working" / "model" / "model.json").read_bytes())
    assert card["backbone"]["name"] == "resnet50"
    assert card["files"]["backbone"]["file"].endswith(".weights.h5")
