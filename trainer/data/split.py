"""Splits of a labelled set into two parts: at random, or by groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import DatasetError


def stratified_split(
    labels: NDArray[np.int32], share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split at random; return the sorted row numbers of the kept and of the held-out part.

    ``share`` of each class, 0 to below 1, is held out, rounded to whole images, never all.

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


def overlap_free_split(
    labels: NDArray[np.int32], groups: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split at random, as `stratified_split`, by whole groups (`trainer/evaluation/overlap.py`).

    Groups are held out in random order as long as no class exceeds its share, then those that bring
    the classes closest to it. A class with large groups may miss its share. Every class is in the
    kept part, and in the other where its share is half an image or more. A group may span classes.

    Raises:
        ValueError: ``share`` is out of range.
        DatasetError: a class cannot be in both parts because its groups are too large.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share to hold out must be from 0 to below 1, received {share}")
    classes, numbers = np.unique(labels, return_inverse=True)
    names, members = np.unique(groups, return_inverse=True)
    sizes = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(sizes, (members.reshape(-1), numbers.reshape(-1)), 1)
    totals = sizes.sum(axis=0)
    target = np.minimum(np.rint(share * totals).astype(np.int64), totals - 1)

    taken = np.zeros(len(names), dtype=bool)
    reached = np.zeros(len(classes), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(names))
    for group in order:
        if (reached + sizes[group] <= target).all():
            taken[group] = True
            reached += sizes[group]
    while (reached < target).any():
        missed = np.abs(target - reached).sum() - np.abs(target - reached - sizes).sum(axis=1)
        # A class without held-out images counts more than any number of images.
        missed += len(labels) * ((reached == 0) & (target > 0) & (sizes > 0)).sum(axis=1)
        missed[taken | (reached + sizes >= totals).any(axis=1, where=sizes > 0)] = 0
        best = order[missed[order].argmax()]
        if missed[best] <= 0:
            break
        taken[best] = True
        reached += sizes[best]
    absent = classes[(reached == 0) & (target > 0)]
    if len(absent):
        raise DatasetError(
            f"class {absent[0]}: its {totals[classes == absent[0]][0]:,} images share pixels in "
            "groups too large to part, so no overlap-free split has it on both sides; add images "
            "cut from other pictures, or split at random"
        )
    held = taken[members.reshape(-1)]
    return np.flatnonzero(~held), np.flatnonzero(held)
