"""Groups of images that share pixels: copies, and tiles cut from one larger picture.

A split that separates such images leaks. Copies include re-encoded and resized ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.data.dataset import HashedRecord, Rejected, read_records
from geosim.trainer.data.images import open_rgb
from geosim.trainer.data.sources import Source
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.evaluation.shifts import Shift, find_shifts, pairs_at

TILE_SIDE = 64
"""Longest side in pixels of the pictures compared at shifts; bounds memory and time.

Larger pictures are averaged down by a whole factor. Shifts that are no multiple of the factor may
be missed.
"""

THUMBNAIL_SIDE = 32
"""Side in pixels of the thumbnails by which whole pictures are compared."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Picture:
    """A reduced image for comparison, at most 5 KiB."""

    size: tuple[int, int]  # native height and width in pixels, after EXIF orientation
    factor: int  # by which `tile` is smaller than the image, 1 or more
    tile: NDArray[np.uint8]  # (height, width), grey, up to TILE_SIDE a side
    thumbnail: NDArray[np.uint8]  # the whole image, THUMBNAIL_SIDE a side, grey


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Which images share pixels.

    Attributes:
        groups: ``(n,) int64``, the group of each image, numbered by first image; images of a group
            share pixels directly or through others.
        pairs: ``(p, 2) int64``, images that share pixels directly, first < second, rows sorted and
            unique. Byte-identical images are paired with the first of them only.
        shifts: ``(down, right)`` in native pixels at which tiles overlap.
    """

    groups: NDArray[np.int64]
    pairs: NDArray[np.int64]
    shifts: tuple[Shift, ...]

    @property
    def grouped(self) -> NDArray[np.bool_]:
        """``(n,) bool``: the images that share pixels with another one."""
        return np.bincount(self.groups)[self.groups] > 1


def reduce_picture(image: Image.Image) -> Picture:
    """Reduce a decoded image for comparison."""
    grey = image.convert("L")
    factor = -(-max(grey.size) // TILE_SIDE)
    square = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return Picture(
        size=(grey.height, grey.width),
        factor=factor,
        tile=np.asarray(grey.reduce(factor), dtype=np.uint8),
        thumbnail=np.asarray(grey.resize(square, Image.Resampling.BILINEAR), dtype=np.uint8),
    )


def read_pictures(
    source: Source,
    items: Sequence[HashedRecord],
    reduce: Callable[[Image.Image], R],
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[list[HashedRecord], list[R], list[Rejected]]:
    """Reduce the images that can be decoded; return them, what is left of each, and the rejects.

    ``reduce``, such as `reduce_picture`, is called in threads, ``progress`` with the number of
    items just done.
    """
    records = [item.record for item in items]

    def decode(data: Encoded) -> R:
        return reduce(open_rgb(data))

    outcomes = read_records(source, records, decode, threads=None, progress=progress)
    found = list(zip(items, outcomes, strict=True))
    kept = [item for item, one in found if not isinstance(one, Rejected)]
    pictures = [one for _, one in found if not isinstance(one, Rejected)]
    return kept, pictures, [one for _, one in found if isinstance(one, Rejected)]


def find_overlaps(
    pictures: Sequence[Picture],
    labels: Sequence[Hashable],
    digests: Sequence[Hashable],
    *,
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> Overlaps:
    """Find the images that share pixels and join them to groups.

    Copies are found across sizes and classes, shifted tiles among images of one class and size, by
    the rules in `shifts.py`; flat pictures never match. Rotated and mirrored pictures, and pictures
    cut at random places, are not found. Pictures with equal ``digests``, content hashes, are
    copies. ``seed`` is that of the sample in which shifts are searched. ``progress`` is called with
    numbers of pictures that add up to all.

    Raises:
        ValueError: pictures, labels and digests differ in length.
    """
    if not len(pictures) == len(labels) == len(digests):
        raise ValueError(
            f"received {len(pictures)} pictures, {len(labels)} labels and {len(digests)} digests; "
            "expected one label and one digest for each picture"
        )
    shifted, shifts = find_shifted(pictures, labels, digests, seed=seed, progress=progress)
    found = np.concatenate([find_copies(pictures, digests), shifted])
    pairs = np.unique(np.sort(found, axis=1), axis=0)
    return Overlaps(components(len(pictures), pairs), pairs, shifts)


def find_copies(pictures: Sequence[Picture], digests: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the pairs of images that show the same whole picture, ``(p, 2)`` rows, each once.

    Of byte-identical images the first stands for all; the others are paired with it alone.
    """
    first: dict[Hashable, int] = {}
    originals = np.array([first.setdefault(key, row) for row, key in enumerate(digests)], np.int64)
    rows = np.arange(len(pictures))
    copies = np.flatnonzero(originals != rows)
    found = [np.stack([originals[copies], copies], axis=1)]
    unique = np.flatnonzero(originals == rows)
    if len(unique):
        thumbnails = np.stack([pictures[row].thumbnail for row in unique.tolist()])
        found.append(unique[pairs_at(thumbnails, (0, 0))])
    return np.concatenate(found).astype(np.int64)


def find_shifted(
    pictures: Sequence[Picture],
    labels: Sequence[Hashable],
    digests: Sequence[Hashable],
    *,
    across: bool = False,
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[NDArray[np.int64], tuple[Shift, ...]]:
    """Return the pairs of tiles that overlap, ``(p, 2)`` rows, and their shifts in native pixels.

    Shifts are found among images of one label and size, where most pairs are; see `find_overlaps`.
    The pairs at these shifts are of one label, or of any if ``across`` is set.
    """
    shifts: set[Shift] = set()
    found = [np.empty((0, 2), dtype=np.int64)]
    for sets in _sets(pictures, labels, digests):
        factor = pictures[sets[0][0]].factor
        tiles = [np.stack([pictures[row].tile for row in one.tolist()]) for one in sets]
        compared = list(zip(sets, tiles, strict=True))
        if across:
            compared = [(np.concatenate(sets), np.concatenate(tiles))]
        for down, right in find_shifts(tiles, seed, progress=progress):
            shifts.add((down * factor, right * factor))
            for one, stack in compared:
                found.append(one[pairs_at(stack, (down, right))])
    return np.concatenate(found).astype(np.int64), tuple(sorted(shifts))


def _sets(
    pictures: Sequence[Picture], labels: Sequence[Hashable], digests: Sequence[Hashable]
) -> list[list[NDArray[np.intp]]]:
    """Return the rows of each class for each native size, without copies of a file."""
    members: dict[tuple[int, int], dict[Hashable, dict[Hashable, int]]] = {}
    for row, picture in enumerate(pictures):
        of_size = members.setdefault(picture.size, {})
        of_size.setdefault(labels[row], {}).setdefault(digests[row], row)
    return [
        [np.fromiter(one.values(), dtype=np.intp) for one in classes.values()]
        for classes in members.values()
    ]


def components(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the connected components of a graph of ``count`` nodes by their first nodes."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in pairs.tolist():
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    roots = np.fromiter((root(node) for node in range(count)), dtype=np.int64, count=count)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64).reshape(-1)
