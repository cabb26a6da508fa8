"""Splits of a labelled set into two parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified_split(
    labels: NDArray[np.int32], share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split at random, holding out the same share of every class.

    Args:
        labels: ``(n,) int32`` class numbers.
        share: of each class to hold out, 0 to below 1; rounded to whole images, and never a whole
            class.
        seed: of the choice.

    Returns:
        Sorted row numbers of the kept and of the held-out part.

    Raises:
        ValueError: ``share`` is out of range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share to hold out must be from 0 to below 1, received {share}")
    generator = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        held[rows[: min(round(share * len(rows)), len(rows) - 1)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
