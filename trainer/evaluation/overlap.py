"""Which images of a set show the same pixels, so that a split which parts them leaks.

Such are copies, also re-encoded or resized ones, and tiles that were cut from one larger picture.

Owns the reduced pictures that are compared, finding copies and joining all pairs to groups.
`shifts.py` compares shifted tiles; `trainer/data/split.py` splits by groups.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.data.dataset import Hashed, Rejected
from geosim.trainer.data.images import open_rgb
from geosim.trainer.data.sources import Source
from geosim.trainer.errors import ImageError
from geosim.trainer.evaluation.shifts import Shift, find_shifts, pairs_at

TILE_SIDE = 64
"""Longest side in pixels at which pictures are compared at shifts; bounds memory and time.

Larger ones are averaged down by a whole factor. Shifts that are multiples of it are found as if
nothing had been averaged, others may be missed: of 256-pixel tiles those by multiples of 4.
"""

THUMBNAIL_SIDE = 32
"""Side in pixels of the squares by which whole pictures of any size are compared."""

_DECODERS = 2  # threads


@dataclass(frozen=True, slots=True)
class Picture:
    """What is kept of one image to compare it; at most 5 KiB.

    Attributes:
        size: native height and width in pixels, after EXIF orientation.
        factor: by which ``tile`` is smaller than the image, 1 or more.
        tile: ``(height, width) uint8``, grey, at most `TILE_SIDE` a side.
        thumbnail: ``(THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8``, grey, the whole image.
    """

    size: tuple[int, int]
    factor: int
    tile: NDArray[np.uint8]
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Which images share pixels.

    Attributes:
        groups: ``(n,) int64``, the group of each image, numbered in the order of their first
            images; images of one group share pixels directly or through others.
        pairs: ``(p, 2) int64``, images that share pixels directly, first < second, rows sorted and
            unique. Of byte-identical images each is paired with the first one only.
        shifts: ``(down, right)`` in native pixels at which tiles were found to overlap.
    """

    groups: NDArray[np.int64]
    pairs: NDArray[np.int64]
    shifts: tuple[Shift, ...]

    @property
    def grouped(self) -> NDArray[np.bool_]:
        """``(n,) bool``: the images that share pixels with another one."""
        return np.bincount(self.groups)[self.groups] > 1


def reduce_picture(image: Image.Image) -> Picture:
    """Reduce a decoded picture to what is compared."""
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
    items: Iterable[Hashed],
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[list[Hashed], list[Picture], list[Rejected]]:
    """Decode and reduce images.

    Args:
        source: reads the items' bytes.
        items: in any order; the result keeps it.
        progress: called with the number of items just done.

    Returns:
        The items that could be decoded, their pictures in the same order, and the other items with
        reasons.
    """

    def read(item: Hashed) -> Picture | Rejected:
        try:
            return reduce_picture(open_rgb(source.read(item.record)))
        except ImageError as error:
            return Rejected(item.record.path, str(error))

    kept: list[Hashed] = []
    pictures: list[Picture] = []
    rejected: list[Rejected] = []
    remaining = iter(items)
    with ThreadPoolExecutor(_DECODERS) as pool:
        while block := list(islice(remaining, 256)):
            for item, outcome in zip(block, pool.map(read, block), strict=True):
                if isinstance(outcome, Picture):
                    kept.append(item)
                    pictures.append(outcome)
                else:
                    rejected.append(outcome)
            progress(len(block))
    return kept, pictures, rejected


def find_overlaps(
    pictures: Sequence[Picture],
    labels: Sequence[Hashable],
    digests: Sequence[Hashable],
    *,
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> Overlaps:
    """Find the images that share pixels and join them to groups.

    Copies are found in the whole set, whatever their size and class; shifted tiles among images of
    one class and size. The rules for both, which flat pictures never meet, are in `shifts.py`.
    Pictures that were turned, mirrored or cut at random places are not found.

    Args:
        pictures: of `reduce_picture` or `read_pictures`.
        labels: class of each picture.
        digests: content hash of each picture's file; equal ones are copies.
        seed: of the sample that shifts are looked for in.
        progress: called with numbers of pictures that add up to all.

    Raises:
        ValueError: the three differ in length.
    """
    if not len(pictures) == len(labels) == len(digests):
        raise ValueError(
            f"received {len(pictures)} pictures, {len(labels)} labels and {len(digests)} digests; "
            "expected one label and one digest for each picture"
        )
    first: dict[Hashable, int] = {}
    originals = np.array([first.setdefault(key, row) for row, key in enumerate(digests)], np.int64)
    rows = np.arange(len(pictures))
    copies = np.flatnonzero(originals != rows)
    found = [np.stack([originals[copies], copies], axis=1)]
    unique = np.flatnonzero(originals == rows)
    if len(unique):
        thumbnails = np.stack([pictures[row].thumbnail for row in unique.tolist()])
        found.append(unique[pairs_at(thumbnails, (0, 0))])

    shifts: set[Shift] = set()
    for sets in _sets(pictures, labels, digests):
        factor = pictures[sets[0][0]].factor
        tiles = [np.stack([pictures[row].tile for row in one.tolist()]) for one in sets]
        for down, right in find_shifts(tiles, seed, progress=progress):
            shifts.add((down * factor, right * factor))
            for one, stack in zip(sets, tiles, strict=True):
                found.append(one[pairs_at(stack, (down, right))])
    pairs = np.unique(np.sort(np.concatenate(found).astype(np.int64), axis=1), axis=0)
    return Overlaps(_components(len(pictures), pairs), pairs, tuple(sorted(shifts)))


def _sets(
    pictures: Sequence[Picture], labels: Sequence[Hashable], digests: Sequence[Hashable]
) -> list[list[NDArray[np.intp]]]:
    """Return, for each native size, the rows of each class; of identical files the first one."""
    members: dict[tuple[int, int], dict[Hashable, dict[Hashable, int]]] = {}
    for row, picture in enumerate(pictures):
        of_size = members.setdefault(picture.size, {})
        of_size.setdefault(labels[row], {}).setdefault(digests[row], row)
    return [
        [np.fromiter(one.values(), dtype=np.intp) for one in classes.values()]
        for classes in members.values()
    ]


def _components(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
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
