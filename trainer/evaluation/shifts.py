"""Tiles cut from one larger picture: the shifts at which they overlap, and the overlapping pairs.

A shift ``(down, right)`` is the position of a pair's second tile relative to the first, in pixels
of the picture both were cut from; ``right`` may be negative. The overlap strip is what both tiles
show. Two strips agree if

- each has a standard deviation of at least `MIN_STD`, since flat areas look alike everywhere;
- their normalised cross-correlation (NCC) is above `MIN_NCC` and the root mean square of their
  difference is below `MAX_RMSE`;
- the shift is a sharp optimum: one pixel off in any of four directions, 1 - NCC is at least
  `PEAK_RATIO` times as large. Smooth areas that only look alike fail this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Shift = tuple[int, int]

MIN_NCC = 0.96
"""Least NCC of two strips, exclusive; tolerates the JPEG losses of separately encoded tiles."""

MAX_RMSE = 9.0
"""Largest root mean square difference of two strips, exclusive, in grey levels of 255."""

MIN_STD = 4.0
"""Least standard deviation of a strip, in grey levels of 255."""

PEAK_RATIO = 2.0
"""Least ratio of 1 - NCC one pixel off to 1 - NCC at the shift."""

MIN_SIDE = 12
"""Least side of a tile, in pixels, for a comparison at shifts."""

_PATCH = 3 / 8  # smallest overlap, as a share of a side; the largest shift is 5/8 of a side
_MIN_PATCH = 8  # smallest overlap in pixels
_SAMPLE = 10  # tiles sampled per square root of a set's size
_MIN_VOTES = 5  # sampled pairs that a shift needs
_ABOVE_CHANCE = 5  # least ratio of a shift's votes to the median of all shifts
_MAX_SHIFTS = 64  # shifts returned at most
_WIDTH = 32  # principal components for screening strips
_CHUNK = 1024  # strips held as floats at once
_SCORES = 2**23  # inner products held at once


def strip_windows(shape: tuple[int, int], shift: Shift) -> tuple[tuple[slice, slice], ...]:
    """Return the overlap strip's rows and columns in the first and in the second tile."""
    (height, width), (down, right) = shape, shift
    first = (
        slice(max(down, 0), height + min(down, 0)),
        slice(max(right, 0), width + min(right, 0)),
    )
    second = (
        slice(max(-down, 0), height - max(down, 0)),
        slice(max(-right, 0), width - max(right, 0)),
    )
    return first, second


def _unit(strips: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``(n, pixels) float32`` rows with mean 0 and L2 norm 1; flat strips become 0."""
    rows = strips.reshape(len(strips), math.prod(strips.shape[1:])).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    flat = norm < MIN_STD * np.sqrt(rows.shape[1])
    rows *= np.where(flat, 0, 1 / np.where(flat, 1, norm)).astype(np.float32)[:, None]
    return rows


def _basis(units: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an orthonormal ``(pixels, width) float32`` basis of the rows' principal directions.

    Return the identity where `_WIDTH` directions explain less than a third of the variance.
    """
    values, vectors = np.linalg.eigh((units @ units.T).astype(np.float64))
    keep = values > 1e-3 * max(values[-1], 1e-9)
    keep[:-_WIDTH] = False
    if values[keep].sum() < values.sum() / 3:
        return np.eye(units.shape[1], dtype=np.float32)
    main = (vectors[:, keep] / np.sqrt(values[keep]))[:, ::-1]
    basis: NDArray[np.float32] = (units.T @ main).astype(np.float32)
    return basis


def _bounding(units: NDArray[np.float32], basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return short rows whose inner products are never below those of ``units``.

    A row holds the coordinates in the basis and the norm of the residual. By the Cauchy-Schwarz
    inequality the product of two norms is at least the inner product of the residuals.
    """
    inside = units @ basis
    outside = np.einsum("ij,ij->i", units, units) - np.einsum("ij,ij->i", inside, inside)
    return np.hstack([inside, np.sqrt(np.maximum(outside, 0))[:, None]])


def _pairs_above(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> Iterator[NDArray[np.intp]]:
    """Yield ``(p, 2)`` rows of ``first`` and ``second`` with inner products above `MIN_NCC`.

    Both are rows of `_bounding`. Unit vectors with this inner product are close in every
    coordinate, so that sorting by the first one avoids most comparisons.
    """
    close = np.sqrt(2 - 2 * MIN_NCC) + 1e-3
    by_first, by_second = np.argsort(first[:, 0]), np.argsort(second[:, 0])
    first, second = first[by_first], second[by_second]
    block = min(_CHUNK, max(1, _SCORES // max(1, len(second))))
    for start in range(0, len(first), block):
        rows = first[start : start + block]
        ends = (rows[0, 0] - close, rows[-1, 0] + close)
        low, high = np.searchsorted(second[:, 0], ends).tolist()
        if low == high:
            continue
        flat = np.flatnonzero(rows @ second[low:high].T > MIN_NCC)
        if len(flat):
            one, other = np.divmod(flat, high - low)
            yield np.stack([by_first[start + one], by_second[low + other]], axis=1)


def _ncc(tiles: NDArray[np.uint8], pairs: NDArray[np.intp], shift: Shift) -> NDArray[np.float32]:
    """Return each pair's NCC at a shift; 0 where a strip is flat."""
    (rows, columns), (other_rows, other_columns) = strip_windows(tiles.shape[1:], shift)
    first = _unit(tiles[pairs[:, 0], rows, columns])
    second = _unit(tiles[pairs[:, 1], other_rows, other_columns])
    ncc: NDArray[np.float32] = np.einsum("ij,ij->i", first, second)
    return ncc


def agree(tiles: NDArray[np.uint8], pairs: NDArray[np.intp], shift: Shift) -> NDArray[np.bool_]:
    """Return which pairs, ``(p, 2)`` rows of grey tiles, agree at a shift: ``(p,) bool``.

    The rule is in this module's docstring; (0, 0) compares whole tiles.
    """
    agreed = np.zeros(len(pairs), dtype=bool)
    (rows, columns), (other_rows, other_columns) = strip_windows(tiles.shape[1:], shift)
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        ncc = _ncc(tiles, chunk, shift)
        first = tiles[chunk[:, 0], rows, columns].astype(np.float32)
        difference = first - tiles[chunk[:, 1], other_rows, other_columns]
        good = (ncc > MIN_NCC) & (np.square(difference).mean(axis=(1, 2)) < MAX_RMSE**2)
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            here = np.flatnonzero(good)
            beside = _ncc(tiles, chunk[here], (shift[0] + down, shift[1] + right))
            # The NCC of a perfect match may differ from 1 by a rounding error.
            good[here] = PEAK_RATIO * (1 - ncc[here]) <= np.maximum(1 - beside, 1e-5)
        agreed[start : start + _CHUNK] = good
    return agreed


def pairs_at(tiles: NDArray[np.uint8], shift: Shift) -> NDArray[np.intp]:
    """Return all pairs, ``(p, 2)`` rows of grey tiles, that overlap at a shift.

    At (0, 0) each pair is returned once. The result is exact: screening by short vectors drops no
    pair.
    """
    windows = strip_windows(tiles.shape[1:], shift)
    some = np.unique(np.linspace(0, len(tiles) - 1, 2 * _WIDTH).astype(np.intp))
    basis = _basis(_unit(tiles[some, windows[0][0], windows[0][1]]))

    def bounding(window: tuple[slice, slice]) -> NDArray[np.float32]:
        parts = (tiles[start : start + _CHUNK] for start in range(0, len(tiles), _CHUNK))
        return np.concatenate(
            [_bounding(_unit(part[:, window[0], window[1]]), basis) for part in parts]
        )

    first = bounding(windows[0])
    second = first if shift == (0, 0) else bounding(windows[1])
    found = [np.empty((0, 2), dtype=np.intp)]
    for pairs in _pairs_above(first, second):
        valid = pairs[:, 0] < pairs[:, 1] if shift == (0, 0) else pairs[:, 0] != pairs[:, 1]
        candidates = pairs[valid]
        found.append(candidates[agree(tiles, candidates, shift)])
    return np.concatenate(found)


def find_shifts(
    sets: Sequence[NDArray[np.uint8]],
    seed: int = 0,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[Shift, ...]:
    """Find the shifts at which tiles overlap more often than by chance, most frequent first.

    A sample of each set is compared at every shift that leaves an overlap of 3/8 of both sides.
    Crops at random places have no shift in common and are not found. Of a shift and its reverse
    only the one that points down or, on the same row, right is returned. ``sets`` are tiles that
    may overlap, ``(n, height, width) uint8`` each, all of one size. ``progress`` is called with the
    number of tiles of each set.
    """
    if not sets or min(sets[0].shape[1:]) < MIN_SIDE:
        return ()
    height, width = sets[0].shape[1:]
    tall, wide = (max(_MIN_PATCH, int(side * _PATCH)) for side in (height, width))
    votes = np.zeros((height - tall + 1, 2 * (width - wide) + 1), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for tiles in sets:
        size = min(len(tiles), int(_SAMPLE * np.sqrt(len(tiles))) + 1)
        _vote(tiles[np.sort(generator.permutation(len(tiles))[:size])], (tall, wide), votes)
        progress(len(tiles))
    possible = votes.size - (width - wide) - 1  # half of the first row is symmetric
    chance = np.median(np.sort(votes.ravel())[-possible:])
    downs, rights = np.nonzero(votes >= max(_MIN_VOTES, _ABOVE_CHANCE * chance))
    order = np.argsort(-votes[downs, rights], kind="stable")[:_MAX_SHIFTS]
    return tuple((int(downs[i]), int(rights[i]) - (width - wide)) for i in order)


def _vote(tiles: NDArray[np.uint8], patch: tuple[int, int], votes: NDArray[np.int64]) -> None:
    """Add the number of overlapping pairs at every shift to ``votes[down, right + largest right]``.

    A tile's lower right patch is part of every overlapping tile further down and right, its lower
    left patch of every one further down and left. So these two patches are searched in all tiles.
    """
    if len(tiles) < 2:
        return
    (tall, wide), (height, width) = patch, tiles.shape[1:]
    down, right = height - tall, width - wide
    some = np.linspace(0, len(tiles) - 1, 2 * _WIDTH).astype(np.intp)
    corners = [(i * down // 3, j * right // 3) for i in range(4) for j in range(4)]
    patches = [
        _unit(tiles[some[k::16], y : y + tall, x : x + wide]) for k, (y, x) in enumerate(corners)
    ]
    basis = _basis(np.concatenate(patches))
    lower_right = _bounding(_unit(tiles[:, down:, right:]), basis)
    lower_left = _bounding(_unit(tiles[:, down:, :wide]), basis)
    both = np.concatenate([lower_right, lower_left])
    count = len(tiles)
    for y in range(down + 1):
        row = [_unit(tiles[:, y : y + tall, x : x + wide]) for x in range(right + 1)]
        for pairs in _pairs_above(both, _bounding(np.concatenate(row), basis)):
            first, of_left = pairs[:, 0] % count, pairs[:, 0] >= count
            second, xs = pairs[:, 1] % count, pairs[:, 1] // count
            rights = np.where(of_left, -xs, right - xs)
            # At right = 0 both patches find the same pairs; at down = 0 each pair is found twice.
            useful = (first != second) & (~of_left | (rights < 0))
            useful &= (rights > 0) | (y < down)
            order = np.flatnonzero(useful)[np.argsort(rights[useful], kind="stable")]
            for same in np.split(order, np.flatnonzero(np.diff(rights[order])) + 1):
                if len(same):
                    shift = (down - y, int(rights[same[0]]))
                    agreed = agree(tiles, np.stack([first[same], second[same]], axis=1), shift)
                    votes[shift[0], shift[1] + right] += agreed.sum()
