"""Fit of a linear head on several views of pictures without classes, in closed form.

What differs between pictures is signal, what differs between the views of one picture is noise. The
embedding is the directions with the most of the first for the second: linear discriminant analysis
with each picture as a class of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from geosim.trainer.errors import ModelError
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.rows import Rows

SHRINKAGE = 1.0
"""Variance that is added to each direction's noise, in units of the noise's mean variance. From 0.1
to 3 the figures in tests/benches/RESULTS.md differ by less than 0.01."""

EMPHASIS = 0.25
"""Power of a component's ratio of signal to noise that the component is scaled by: 0 leaves all
components at one noise."""

FILL = 1e-6
"""Share of the noise that counts as signal. It orders the components that few pictures leave
empty: n pictures differ in n - 1 directions."""

BLOCK = 32
"""Pictures whose features are float32 at once; bounds the memory."""

Array = NDArray[np.float16] | NDArray[np.float32] | Rows
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Mean and covariances of pictures' features."""

    mean: Matrix  # (feature_width,), of all pictures
    between: Matrix  # (feature_width, feature_width), of the pictures' means over their views
    within: Matrix  # (feature_width, feature_width), of the views about their picture's mean

    @classmethod
    def of(cls, features: Array) -> Scatter:
        """Add up the covariances of ``(n, T, feature_width)`` features, a block at a time.

        With one view of each picture, ``within`` is zero.
        """
        count, views, width = features.shape
        origin = features[:1][0].mean(axis=0, dtype=np.float32)  # near the mean: less rounding
        total = np.zeros(width)
        between, within = np.zeros((width, width)), np.zeros((width, width))
        for start in range(0, count, BLOCK):
            block = features[start : start + BLOCK].astype(np.float32) - origin
            means = block.mean(axis=1)
            about = (block - means[:, None]).reshape(-1, width)
            total += means.sum(axis=0, dtype=np.float64)
            between += means.T @ means
            within += about.T @ about
        mean = total / count
        between = between / count - np.outer(mean, mean)
        return cls(origin + mean, between, within / (count * max(1, views - 1)))


def fit_unlabelled(features: Array, *, views: int) -> tuple[Head, float]:
    """Fit a linear head on ``(n, T, feature_width)`` features of T views of each of n pictures.

    Return the head and the share of the signal, in units of the noise, that its 32 components leave
    out, 0 to 1. ``views`` is the number of views that the head makes an embedding of. With one
    view of each picture the components are the principal ones. Fewer than 33 pictures do not span
    32 components; the others are what varies least between views, too small to decide a
    similarity. The fit has no random part.

    Raises:
        ModelError: there is no picture, a feature is not finite, or all features are the same.
    """
    if not len(features):
        raise ModelError("there is no picture to learn from; expected at least one")
    with np.errstate(over="ignore", invalid="ignore"):
        scatter = Scatter.of(features)
    if not (np.isfinite(scatter.between).all() and np.isfinite(scatter.within).all()):
        raise ModelError("there are features that are no finite numbers; delete the feature cache")
    return _discriminant(scatter, views)


def _discriminant(scatter: Scatter, views: int) -> tuple[Head, float]:
    width = len(scatter.mean)
    mean_noise = float(np.trace(scatter.within)) / width
    scale = mean_noise + float(np.trace(scatter.between)) / width
    if scale <= np.finfo(np.float32).eps ** 2 * max(1.0, float(np.square(scatter.mean).max())):
        raise ModelError(
            "all pictures have the same features, so there is nothing to learn; expected pictures "
            "that differ"
        )
    # Without noise, directions count by their signal alone.
    floor = SHRINKAGE * mean_noise if mean_noise > 1e-9 * scale else scale
    noise = scatter.within + floor * np.eye(width)
    signal = scatter.between + FILL * scatter.within
    largest_ones = (max(0, width - EMBEDDING_DIM), width - 1)
    ratios, directions = linalg.eigh(signal, noise, subset_by_index=largest_ones)
    kept = np.maximum(ratios[::-1], 0)
    found = directions[:, ::-1] * kept**EMPHASIS
    largest = np.abs(found).argmax(axis=0)
    found = found * np.where(found[largest, np.arange(found.shape[1])] < 0, -1, 1)
    found /= np.sqrt(np.trace(found.T @ (scatter.between + scatter.within) @ found))
    kernel = np.zeros((width, EMBEDDING_DIM))
    kernel[:, : found.shape[1]] = found
    bias = (-scatter.mean @ kernel).astype(np.float32)
    head = Head(kernel.astype(np.float32), bias, relu=False, views=views)
    all_ratios = float(np.trace(linalg.solve(noise, signal, assume_a="pos")))
    return head, max(0.0, 1 - float(kept.sum()) / all_ratios)
