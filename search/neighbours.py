"""Exact nearest neighbours: for every vector its k most similar others, or those in a gallery.

Pure arithmetic on arrays; where vectors come from and where the graph goes is `search/export.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.schema import SCORE_DIGITS

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
    index = _index(vectors)
    for start in range(0, len(vectors), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(vectors)))
        yield Neighbours(start, *_top(index, vectors, vectors[own], min(k, len(vectors) - 1), own))


def nearest(
    gallery: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each query's ``k`` most similar gallery vectors, exactly, ties by row number.

    Args:
        gallery: ``(n, d) float32``, L2 norm 1, without the queries.
        queries: ``(m, d) float32``, L2 norm 1.
        k: at most n.

    Returns:
        ``(m, k)`` gallery rows, best first, and their cosines rounded to `SCORE_DIGITS`.
    """
    index = _index(gallery)
    blocks = [queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK)]
    found = [_top(index, gallery, block, min(k, len(gallery)), None) for block in blocks]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([s for _, s in found])


def _index(vectors: NDArray[np.float32]) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _top(
    index: Any,
    vectors: NDArray[np.float32],
    block: NDArray[np.float32],
    k: int,
    own: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ``k`` best of ``vectors`` for each vector of a block, its own row left out."""
    count = len(vectors)
    wanted = min(k + (own is not None) + MARGIN, count)
    _, candidates = index.search(block, wanted)
    rows, scores = _ranked(vectors, block, candidates, own)
    if wanted < count:
        # Another vector may tie with the last one kept if it ties with the last candidate.
        open_ended = scores[:, -1] >= scores[:, max(k - 1, 0)] - 10.0**-SCORE_DIGITS
        for row in np.flatnonzero(open_ended):
            one = slice(row, row + 1)
            everyone = np.arange(count)[None]
            full = _ranked(vectors, block[one], everyone, None if own is None else own[one])
            rows[row, :k], scores[row, :k] = full[0][0, :k], full[1][0, :k]
    return rows[:, :k], scores[:, :k]


def _ranked(
    vectors: NDArray[np.float32],
    block: NDArray[np.float32],
    candidates: NDArray[np.int64],
    own: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Order candidates by rounded float64 cosine, then row number, with ``own`` last.

    Returns:
        ``(m, c)`` row numbers and scores, the last column gone where there are own rows.
    """
    left = block.astype(np.float64)
    right = vectors[candidates].astype(np.float64)
    scores = np.einsum("md,mcd->mc", left, right)
    scores /= np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=2)
    scores = np.round(np.clip(scores, -1.0, 1.0), SCORE_DIGITS)
    if own is None:
        order = np.lexsort((candidates, -scores), axis=1)
    else:
        # Where own row is not among the candidates, the worst of them is dropped instead.
        order = np.lexsort((candidates, -scores, candidates == own[:, None]), axis=1)[:, :-1]
    return np.take_along_axis(candidates, order, 1), np.take_along_axis(scores, order, 1)
