"""Tiles cut from one larger picture: the shifts at which they overlap, and the pairs that do.

Owns the comparison of overlap strips and the search for shifts. Which images are compared, and
what becomes of the pairs, is `trainer/evaluation/overlap.py`.

A shift ``(down, right)`` says that the second tile of a pair lies that many pixels below and to the
right of the first in the picture both were cut from; ``right`` may be negative. What both show is
their overlap strip. Two strips agree when

- each has a standard deviation of at least `MIN_STD`: flat ground looks alike everywhere;
- their normalised cross-correlation (NCC) is above `MIN_NCC` and the root mean square of their
  difference below `MAX_RMSE`;
- the shift is a sharp optimum: one pixel off in any of four directions, what is missing from a
  perfect NCC is at least `PEAK` times as much. Smooth ground that only looks alike fails this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Shift = tuple[int, int]

MIN_NCC = 0.96
"""With `MAX_RMSE` and `MIN_STD`, the rule by which the overlaps of the 28-pixel rock tiles were
first measured: JPEG losses of separately encoded tiles stay inside it."""

MAX_RMSE = 9.0
"""Grey levels of 255."""

MIN_STD = 4.0
"""Grey levels of 255."""

PEAK = 2.0
"""Of the rock tiles' pairs at true shifts 98 % pass, at shifts in between hardly any by chance."""

MIN_SIDE = 12
"""Smaller tiles are not compared at shifts: too few pixels to tell overlap from likeness."""

_PATCH = 3 / 8  # of a side: the smallest overlap, so the largest shift is 5/8 of a side
_MIN_PATCH = 8  # pixels a side, where 3/8 are fewer
_SAMPLE = 10  # tiles sampled per square root of a set: expected votes then grow with its size
_MIN_VOTES = 5  # sampled pairs that a shift needs
_ABOVE_CHANCE = 5  # times the median of all shifts that its votes need
_MAX_SHIFTS = 64  # searched at most: more add nothing that is not linked already, only time
_WIDTH = 32  # principal components a strip is screened by
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
    """Return an orthonormal ``(pixels, width) float32`` basis, the rows' main directions first.

    All of space, where `_WIDTH` of them carry less than a third of the rows: noise has none.
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

    The coordinates in the basis, and the length of what lies outside it: by Cauchy and Schwarz the
    product of two such lengths is at least the inner product of the parts outside.
    """
    inside = units @ basis
    outside = np.einsum("ij,ij->i", units, units) - np.einsum("ij,ij->i", inside, inside)
    return np.hstack([inside, np.sqrt(np.maximum(outside, 0))[:, None]])


def _above(first: NDArray[np.float32], second: NDArray[np.float32]) -> Iterator[NDArray[np.intp]]:
    """Yield ``(p, 2)`` rows of ``first`` and ``second`` with inner products above `MIN_NCC`.

    Both are rows of `_bounding`. Unit vectors with that inner product are close in every
    coordinate; sorted by the first one, most rows need no comparison.
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
    """Tell which pairs show the same at a shift, by the rule at the top of this module.

    Args:
        tiles: ``(n, height, width) uint8``, grey.
        pairs: ``(p, 2)`` rows of ``tiles``.
        shift: of the second tile against the first; (0, 0) compares whole tiles.

    Returns:
        ``(p,) bool``.
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
            # A perfect fit may be a rounding error above or below 1.
            good[here] = PEAK * (1 - ncc[here]) <= np.maximum(1 - beside, 1e-5)
        agreed[start : start + _CHUNK] = good
    return agreed


def pairs_at(tiles: NDArray[np.uint8], shift: Shift) -> NDArray[np.intp]:
    """Return all pairs of tiles that overlap at a shift.

    Exact: the screening by short vectors passes every pair that the full strips would.

    Args:
        tiles: ``(n, height, width) uint8``, grey.
        shift: of the second tile of a pair against the first; at (0, 0) each pair comes once.

    Returns:
        ``(p, 2)`` rows of ``tiles``.
    """
    windows = strip_windows(tiles.shape[1:], shift)
    some = np.unique(np.linspace(0, len(tiles) - 1, 2 * _WIDTH).astype(np.intp))
    basis = _basis(_unit(tiles[some, windows[0][0], windows[0][1]]))

    def described(window: tuple[slice, slice]) -> NDArray[np.float32]:
        return np.concatenate(
            [
                _bounding(_unit(tiles[start : start + _CHUNK, window[0], window[1]]), basis)
                for start in range(0, len(tiles), _CHUNK)
            ]
        )

    first = described(windows[0])
    second = first if shift == (0, 0) else described(windows[1])
    found = [np.empty((0, 2), dtype=np.intp)]
    for pairs in _above(first, second):
        unlike = pairs[:, 0] < pairs[:, 1] if shift == (0, 0) else pairs[:, 0] != pairs[:, 1]
        candidates = pairs[unlike]
        found.append(candidates[agree(tiles, candidates, shift)])
    return np.concatenate(found)


def find_shifts(
    sets: Sequence[NDArray[np.uint8]],
    seed: int = 0,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[Shift, ...]:
    """Find the shifts at which tiles overlap more often than chance explains.

    A sample of each set is compared at every shift that leaves an overlap of 3/8 of both sides.
    Crops at random places, each at a shift of its own, are not found this way.

    Args:
        sets: tiles that may overlap, ``(n, height, width) uint8`` each, all of one size.
        seed: of the sample.
        progress: called with the number of tiles of each set when it is done.

    Returns:
        The shifts, most frequent first; of a shift and its reverse the one that leads down, or
        right.
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
    possible = votes.size - (width - wide) - 1  # the rest of the first row is its other half again
    chance = np.median(np.sort(votes.ravel())[-possible:])
    downs, rights = np.nonzero(votes >= max(_MIN_VOTES, _ABOVE_CHANCE * chance))
    order = np.argsort(-votes[downs, rights], kind="stable")[:_MAX_SHIFTS]
    return tuple((int(downs[i]), int(rights[i]) - (width - wide)) for i in order)


def _vote(tiles: NDArray[np.uint8], patch: tuple[int, int], votes: NDArray[np.int64]) -> None:
    """Count the overlapping pairs at every shift into ``votes[down, right + largest right]``.

    A tile's lower right patch lies in every tile that is cut further down and right, its lower
    left one in every tile further down and left; so two patches are looked for everywhere.
    """
    if len(tiles) < 2:
        return
    (tall, wide), (height, width) = patch, tiles.shape[1:]
    down, right = height - tall, width - wide
    some = np.linspace(0, len(tiles) - 1, 2 * _WIDTH).astype(np.intp)
    corners = [(i * down // 3, j * right // 3) for i in range(4) for j in range(4)]
    basis = _basis(
        np.concatenate(
            [
                _unit(tiles[some[k::16], y : y + tall, x : x + wide])
                for k, (y, x) in enumerate(corners)
            ]
        )
    )
    lower_right = _bounding(_unit(tiles[:, down:, right:]), basis)
    lower_left = _bounding(_unit(tiles[:, down:, :wide]), basis)
    both = np.concatenate([lower_right, lower_left])
    count = len(tiles)
    for y in range(down + 1):
        row = [_unit(tiles[:, y : y + tall, x : x + wide]) for x in range(right + 1)]
        for pairs in _above(both, _bounding(np.concatenate(row), basis)):
            first, of_left = pairs[:, 0] % count, pairs[:, 0] >= count
            second, xs = pairs[:, 1] % count, pairs[:, 1] // count
            rights = np.where(of_left, -xs, right - xs)
            # At 0 the right patch tells what the left one does, and on the first row each pair
            # comes again, the other way round.
            useful = (first != second) & (~of_left | (rights < 0))
            useful &= (rights > 0) | (y < down)
            order = np.flatnonzero(useful)[np.argsort(rights[useful], kind="stable")]
            for same in np.split(order, np.flatnonzero(np.diff(rights[order])) + 1):
                if len(same):
                    shift = (down - y, int(rights[same[0]]))
                    agreed = agree(tiles, np.stack([first[same], second[same]], axis=1), shift)
                    votes[shift[0], shift[1] + right] += agreed.sum()
