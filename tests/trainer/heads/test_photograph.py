"""The fit on several views: what it learns from, what it leaves out, and that a seed repeats it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.heads.photograph import fit_views

OPTIONS = TrainOptions(epochs=12, batch_size=16, seed=1)


def pictures(
    count: int = 90, views: int = 6, width: int = 40, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Three classes; a view is its picture's class, its picture and noise."""
    generator = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int32) % 3
    classes = generator.normal(size=(3, 1, width))
    own = generator.normal(size=(count, 1, width))
    seen = classes[labels] + 0.5 * own + noise * generator.normal(size=(count, views, width))
    return seen.astype(np.float16), labels


def precision(embedded: np.ndarray, labels: np.ndarray) -> float:
    """Share of the five nearest others that have the same class."""
    cosines = embedded @ embedded.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1)[:, :5]
    return float((labels[nearest] == labels[:, None]).mean())


def embed(fit: object, features: np.ndarray, views: int) -> np.ndarray:
    head = fit.head  # type: ignore[attr-defined]
    assert head.views == views
    return head(features[:, :views].reshape(len(features), -1).astype(np.float32))


def test_classes_are_learned_and_more_views_find_them_better() -> None:
    features, labels = pictures(240, noise=2.0)
    learned = np.arange(120)
    one, six = (
        embed(
            fit_views(features[learned], labels[learned], 3, OPTIONS, views=views), features, views
        )
        for views in (1, 6)
    )
    few, many = (precision(found[120:], labels[120:]) for found in (one, six))
    assert 0.5 < few < many > 0.9


def test_pictures_without_a_class_are_learned_from_as_well() -> None:
    features, labels = pictures(240)
    few = labels.copy()
    few[9:] = -1
    beside = fit_views(features, few, 3, OPTIONS, views=1)
    alone = fit_views(features[:9], labels[:9], 3, OPTIONS, views=1)
    found = [precision(embed(fit, features, 1)[9:], labels[9:]) for fit in (beside, alone)]
    assert found[0] > found[1]


def test_without_classes_the_views_are_learned_from() -> None:
    features, labels = pictures()
    fit = fit_views(features, np.full_like(labels, -1), 0, OPTIONS, views=6)
    assert (len(fit.loss), fit.best_epoch) == (1, 1)
    assert 0 < fit.loss[0] < 0.2
    assert precision(embed(fit, features, 6), labels) > 0.6


@pytest.mark.parametrize("shape", [(3, 2, 40), (1, 2, 8), (50, 2, 8)])
def test_few_pictures_or_features_have_components_too(shape: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    fit = fit_views(features, np.full(shape[0], -1, np.int32), 0, OPTIONS, views=shape[1])
    assert fit.head.kernel.shape == (shape[2], 32)
    assert np.isfinite(embed(fit, features, shape[1])).all()
    assert np.isfinite(fit.loss).all()


@pytest.mark.slow
def test_a_seed_repeats_the_fit_and_another_gives_another() -> None:
    features, labels = pictures()
    short = replace(OPTIONS, epochs=2, validation_split=0.2)
    first, again = (fit_views(features, labels, 3, short, views=3) for _ in range(2))
    np.testing.assert_array_equal(first.head.kernel, again.head.kernel)
    assert first.loss == again.loss
    assert min(first.loss) > 0
    assert len(first.validation_loss) == 2
    other = fit_views(features, labels, 3, replace(short, seed=2), views=3)
    assert np.abs(other.head.kernel - first.head.kernel).max() > 1e-3


def test_progress_counts_the_epochs() -> None:
    done: list[int] = []
    fit_views(*pictures(20), 3, TrainOptions(epochs=3), views=1, progress=done.append)
    assert done == [1, 1, 1]
    features, labels = pictures(20)
    without = np.full_like(labels, -1)
    fit_views(features, without, 0, TrainOptions(epochs=3), views=1, progress=done.append)
    assert sum(done) == 6


def test_features_that_are_no_numbers_are_refused() -> None:
    features, labels = pictures(20)
    features[4, 2, 3] = np.nan
    with pytest.raises(ModelError, match=r"no finite numbers; delete the feature cache"):
        fit_views(features, labels, 3, OPTIONS, views=1)
