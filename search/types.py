"""The options of a search, its hits and its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geosim.ingest.conditions import Condition
from geosim.ingest.schema import SCORE_DIGITS, Payload, ScoredPoint
from geosim.search.crop import CropBox
from geosim.search.fields import Field
from geosim.trainer.errors import QueryError

DEFAULT_K = 10
"""Number of hits if none is given."""

LISTED_IMAGES = 12
"""Images of a specimen that are listed at most: polarised in two ways, at six angles."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Which hits a search returns.

    Attributes:
        k: maximum number of hits; None for `DEFAULT_K`, or for all if there is a ``min_score``.
        label: only hits of this class.
        min_score: only hits with this cosine or a higher one, -1 to 1.
        one_per: a field; only the best hit of each of its values.
        where: only hits for which this expression holds (`search/where.py`).
        not_same: a field; no hits with the query's own value of it.
        show: fields to show of each hit.
        exact: compare all images, also where a large collection is searched by an index.
        among: only hits for which this condition holds, too.
        without: stored paths that are no hits.
    """

    k: int | None = None
    label: str | None = None
    min_score: float | None = None
    one_per: str | None = None
    where: str | None = None
    not_same: str | None = None
    show: tuple[str, ...] = ()
    exact: bool = False
    among: Condition | None = None
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raise `QueryError` if a value is out of range."""
        if self.k is not None and self.k < 1:
            raise QueryError(f"k must be at least 1, received {self.k}")
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise QueryError(f"min_score is a cosine, -1 to 1, received {self.min_score}")

    @property
    def narrows(self) -> bool:
        """Whether images are left out that would be hits by their score."""
        chosen = (self.label, self.one_per, self.where, self.not_same, self.among)
        return bool(self.without) or any(one is not None for one in chosen)

    @property
    def limit(self) -> int | None:
        """The maximum number of hits; None for all that ``min_score`` leaves."""
        return DEFAULT_K if self.k is None and self.min_score is None else self.k


@dataclass(frozen=True, slots=True)
class Hit:
    """An indexed image that is like the query: its stored path, class (empty for none), point id.

    ``rank`` counts from 1, ``score`` is the cosine to the query, -1 to 1, rounded to
    `SCORE_DIGITS`, and ``identical`` is whether both files have the same bytes. ``facts`` are the
    image's by name (`trainer/data/facts.py`), ``shown`` the values of the fields that the search
    was to show, None where there is none. ``box`` is the tile that is like the query, in a
    collection of tiles, whose id ``id`` is then. ``specimen`` is what a search that ranks specimens
    found, with the score of the hit.
    """

    rank: int
    score: float
    path: str
    label: str
    id: str
    identical: bool
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    shown: Mapping[str, Any] = field(default_factory=dict, hash=False)
    box: CropBox | None = None
    specimen: Specimen | None = None


@dataclass(frozen=True, slots=True)
class Specimen:
    """The indexed images that show one specimen.

    Attributes:
        value: of the field that tells specimens apart, which all of them have.
        images: their number, of those that the search may return.
        best: those that are most like the query, best first, at most `LISTED_IMAGES`. Their scores
            are the best cosine with an image of the query.
    """

    value: Any
    images: int
    best: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The hits of one query, best first, or the error that prevented an answer.

    ``query`` is `ResolvedQuery.text` in valid UTF-8, ``indexed`` the indexed image that the query
    is, or is a part of, if any, and ``crop`` that part, None for the whole picture. ``note`` tells
    what the search could not do for it. ``model`` is the fingerprint of the model whose embeddings
    were compared; empty where nothing depends on it. ``approximate`` is whether an index chose the
    hits, so that one may be missing.
    """

    query: str
    hits: tuple[Hit, ...] = ()
    indexed: Payload | None = None
    error: str | None = None
    crop: CropBox | None = None
    note: str | None = None
    model: str = ""
    approximate: bool = False


def ranked_hits(
    matches: Iterable[ScoredPoint], sha256: str, k: int | None, shown: Sequence[Field] = ()
) -> tuple[Hit, ...]:
    """Return the first ``k`` matches, all if None: identical bytes first, then by score, then path.

    ``sha256`` is the hex digest of the query's bytes; empty if they are unknown. ``shown`` are the
    fields for `Hit.shown`.
    """
    rows = sorted(
        (
            match.payload.sha256 != sha256,
            -round(min(1.0, max(-1.0, match.score)), SCORE_DIGITS),
            match.payload.path,
            match.payload,
        )
        for match in matches
    )
    return tuple(
        Hit(
            rank,
            -negated,
            path,
            payload.label,
            payload.id,
            not differs,
            payload.facts,
            {one.name: one.of(payload) for one in shown},
            None if payload.box is None else CropBox(*payload.box, payload.width, payload.height),
        )
        for rank, (differs, negated, path, payload) in enumerate(rows[:k], start=1)
    )
