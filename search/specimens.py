"""Searches by all pictures of a specimen at once, and ranks specimens instead of pictures.

A specimen is what indexed images with one value of a field show: a thin section in plane and in
crossed polarised light, rotated or magnified. Its score is the mean over the query's pictures of
the best cosine that each has with one of its pictures::

    score(Q, S) = mean over q in Q of (max over s in S of cosine(q, s))

So each picture of the query is compared with the picture of the specimen that is most like it, and
pictures of the specimen that the query has no counterpart of do not count.

In a collection of tiles, each tile of a picture of the query is compared with the tile of the
specimen that is most like it, so that both have one scale, and the mean over the tiles counts for
the picture. All are stored vectors; no picture is read. Of more than `MOST_TILES` some are drawn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.conditions import both
from geosim.ingest.schema import SCORE_DIGITS, Filter, Payload, Point, ScoredPoint, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.ranking import best_tiles
from geosim.search.fields import Field, shown
from geosim.search.queries import ResolvedQuery
from geosim.search.scope import Scope, best_of_each
from geosim.search.types import LISTED_IMAGES, Hit, Specimen, ranked_hits
from geosim.trainer.errors import QueryError
from geosim.trainer.text import printable

FIRST_ROUND = 16
"""Specimens per picture of the query in the first round; each round asks for four times as many."""

MOST_PICTURES = 1000
"""Pictures of a query at most: each is one search. More are no specimen, but a class or a site."""

MOST_TILES = 256
"""Tiles of a query at most, for the same reason. Drawn at random, so many tell the mean of a scan's
tiles to a few hundredths."""

SEED = 0
"""Seed of that draw: equal queries have equal answers."""

MOST_READ = 300_000
"""Images, or tiles, of specimens that are compared at most: some fifteen seconds."""

VALUES_BATCH = 256
"""Specimens that are read at once."""


@dataclass(slots=True, eq=False)
class Found:
    """A specimen that was found.

    Attributes:
        best: ``(m,)``, the best cosine of each vector of the query.
        pictures: each by its best tile, with its best cosine with the query, best first.
        score: of the specimen.
    """

    best: NDArray[np.float64]
    pictures: list[ScoredPoint] = field(default_factory=list)
    score: float = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class SpecimenQuery:
    """The pictures of a query, and what may be found.

    Attributes:
        vectors: ``(m, 32) float32`` of its pictures or their tiles.
        weights: ``(m,) float64``, sum 1: each picture counts the same.
        where: filter of the images that count, without its own.
        field: whose values are specimens.
        note: the specimens that it is, or that none is known.
    """

    vectors: NDArray[np.float32]
    weights: NDArray[np.float64]
    where: Filter
    field: Field
    note: str


def query_of(
    store: VectorStore, scope: Scope, given: Sequence[tuple[ResolvedQuery, Sequence[Payload]]]
) -> SpecimenQuery:
    """Return the query of given pictures: all images of their specimens, and those of none.

    Beside each picture are the indexed images that it is, or has the bytes of. Only pictures for
    which `Scope.is_alone` need a vector. The field of the specimens is ``scope.not_same``.

    Raises:
        QueryError: the scope has no such field, or there are more than `MOST_PICTURES`.
    """
    by = scope.not_same
    if by is None:
        raise QueryError("specimens are the values of a field; name one")
    known = [payload for _, payloads in given for payload in payloads]
    values = by.values(known)
    points, told = _own_points(store, by, values) if values else ([], [])
    sizes = Counter(point.payload.path for point in points)
    alone = [
        one.vector for one, payloads in given if one.vector is not None and scope.is_alone(payloads)
    ]
    if alone:
        name = printable(by.name)
        told.append(f"{len(alone):,} whose {name} is not known, and that stands for itself")
    stored = [point.vector for point in points if point.vector is not None]
    weights = np.array([1 / sizes[point.payload.path] for point in points] + [1.0] * len(alone))
    where, _ = scope.of(known)
    where = replace(where, exclude_sha256=frozenset(one.sha256 for one, _ in given if one.sha256))
    return SpecimenQuery(
        np.array([*stored, *alone], np.float32),
        weights / weights.sum(),
        where,
        by,
        f"searched by {printable(by.name)}: {' and '.join(told)}",
    )


def best_specimens(store: VectorStore, query: SpecimenQuery, k: int) -> list[Found]:
    """Return the ``k`` best specimens of a query, best first.

    Exact: specimens that were not read have no better score than the mean of the worst cosines of
    those that were found for each picture, and rounds are repeated until ``k`` have a better one.
    Equal scores, at `SCORE_DIGITS` decimals, are ordered by the path of the picture.

    Raises:
        QueryError: they have more than `MOST_READ` images or tiles.
    """
    requests = [VectorQuery(vector, query.where) for vector in query.vectors]
    size = max(FIRST_ROUND, 2 * k)
    while True:
        near = best_of_each(store, requests, query.field, size)
        values = query.field.values(one.payload for row in near for one in row)
        found = _scored(store, query, values)[:k]
        if any(len(row) < size for row in near):  # there are no others
            return found
        unseen = float(query.weights @ [row[-1].score for row in near])
        if len(found) == k and found[-1].score > round(unseen, SCORE_DIGITS):
            return found
        size *= 4


def hits_of(found: Sequence[Found], by: Field, show: Sequence[Field]) -> tuple[Hit, ...]:
    """Return specimens as hits: each its picture that is most like one of the query."""
    matches = [ScoredPoint(one.pictures[0].payload, one.score) for one in found]
    others = [one for one in show if one.path != by.path]
    return tuple(
        replace(
            hit,
            specimen=Specimen(
                by.of(one.pictures[0].payload),
                len(one.pictures),
                ranked_hits(one.pictures[:LISTED_IMAGES], "", None, others),
            ),
        )
        for hit, one in zip(ranked_hits(matches, "", None, show), found, strict=True)
    )


def _own_points(
    store: VectorStore, by: Field, values: Sequence[Any]
) -> tuple[list[Point], list[str]]:
    """Return the points of the query's specimens, sorted by path, and what is told of them."""
    where, name = Filter(where=by.any_of(values)), printable(by.name)
    count = store.count(where)
    batches = store.scan(where, vectors=True)
    first = next(batches, [])
    tiled = any(point.payload.box is not None for point in first)
    most, noun = (MOST_READ, "tiles") if tiled else (MOST_PICTURES, "images")
    if count > most:
        raise QueryError(
            f"{count:,} {noun} have the {name} of the query, and a specimen has at most "
            f"{most:,}; name a field that tells specimens apart"
        )
    points = [*first, *(point for batch in batches for point in batch)]
    points.sort(key=lambda point: (point.payload.path, point.payload.box or ()))
    total, pictures = len(points), len({point.payload.path for point in points})
    told = f"{pictures:,} image{'s' * (pictures != 1)} of "
    told += shown(values[0]) if len(values) == 1 else f"{len(values):,} values"
    if tiled and total > MOST_TILES:
        drawn = np.random.default_rng(SEED).choice(total, MOST_TILES, replace=False)
        points = [points[row] for row in sorted(drawn.tolist())]
        told = f"{MOST_TILES:,} of {total:,} tiles of {told}"
    elif tiled:
        told = f"{total:,} tile{'s' * (total != 1)} of {told}"
    return points, [told]


def _scored(store: VectorStore, query: SpecimenQuery, values: Sequence[Any]) -> list[Found]:
    """Return specimens with their scores, best first."""
    by, unit = query.field, query.vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    batches = [values[at : at + VALUES_BATCH] for at in range(0, len(values), VALUES_BATCH)]
    wheres = [
        replace(query.where, where=both(query.where.where, by.any_of(some))) for some in batches
    ]
    if (count := sum(map(store.count, wheres))) > MOST_READ:
        raise QueryError(
            f"the nearest {len(values):,} values of {printable(by.name)} have {count:,} images or "
            f"tiles, and at most {MOST_READ:,} are compared; ask for fewer hits, or name a field "
            "that tells specimens apart"
        )
    found: dict[Any, Found] = {}
    for where in wheres:
        for batch in store.scan(where, vectors=True):
            stored = np.stack([point.vector for point in batch if point.vector is not None])
            cosines = np.clip(unit @ stored.T.astype(np.float64), -1, 1)
            nearest = cosines.max(axis=0).tolist()
            rows: dict[Any, list[int]] = defaultdict(list)
            for row, point in enumerate(batch):
                rows[by.key(point.payload)].append(row)
            for value, own in rows.items():
                one = found.setdefault(value, Found(np.full(len(unit), -1.0)))
                one.best = np.maximum(one.best, cosines[:, own].max(axis=1))
                scored = (ScoredPoint(batch[row].payload, nearest[row]) for row in own)
                one.pictures = best_tiles([*one.pictures, *scored])
    for one in found.values():
        one.score = round(float(query.weights @ one.best), SCORE_DIGITS)
    return sorted(found.values(), key=lambda one: (-one.score, one.pictures[0].payload.path))
