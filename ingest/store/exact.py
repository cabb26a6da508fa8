"""Exact answers from an engine: the k best matches, ties in the order of paths.

Owns how a tie at rank k is completed, and which queries have no answer. Sends no request itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from geosim.ingest.schema import SCORE_DIGITS, Match, Nearest
from geosim.trainer.heads.head import EMBEDDING_DIM

TIE_MARGIN = 16
"""Points asked for beyond k, so that a tie at rank k can be put into path order."""

QUERY_BATCH = 64
"""Queries per call of an engine: Qdrant Edge answers them in about 40 ms at 30,000 points."""

MATCHES_PER_CALL = 20_000
"""Matches that a call may ask for, at about half a kilobyte each; many mean fewer queries."""


def check_queries(queries: Sequence[Nearest], k: int) -> None:
    """Refuse queries that have no answer.

    Raises:
        ValueError: k is below 1, or a vector is not ``(32,) float32``, finite and non-zero.
    """
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


def ranked(matches: Iterable[Match], k: int) -> list[Match]:
    """Return the ``k`` best matches, highest score first, ties ordered by path.

    Scores tie that are equal at `SCORE_DIGITS` decimals.
    """
    return sorted(matches, key=lambda match: (-_shown(match.score), match.payload.path))[:k]


def _shown(score: float) -> float:
    return round(score, SCORE_DIGITS)


def exact_top(
    queries: Sequence[Nearest],
    k: int,
    ask: Callable[[Sequence[Nearest], int], list[list[Match]]],
) -> list[list[Match]]:
    """Return the ``k`` best matches per query, independent of the engine's own order of ties.

    An engine cuts a tie at its limit arbitrarily. Where the last match it gave still ties with
    rank k, the query is asked again with a larger limit.

    Args:
        queries: n queries.
        k: matches per query, 1 or more.
        ask: given at most `QUERY_BATCH` queries and a limit, returns the engine's best matches.

    Raises:
        ValueError: `check_queries` refuses.
    """
    check_queries(queries, k)
    best: list[list[Match]] = [[] for _ in queries]
    pending, limit = list(range(len(queries))), k + TIE_MARGIN
    while pending:
        cut_in_tie = []
        step = max(1, min(QUERY_BATCH, MATCHES_PER_CALL // limit))
        for start in range(0, len(pending), step):
            batch = pending[start : start + step]
            answers = ask([queries[index] for index in batch], limit)
            for index, found in zip(batch, answers, strict=True):
                least = queries[index].min_score
                near = [m for m in found if least is None or _shown(m.score) >= least]
                best[index] = ranked(near, k)
                lowest = min((match.score for match in near), default=0.0)
                if len(near) >= limit and _shown(lowest) >= _shown(best[index][-1].score):
                    cut_in_tie.append(index)
        pending, limit = cut_in_tie, limit * 4
    return best
