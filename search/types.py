"""What a search is asked and what it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from geosim.ingest.schema import SCORE_DIGITS, Payload, ScoredPoint
from geosim.trainer.errors import QueryError

DEFAULT_K = 10
"""Hits unless asked otherwise."""

GROUPS = ("class", "dataset")
"""Payload fields of which a search can give the best hit each."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Which hits a search returns.

    Attributes:
        k: at most so many; None for `DEFAULT_K`, or for all where there is a ``min_score``.
        label: only of this class.
        min_score: only with this cosine or a higher one, -1 to 1.
        one_per: only the best of each value of a field in `GROUPS`.
    """

    k: int | None = None
    label: str | None = None
    min_score: float | None = None
    one_per: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be answered.

        Raises:
            QueryError: a value is out of range.
        """
        if self.k is not None and self.k < 1:
            raise QueryError(f"k must be at least 1, received {self.k}")
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise QueryError(f"a score is a cosine, -1 to 1, received {self.min_score}")
        if self.one_per is not None and self.one_per not in GROUPS:
            raise QueryError(f"one per what? Received {self.one_per!r}, expected class or dataset")


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    Attributes:
        rank: from 1.
        score: cosine to the query, -1 to 1, rounded to `SCORE_DIGITS`.
        path: stored path.
        label: class.
        id: point id.
        identical: the file has the very same bytes as the query.
    """

    rank: int
    score: float
    path: str
    label: str
    id: str
    identical: bool


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one query.

    Attributes:
        query: the path as it was given, or what stands for a picture without one.
        hits: best first; empty where there is an error.
        indexed: the stored image that the query is, if it is one.
        error: why this query has no answer.
    """

    query: str
    hits: tuple[Hit, ...] = ()
    indexed: Payload | None = None
    error: str | None = None


def ranked_hits(matches: Iterable[ScoredPoint], sha256: str, k: int | None) -> tuple[Hit, ...]:
    """Rank matches: identical bytes first, then by score, then by path.

    Args:
        matches: in any order.
        sha256: hex digest of the query's bytes; empty where it has none.
        k: at most so many; None for all.
    """
    rows = sorted(
        (match.payload.sha256 != sha256, -_rounded(match.score), match.payload.path, match)
        for match in matches
    )
    return tuple(
        Hit(
            rank=rank,
            score=_rounded(match.score),
            path=match.payload.path,
            label=match.payload.label,
            id=match.payload.id,
            identical=match.payload.sha256 == sha256,
        )
        for rank, (*_, match) in enumerate(rows[:k], start=1)
    )


def _rounded(score: float) -> float:
    return round(min(1.0, max(-1.0, score)), SCORE_DIGITS)
