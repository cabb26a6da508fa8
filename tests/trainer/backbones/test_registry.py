"""The table of backbones, how one is chosen, and a golden vector for each that brings weights."""

import hashlib
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geosim.trainer.backbones import efficientnet_lite as lite0
from geosim.trainer.backbones import resnet50
from geosim.trainer.backbones.registry import BACKBONES, choose, spec_of
from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.backbones.weights import read_state_dict
from geosim.trainer.errors import ModelError, WeightsError

# Leading components and norm of `pattern` through efficientnet-lite0, computed by the port that
# recognises the pictures of test_lite0.py.
GOLDEN = [0.1165, 0.0602, 0, 0, 0, 0.0998, 0.0104, 0, 0, 0.3516, 0, 0, 0.0112, 0, 0.0694, 0]
GOLDEN_NORM = 21.4806

# Of the larger variants, by the port that recognises the same pictures.
LARGER: dict[str, tuple[list[float], float]] = {
    "efficientnet-lite1": ([0, 0, 0.0088, 0, 0.0036, 0, 0, 0.0056, 0.7028, 0, 0.8811], 16.8841),
    "efficientnet-lite2": ([0.0126, 0.8295, 0.1396, 0.0976, 0.3699, 2.0898, 0, 0.0332], 17.282),
}

CONTENT = b"stands for the published weights"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache and a publisher that nobody answers for; gives the file's place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    published = resnet50.Published(
        url=f"http://127.0.0.1:{port}/notop.h5",
        md5=hashlib.md5(CONTENT).hexdigest(),
    )
    monkeypatch.setattr(resnet50.pretrained_file, "__defaults__", (published,))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models" / "notop.h5"


@pytest.fixture
def cached(offline: Path) -> Path:
    offline.parent.mkdir(parents=True)
    offline.write_bytes(CONTENT)
    return offline


def test_the_table_is_complete() -> None:
    assert set(BACKBONES) == {
        "resnet50",
        "efficientnet-lite0",
        "efficientnet-lite-pair",
        "efficientnet-lite1",
        "efficientnet-lite2",
        "tile-resnet",
        "tile-fusion",
        "colour-grid",
    }
    for name, spec in BACKBONES.items():
        assert spec_of(name) is spec
        assert spec.name == name
        assert spec.summary
        assert spec.licence
    assert (BACKBONES["resnet50"].input_size, BACKBONES["resnet50"].feature_width) == (
        resnet50.INPUT_SIZE,
        resnet50.FEATURES,
    )
    assert (
        BACKBONES["efficientnet-lite0"].input_size,
        BACKBONES["efficientnet-lite0"].feature_width,
    ) == (lite0.INPUT_SIZE, lite0.FEATURES)


@pytest.mark.parametrize("weights", [None, Path("weights.h5")])
def test_an_unknown_name_lists_the_valid_ones(weights: Path | None) -> None:
    with pytest.raises(
        ModelError, match=f"expected auto, {', '.join(sorted(BACKBONES))}, or a file"
    ):
        choose("resnet34", weights)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "colour-grid"])
def test_weights_are_for_resnet50_only(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"--weights is for resnet50; {name} takes none"):
        choose(name, tmp_path / "weights.h5")


@pytest.mark.parametrize("name", ["auto", "resnet50"])
def test_given_weights_mean_resnet50_and_need_no_network(
    name: str, tmp_path: Path, offline: Path
) -> None:
    weights = tmp_path / "mine.h5"
    weights.write_bytes(b"whatever")
    pretrained, line = choose(name, weights)
    assert pretrained.spec.name == "resnet50"
    assert pretrained.files == (weights,)
    assert pretrained.sha256 == hashlib.sha256(b"whatever").hexdigest()
    assert line == f"backbone resnet50: weights of {weights}"


@pytest.mark.parametrize("name", ["auto", "resnet50"])
@pytest.mark.parametrize("weights", ["absent.h5", "."])
def test_given_weights_that_cannot_be_read_never_fall_back(
    name: str, weights: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read: .*give --weights an existing \.h5"):
        choose(name, tmp_path / weights)


def test_auto_takes_resnet50_where_its_weights_are_cached(cached: Path) -> None:
    pretrained, line = choose("auto")
    assert (pretrained.spec.name, pretrained.files) == ("resnet50", (cached,))
    assert line == "backbone resnet50: its ImageNet weights are cached"


def test_auto_falls_back_and_says_why(offline: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pretrained, line = choose("auto")
    assert capfd.readouterr().err == ""
    assert pretrained.spec.name == "efficientnet-lite0"
    assert pretrained.files == (lite0.weights_file(),)
    assert pretrained.sha256 == lite0.LITE0.sha256
    assert line == (
        "backbone efficientnet-lite0: its weights are installed, those of resnet50 cannot be had "
        "(--backbone resnet50 says why)"
    )


def test_auto_does_not_take_a_damaged_cached_file(cached: Path) -> None:
    cached.write_bytes(CONTENT[::-1])
    pretrained, line = choose("auto")
    assert pretrained.spec.name == "efficientnet-lite0"
    assert "cannot be had" in line


def test_resnet50_by_name_never_falls_back(offline: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot download.*--backbone efficientnet-lite0"):
        choose("resnet50")


def test_backbones_without_downloads_need_no_network(offline: Path) -> None:
    assert choose("efficientnet-lite0")[0].sha256 == lite0.LITE0.sha256
    pretrained, line = choose("colour-grid")
    assert (pretrained.files, pretrained.sha256) == ((), "")
    assert line == "backbone colour-grid, as asked"


def test_the_fingerprint_follows_whatever_changes_features() -> None:
    spec = spec_of("colour-grid")
    base = Pretrained(spec, (), "")
    others = [
        Pretrained(replace(spec, name="other"), (), ""),
        Pretrained(replace(spec, version=2), (), ""),
        Pretrained(replace(spec, input_size=128), (), ""),
        Pretrained(spec, (), "00"),
    ]
    assert len({one.fingerprint for one in [base, *others]}) == 5
    # Where a file lies and what its licence is called changes no feature.
    same = Pretrained(replace(spec, licence="MIT", summary="elsewhere"), (Path("x"),), "")
    assert same.fingerprint == base.fingerprint


def test_colour_grid_takes_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="takes no weights"):
        Pretrained(spec_of("colour-grid"), (tmp_path / "x.h5",), "00").load()


def pattern(size: int) -> np.ndarray:
    """A picture of slopes and steps that any slip in scaling, order or padding changes."""
    y, x = np.mgrid[:size, :size]
    channels = (x * 3 + y * 5) % 256, (x * y) % 251, np.where((x // 16 + y // 16) % 2, 230, 20)
    return np.stack(channels, axis=-1).astype(np.uint8)[None]


def test_the_golden_vector_of_colour_grid() -> None:
    y, x = np.mgrid[:64, :64]
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, ..., 0] = 3 * x  # first cell: mean 3 * 3.5, variance 9 * 5.25
    image[0, ..., 1] = np.where(y < 4, 10, 20)  # first cell: mean 15, standard deviation 5
    image[0, ..., 2] = 255
    before = image.copy()
    features = choose("colour-grid")[0].load()(image)
    np.testing.assert_array_equal(image, before)
    assert features.shape == (1, 384)
    assert features.dtype == np.float32
    first = [10.5 / 255, 15 / 255, 1, 47.25**0.5 / 255, 5 / 255, 0]
    second = [34.5 / 255, 15 / 255, 1, 47.25**0.5 / 255, 5 / 255, 0]  # 8 pixels to the right
    below = [10.5 / 255, 20 / 255, 1, 47.25**0.5 / 255, 0, 0]  # the next row of cells
    np.testing.assert_allclose(features[0, :12], [*first, *second], atol=1e-6)
    np.testing.assert_allclose(features[0, 48:54], below, atol=1e-6)


@pytest.fixture(scope="module")
def bundled() -> Any:
    return choose("efficientnet-lite0")[0].load()


def test_the_golden_vector_of_efficientnet_lite0(bundled: Any) -> None:
    image = pattern(224)
    before = image.copy()
    features = bundled(image)
    np.testing.assert_array_equal(image, before)
    assert features.shape == (1, 1280)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[0, :16], GOLDEN, atol=2e-3)
    assert float(np.linalg.norm(features)) == pytest.approx(GOLDEN_NORM, rel=1e-3)


@pytest.mark.parametrize("name", LARGER)
def test_the_larger_variants_are_golden_and_know_a_cat_and_an_espresso(name: str) -> None:
    data = pytest.importorskip("skimage").data
    pretrained = choose(name)[0]
    backbone, size = pretrained.load(), pretrained.spec.input_size
    golden, norm = LARGER[name]
    (features,) = backbone(pattern(size))
    assert features.shape == (1280,)
    np.testing.assert_allclose(features[: len(golden)], golden, atol=2e-3)
    assert float(np.linalg.norm(features)) == pytest.approx(norm, rel=1e-3)
    squeezed = [
        Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)
        for one in (data.cat(), data.coffee())
    ]
    state = read_state_dict(pretrained.files[0], sha256=pretrained.sha256)
    logits = backbone(np.stack(squeezed)) @ state["_fc.weight"].T + state["_fc.bias"]
    assert logits.argmax(axis=1).tolist() == [285, 967]  # ImageNet's Egyptian cat, espresso


def test_an_image_s_features_do_not_depend_on_its_batch(bundled: Any) -> None:
    batch = np.concatenate([pattern(224), pattern(224)[:, ::-1], pattern(224)[:, :, ::-1]])
    together = bundled(batch)
    for row, image in enumerate(batch):
        np.testing.assert_allclose(bundled(image[None])[0], together[row], atol=1e-3)


def test_a_built_backbone_takes_saved_weights(bundled: Any, tmp_path: Path) -> None:
    bundled.save(tmp_path / "lite0.weights.h5")
    other = spec_of("efficientnet-lite0").build(224)
    assert np.abs(other(pattern(224)) - bundled(pattern(224))).max() > 1e-2
    other.load(tmp_path / "lite0.weights.h5")
    np.testing.assert_allclose(other(pattern(224)), bundled(pattern(224)), atol=1e-6)
    with pytest.raises(ModelError, match=r"cannot be loaded; train again"):
        other.load(tmp_path / "absent.weights.h5")
