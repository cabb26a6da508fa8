"""The exact neighbour graph: for every vector its k most similar others.

Pure arithmetic on arrays; where vectors come from and where the graph goes is `search/export.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCORE_DIGITS = 6
"""Scores are compared and shown at this many decimals; float32 products differ in the seventh."""

BLOCK = 1024
"""Queries at once: keeps the block's scores in the processor's cache."""

MARGIN = 16
"""Candidates beyond k that the float32 search returns, to be ranked again in float64."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The neighbours of the vectors ``start`` to ``start + m``.

    Attributes:
        start: row number of the first.
        rows: ``(m, k) int64``, row numbers, best first.
        scores: ``(m, k) float64``, cosines rounded to `SCORE_DIGITS`.
    """

    start: int
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


def neighbour_graph(vectors: NDArray[np.float32], k: int) -> Iterator[Neighbours]:
    """Yield the graph block by block.

    Exact: every pair is compared. Self-exclusion is by row, so an identical other vector is a
    neighbour. Ties, equal at `SCORE_DIGITS` decimals, are ordered by row number; with rows sorted
    by path that is the order of paths.

    Args:
        vectors: ``(n, d) float32``, L2 norm 1.
        k: neighbours per vector; fewer, n - 1, where there are no more.
    """
    import faiss

    count = len(vectors)
    k = min(k, count - 1)
    wanted = min(k + 1 + MARGIN, count)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    for start in range(0, count, BLOCK):
        block = vectors[start : start + BLOCK]
        own = np.arange(start, start + len(block))
        _, candidates = index.search(block, wanted)
        rows, scores = _ranked(vectors, own, candidates)
        if wanted < count:
            # Another vector may tie with the last one kept if it ties with the last candidate.
            open_ended = scores[:, -1] >= scores[:, max(k - 1, 0)] - 10.0**-SCORE_DIGITS
            for row in np.flatnonzero(open_ended):
                everyone = np.arange(count)[None]
                full = _ranked(vectors, own[row : row + 1], everyone)
                rows[row, :k], scores[row, :k] = full[0][0, :k], full[1][0, :k]
        yield Neighbours(start, rows[:, :k], scores[:, :k])


def _ranked(
    vectors: NDArray[np.float32], own: NDArray[np.int64], candidates: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Order candidates by rounded float64 cosine, then row number, and leave ``own`` out.

    Returns:
        ``(m, c - 1)`` row numbers and scores, where ``candidates`` is ``(m, c)``.
    """
    left = vectors[own].astype(np.float64)
    right = vectors[candidates].astype(np.float64)
    scores = np.einsum("md,mcd->mc", left, right)
    scores /= np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=2)
    scores = np.round(np.clip(scores, -1.0, 1.0), SCORE_DIGITS)
    selves = candidates == own[:, None]
    order = np.lexsort((candidates, -scores, selves), axis=1)[:, :-1]
    # Where own row is not among the candidates, the worst of them was dropped instead.
    return np.take_along_axis(candidates, order, 1), np.take_along_axis(scores, order, 1)
