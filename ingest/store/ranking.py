"""The exact nearest points of an engine's answers: ties by path, pictures by their best tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import SCORE_DIGITS, Box, ScoredPoint, VectorQuery

TIE_MARGIN = 16
"""Points requested beyond k, to order a tie at rank k by path."""

QUERY_BATCH = 64
"""Largest number of queries per call of an engine."""

POINTS_PER_CALL = 20_000
"""Largest number of points that a call may return, at about half a kilobyte each."""


def nearest(
    queries: Sequence[VectorQuery],
    k: int,
    ask: Callable[[Sequence[VectorQuery], int], list[list[ScoredPoint]]],
    ask_pictures: Callable[[VectorQuery, int, int], list[ScoredPoint]],
) -> list[list[ScoredPoint]]:
    """Return the k nearest points of each query, see `VectorStore.query`.

    ``ask`` returns up to a number of nearest points of each query, and ``ask_pictures`` of one
    query the nearest tiles of ``k`` pictures or more.
    """
    best: list[list[ScoredPoint]] = [[] for _ in queries]
    pending, limit = list(range(len(queries))), k + TIE_MARGIN
    while pending:
        truncated = []
        step = max(1, min(QUERY_BATCH, POINTS_PER_CALL // limit))
        for start in range(0, len(pending), step):
            batch = pending[start : start + step]
            answers = ask([queries[index] for index in batch], limit)
            for index, answer in zip(batch, answers, strict=True):
                query, points = queries[index], answer
                pictures = {one.payload.path for one in answer}
                if len(pictures) < len(answer) and not is_complete(answer, limit, k):
                    points = ask_pictures(query, k, limit)
                ranked = _ranked(points, query.min_score)
                best[index] = [point for _, point in ranked[:k]]
                # An engine returns an arbitrary part of a tie at its limit: ask for more.
                if len(ranked) >= limit and ranked[-1][0] == ranked[k - 1][0]:
                    truncated.append(index)
        pending, limit = truncated, limit * 4
    return best


def nearest_pictures(
    query: VectorQuery,
    k: int,
    limit: int,
    ask: Callable[[Sequence[VectorQuery], int], list[list[ScoredPoint]]],
) -> list[ScoredPoint]:
    """Return the best tiles of at least ``k`` pictures and of those that tie with the last.

    ``ask`` is asked for more than ``limit`` tiles, which are of too few pictures.
    """
    while True:
        limit *= 4
        (points,) = ask([query], limit)
        if is_complete(points, limit, k):
            return best_tiles(points)


def check_vectors(
    vectors: NDArray[np.float32], shape: tuple[int, ...], expected: str, names: Sequence[str]
) -> None:
    """Raise ValueError for invalid vectors; the engines accept zero and NaN vectors silently."""
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise ValueError(
            f"expected {expected} of shape {shape} and dtype float32, "
            f"received {vectors.shape} {vectors.dtype}"
        )
    for name, norm in zip(names, np.linalg.norm(vectors, axis=-1).reshape(-1), strict=True):
        if not np.isfinite(norm) or norm == 0:
            raise ValueError(f"{name} has norm {norm}; a cosine needs a direction")


def _ranked(points: list[ScoredPoint], least: float | None) -> list[tuple[float, ScoredPoint]]:
    """Return points of at least a score with their rounded scores, highest first, then by path."""
    scored = [(round(point.score, SCORE_DIGITS), point) for point in best_tiles(points)]
    return [pair for pair in scored if least is None or pair[0] >= least]


def best_tiles(points: Iterable[ScoredPoint]) -> list[ScoredPoint]:
    """Return the best point of each picture, of equal ones the first by place, best first."""
    best: dict[str, ScoredPoint] = {}
    for point in sorted(points, key=_rank):
        best.setdefault(point.payload.path, point)
    return [*best.values()]


def is_complete(points: Sequence[ScoredPoint], asked: int, k: int) -> bool:
    """Return whether no tile beyond the nearest ``asked`` ones can be of the first k pictures."""
    if len(points) < asked:
        return True
    found, farthest = best_tiles(points), min(point.score for point in points)
    return len(found) >= k and round(farthest, SCORE_DIGITS) < round(
        found[k - 1].score, SCORE_DIGITS
    )


def _rank(point: ScoredPoint) -> tuple[float, str, Box]:
    return -round(point.score, SCORE_DIGITS), point.payload.path, point.payload.box or (0, 0, 0, 0)
