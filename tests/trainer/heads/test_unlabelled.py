"""The fit without classes: what counts as noise, small and degenerate sets, and its memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from geosim.trainer.errors import ModelError
from geosim.trainer.heads.head import Head
from geosim.trainer.heads.unlabelled import fit_unlabelled


def pictures(count: int, views: int, width: int = 48, loud: float = 2.0) -> np.ndarray:
    """Pictures that differ in the first 24 features; in the last 24, views differ much more."""
    generator = np.random.default_rng(0)
    own = generator.normal(size=(count, 1, width))
    own[..., width // 2 :] = 0
    noise = 0.3 * generator.normal(size=(count, views, width))
    noise[..., width // 2 :] *= loud / 0.3
    return (own + noise + 2).astype(np.float16)


def embed(head: Head, features: np.ndarray) -> np.ndarray:
    return head(features[:, : head.views].reshape(len(features), -1).astype(np.float32))


def test_a_view_finds_its_picture_through_loud_noise() -> None:
    features = pictures(200, 8)
    head, _ = fit_unlabelled(features[:100], views=1)
    first, second = embed(head, features[100:]), embed(head, features[100:, 1:])
    found = (first @ second.T).argmax(axis=1)
    assert (found == np.arange(100)).mean() > 0.95
    raw = features[100:].astype(np.float32) - 2
    assert ((raw[:, 0] @ raw[:, 1].T).argmax(axis=1) == np.arange(100)).mean() < 0.3
    weights = np.abs(head.kernel)
    assert weights[:24].max() > 2 * weights[24:].max()


def test_the_head_is_linear_centred_and_the_same_each_time() -> None:
    features = pictures(100, 4)
    head, left_out = fit_unlabelled(features, views=3)
    again, _ = fit_unlabelled(features, views=3)
    assert (head.kernel.shape, head.relu, head.hidden, head.views) == ((48, 32), False, None, 3)
    assert 0 <= left_out < 0.1
    np.testing.assert_array_equal(head.kernel, again.kernel)
    projected = features.mean(axis=(0, 1), dtype=np.float64) @ head.kernel + head.bias
    np.testing.assert_allclose(projected, 0, atol=1e-3)


def test_a_scale_of_the_features_changes_nothing() -> None:
    features = pictures(60, 4).astype(np.float32)
    one, other = (fit_unlabelled(features * by, views=4)[0] for by in (1.0, 1024.0))
    np.testing.assert_allclose(
        embed(one, features), embed(other, features * 1024), rtol=0, atol=1e-3
    )


def test_one_view_of_each_picture_gives_principal_components() -> None:
    features = np.random.default_rng(1).normal(size=(80, 1, 40)) * np.geomspace(4, 0.01, 40)
    head, left_out = fit_unlabelled(features.astype(np.float32), views=1)
    assert left_out < 0.01
    assert np.abs(head.kernel[:, 0]).argmax() == 0


@pytest.mark.parametrize("shape", [(1, 4, 48), (2, 4, 48), (20, 6, 48), (5, 1, 8), (50, 2, 8)])
def test_few_pictures_or_features_give_unit_embeddings(shape: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    head, left_out = fit_unlabelled(features, views=min(2, shape[1]))
    norms = np.linalg.norm(embed(head, features), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    assert 0 <= left_out <= 1


def test_identical_pictures_with_different_views_are_fitted() -> None:
    features = np.repeat(pictures(1, 6), 40, axis=0)
    head, _ = fit_unlabelled(features, views=6)
    assert np.isfinite(embed(head, features)).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_the_same_features_everywhere_are_refused(value: float) -> None:
    with pytest.raises(ModelError, match="all pictures have the same features"):
        fit_unlabelled(np.full((40, 3, 16), value, np.float16), views=3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    features = pictures(40, 3)
    features[7, 1, 5] = value
    with pytest.raises(ModelError, match=r"no finite numbers; delete the feature cache"):
        fit_unlabelled(features, views=3)


def test_no_picture_is_refused() -> None:
    with pytest.raises(ModelError, match="no picture to learn from"):
        fit_unlabelled(np.zeros((0, 3, 16), np.float16), views=3)


def test_many_pictures_are_never_float32_at_once() -> None:
    features = np.random.default_rng(0).normal(size=(4000, 16, 64)).astype(np.float16)
    tracemalloc.start()
    fit_unlabelled(features, views=7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < features.nbytes / 4
