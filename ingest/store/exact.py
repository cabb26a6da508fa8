"""Exact top k from an engine, with ties ordered by path."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from geosim.ingest.schema import SCORE_DIGITS, ScoredPoint, VectorQuery
from geosim.trainer.heads.head import EMBEDDING_DIM

TIE_MARGIN = 16
"""Points requested beyond k, to order a tie at rank k by path."""

QUERY_BATCH = 64
"""Largest number of queries per call of an engine."""

POINTS_PER_CALL = 20_000
"""Largest number of points that a call may return, at about half a kilobyte each."""


def _check_queries(queries: Sequence[VectorQuery], k: int) -> None:
    if k < 1:
        raise ValueError(f"expected k of 1 or more, received {k}")
    for query in queries:
        vector = query.vector
        if vector.shape != (EMBEDDING_DIM,) or vector.dtype != np.float32:
            raise ValueError(
                f"expected a query vector of shape ({EMBEDDING_DIM},) and dtype float32, "
                f"received {vector.shape} {vector.dtype}"
            )
        norm = np.linalg.norm(vector)
        if not np.isfinite(norm) or norm == 0:
            raise ValueError(f"query vector has norm {norm}; a cosine needs a direction")


def exact_top(
    queries: Sequence[VectorQuery],
    k: int,
    query_batch: Callable[[Sequence[VectorQuery], int], list[list[ScoredPoint]]],
) -> list[list[ScoredPoint]]:
    """Return the ``k`` best points of each query, whatever the engine's order of ties.

    Scores are equal if they are so at `SCORE_DIGITS` decimals. An engine returns an arbitrary part
    of a tie at its limit: a query whose last point ties with rank k is repeated with a larger one.

    Args:
        queries: n queries.
        k: points per query, 1 or more.
        query_batch: returns the engine's best points for up to `QUERY_BATCH` queries and a limit.

    Raises:
        ValueError: k is below 1, or a vector is not ``(32,) float32``, finite and non-zero.
    """
    _check_queries(queries, k)
    best: list[list[ScoredPoint]] = [[] for _ in queries]
    pending, limit = list(range(len(queries))), k + TIE_MARGIN
    while pending:
        truncated = []
        step = max(1, min(QUERY_BATCH, POINTS_PER_CALL // limit))
        for start in range(0, len(pending), step):
            batch = pending[start : start + step]
            answers = query_batch([queries[index] for index in batch], limit)
            for index, points in zip(batch, answers, strict=True):
                least = queries[index].min_score
                ranked = sorted(
                    (-round(point.score, SCORE_DIGITS), point.payload.path, place)
                    for place, point in enumerate(points)
                    if least is None or round(point.score, SCORE_DIGITS) >= least
                )
                best[index] = [points[place] for _, _, place in ranked[:k]]
                if len(ranked) >= limit and ranked[-1][0] == ranked[k - 1][0]:
                    truncated.append(index)
        pending, limit = truncated, limit * 4
    return best
