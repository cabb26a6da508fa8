"""Splits of a labelled set: into two parts at random or by groups, or into folds; a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import DatasetError


class Bond(NamedTuple):
    """What the images of a group have in common, and how a class gets more groups; for errors."""

    what: str
    remedy: str


SHARED_PIXELS = Bond("share pixels", "add images cut from other pictures, or split at random")


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


def stratified_sample(labels: NDArray[np.int32], count: int, seed: int) -> NDArray[np.intp]:
    """Draw ``count`` images at random; return their row numbers, sorted.

    Each class has its share of them, rounded by the largest remainders, and one image at least, so
    that there may be a few more than ``count``.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * min(count, len(labels)) / len(labels)
    drawn = np.maximum(np.floor(shares).astype(np.int64), 1)
    left = max(0, min(count, len(labels)) - int(drawn.sum()))
    drawn[np.argsort(drawn - shares, kind="stable")[:left]] += 1
    generator = np.random.default_rng(seed)
    rows = [
        generator.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in zip(classes, drawn, strict=True)
    ]
    return np.sort(np.concatenate(rows))


def overlap_free_split(
    labels: NDArray[np.int32],
    groups: NDArray[np.int64],
    share: float,
    seed: int,
    names: Sequence[str] = (),
    bond: Bond = SHARED_PIXELS,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split at random, as `stratified_split`, by whole groups, such as those of `Overlaps`.

    Groups are held out in random order as long as no class exceeds its share, then those that bring
    the classes closest to it. A class with large groups may miss its share. Every class is in the
    kept part, and in the other where its share is half an image or more. A group may span classes.
    ``names`` are those of the classes, ``bond`` is that of the groups, for errors.

    Raises:
        ValueError: ``share`` is out of range.
        DatasetError: a class cannot be in both parts because its groups are too large.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share to hold out must be from 0 to below 1, received {share}")
    classes, numbers = np.unique(labels, return_inverse=True)
    members, sizes = _sizes(groups, numbers, len(classes))
    totals = sizes.sum(axis=0)
    target = np.minimum(np.rint(share * totals).astype(np.int64), totals - 1)

    taken = np.zeros(len(sizes), dtype=bool)
    reached = np.zeros(len(classes), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(sizes))
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
        images = totals[classes == absent[0]][0]
        raise DatasetError(
            f"class {_name(absent[0], names)}: its {images:,} images {bond.what} in groups too "
            f"large to part, so no split that keeps them together has it on both sides; "
            f"{bond.remedy}"
        )
    held = taken[members]
    return np.flatnonzero(~held), np.flatnonzero(held)


def stratified_folds(
    labels: NDArray[np.int32],
    groups: NDArray[np.int64],
    folds: int,
    seed: int,
    names: Sequence[str] = (),
    bond: Bond = SHARED_PIXELS,
) -> NDArray[np.intp]:
    """Deal a set to folds by whole groups; return each image's fold, ``(n,)``, from 0.

    Every class is in every fold. Without groups of several images, the counts of a class differ by
    one at most; else they are as even as the groups allow: groups are dealt in random order, large
    ones first, each to a fold that lacks its class, then to the one with the least of it. A group
    may span classes. ``names`` are those of the classes, ``bond`` that of the groups, for errors.

    Raises:
        ValueError: there are fewer than two folds.
        DatasetError: a class has too few images or groups to be in every fold.
    """
    if folds < 2:
        raise ValueError(f"expected two folds or more, received {folds}")
    classes, numbers = np.unique(labels, return_inverse=True)
    members, sizes = _sizes(groups, numbers, len(classes))
    _check_folds(classes, sizes, (sizes > 0).sum(axis=0), folds, names, bond)
    totals = sizes.sum(axis=0)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(sizes))
    order = order[np.argsort(-sizes[order].sum(axis=1), kind="stable")]
    dealt = np.zeros((folds, len(classes)), dtype=np.int64)
    fold = np.zeros(len(sizes), dtype=np.intp)
    for group in order:
        own = np.flatnonzero(sizes[group])
        there = dealt[:, own]
        # The growth of the sum of squared shares of a class in a fold, without its constant part.
        uneven = there @ (sizes[group, own] / totals[own] ** 2)
        best = np.lexsort((dealt.sum(axis=1), uneven, (there > 0).sum(axis=1)))[0]
        fold[group] = best
        dealt[best] += sizes[group]
    _check_folds(classes, sizes, (dealt > 0).sum(axis=0), folds, names, bond)
    return fold[members]


def _sizes(
    groups: NDArray[np.int64], numbers: NDArray[np.intp], classes: int
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the row of each image's group, ``(n,)``, and the groups' images per class."""
    names, members = np.unique(groups, return_inverse=True)
    members = members.reshape(-1)
    sizes = np.zeros((len(names), classes), dtype=np.int64)
    np.add.at(sizes, (members, numbers.reshape(-1)), 1)
    return members, sizes


def _check_folds(
    classes: NDArray[np.int32],
    sizes: NDArray[np.int64],
    parts: NDArray[np.intp],
    folds: int,
    names: Sequence[str],
    bond: Bond,
) -> None:
    """Raise an error if a class has fewer parts, of those that folds may hold, than folds."""
    few = int(parts.argmin())
    if parts[few] >= folds:
        return
    images, groups = int(sizes[:, few].sum()), int((sizes[:, few] > 0).sum())
    what = f"{images:,} image" if images == 1 else f"{images:,} images"
    if groups < images:
        what += f" in {groups:,} group{'s' if groups > 1 else ''} that {bond.what}"
    remedy = bond.remedy if groups < images else "add images"
    if parts[few] > 1:
        remedy = f"use {parts[few]} folds, or {remedy}"
    raise DatasetError(
        f"class {_name(classes[few], names)} has {what}, too few for {folds:,} folds that hold "
        f"it each; {remedy}"
    )


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if names else str(label)
