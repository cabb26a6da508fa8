"""The head's arithmetic by hand, and its file against damage."""

from pathlib import Path

import numpy as np
import pytest

from geosim.trainer.errors import ModelError
from geosim.trainer.heads.head import EMBEDDING_DIM, Head, Hidden


def head(width: int = 2) -> Head:
    """Unit 0 is the first feature - 1, unit 1 the second, the others are off."""
    kernel = np.zeros((width, EMBEDDING_DIM), np.float32)
    kernel[0, 0] = kernel[1, 1] = 1
    bias = np.full(EMBEDDING_DIM, -10, np.float32)
    bias[0], bias[1] = -1, 0
    return Head(kernel, bias)


def test_the_embedding_by_hand() -> None:
    features = np.array([[4, 4], [0, 2], [2, -5], [0.5, -1]], np.float32)
    before = features.copy()
    embedded = head()(features)
    assert embedded.shape == (4, 32)
    assert embedded.dtype == np.float32
    expected = [[0.6, 0.8], [0, 1], [1, 0], [0, 0]]  # (3, 4) / 5; relu; relu; all units off
    np.testing.assert_allclose(embedded[:, :2], expected, atol=1e-7)
    assert not embedded[:, 2:].any()
    np.testing.assert_array_equal(features, before)


def test_rows_have_norm_one_or_are_zero() -> None:
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(50, EMBEDDING_DIM)).astype(np.float32)
    made = Head(kernel, np.zeros(EMBEDDING_DIM, np.float32))
    features = generator.normal(size=(100, 50)).astype(np.float32)
    features[7] = 0
    norms = np.linalg.norm(made(features), axis=1)
    assert norms[7] == 0
    np.testing.assert_allclose(np.delete(norms, 7), 1, atol=1e-6)


@pytest.mark.parametrize("hidden", [None, 96])
@pytest.mark.parametrize("width", [48, 1280])
def test_a_row_does_not_depend_on_the_rows_beside_it(hidden: int | None, width: int) -> None:
    generator = np.random.default_rng(1)

    def weights(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    layer = None if hidden is None else Hidden(weights(width, hidden), weights(hidden))
    made = Head(weights(hidden or width, EMBEDDING_DIM), weights(EMBEDDING_DIM), hidden=layer)
    features = weights(301, width)
    together = made(features)
    for count in (1, 2, 3, 16, 64, 300):
        np.testing.assert_array_equal(made(features[7 : 7 + count]), together[7 : 7 + count])
    order = generator.permutation(301)
    np.testing.assert_array_equal(made(features[order]), together[order])
    np.testing.assert_array_equal(made(np.asfortranarray(features)), together)
    raw = b"." + features.tobytes()  # not aligned
    unaligned = np.frombuffer(raw, np.float32, offset=1).reshape(features.shape)
    np.testing.assert_array_equal(made(unaligned), together)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_features_that_are_no_finite_numbers_have_no_direction() -> None:
    made = Head(np.ones((2, EMBEDDING_DIM), np.float32), np.zeros(EMBEDDING_DIM, np.float32))
    embedded = made(np.array([[np.nan, 1], [np.inf, 1], [1, 1]], np.float32))
    assert not embedded[:2].any()
    assert np.linalg.norm(embedded[2]) == pytest.approx(1)


def test_no_images_embed_to_no_rows() -> None:
    assert head()(np.zeros((0, 2), np.float32)).shape == (0, 32)


def test_a_saved_head_comes_back(tmp_path: Path) -> None:
    saved = head()
    saved.save(tmp_path / "head.npz")
    loaded = Head.load(tmp_path / "head.npz", feature_width=2)
    np.testing.assert_array_equal(loaded.kernel, saved.kernel)
    np.testing.assert_array_equal(loaded.bias, saved.bias)


def test_the_same_head_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        head().save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_head_of_another_size_is_refused(tmp_path: Path) -> None:
    head().save(tmp_path / "head.npz")
    with pytest.raises(ModelError, match=r"is \(2, 32\), expected \(384, 32\)"):
        Head.load(tmp_path / "head.npz", feature_width=384)


def test_a_missing_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read; train again with `geosim train DATA`"):
        Head.load(tmp_path / "head.npz", feature_width=2)


@pytest.mark.parametrize("kept", [0, 10, 200, -1])
def test_a_cut_head_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "head.npz"
    head().save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cannot be read"):
        Head.load(path, feature_width=2)


def test_a_head_is_never_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "it_ran",)

    np.savez(tmp_path / "head.npz", kernel=np.array([Evil()], object), bias=np.zeros(32))
    with pytest.raises(ModelError, match="cannot be read"):
        Head.load(tmp_path / "head.npz", feature_width=2)
    assert not (tmp_path / "it_ran").exists()


def test_the_mean_of_the_views_is_embedded() -> None:
    kernel = np.eye(2, EMBEDDING_DIM, dtype=np.float32)
    made = Head(kernel, np.zeros(EMBEDDING_DIM, np.float32), relu=False, views=3)
    embedded = made(np.array([[3, 0, 0, 8, 0, 0], [1, 0, -1, 0, 0, 0]], np.float32))
    np.testing.assert_allclose(embedded[0, :2], np.array([3, 8]) / np.hypot(3, 8), rtol=1e-6)
    assert not embedded[1].any(), "views that cancel each other"


def test_a_row_of_views_does_not_depend_on_the_rows_beside_it() -> None:
    generator = np.random.default_rng(3)

    def weights(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    layer = Hidden(weights(40, 96), weights(96))
    made = Head(weights(96, EMBEDDING_DIM), weights(EMBEDDING_DIM), False, layer, views=7)
    features = weights(60, 7 * 40)
    together = made(features)
    for count in (1, 2, 16, 53):
        np.testing.assert_array_equal(made(features[7 : 7 + count]), together[7 : 7 + count])


@pytest.mark.parametrize("views", [1, 4])
def test_the_number_of_views_is_saved(tmp_path: Path, views: int) -> None:
    saved = Head(np.eye(2, EMBEDDING_DIM, dtype=np.float32), np.zeros(32, np.float32), views=views)
    saved.save(tmp_path / "head.npz")
    assert Head.load(tmp_path / "head.npz", feature_width=2).views == views
    with np.load(tmp_path / "head.npz") as stored:
        assert ("views" in stored) == (views > 1), "as earlier versions wrote it"


@pytest.mark.parametrize("views", [0, -1, 2.5, np.nan])
def test_a_number_of_views_that_is_none_is_refused(tmp_path: Path, views: float) -> None:
    one = Head(np.eye(2, EMBEDDING_DIM, dtype=np.float32), np.zeros(32, np.float32))
    np.savez(tmp_path / "head.npz", **one.arrays(), views=np.full(1, views, np.float32))
    with pytest.raises(ModelError, match="cannot be read"):
        Head.load(tmp_path / "head.npz", feature_width=2)
