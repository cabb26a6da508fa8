"""Searches by all pictures of a specimen at once, and ranks specimens instead of pictures.

A specimen is what indexed images with one value of a field show: a thin section in plane and in
crossed polarised light, rotated or magnified. Its score is the mean over the query's pictures of
the best cosine that each has with one of its pictures::

    score(Q, S) = mean over q in Q of (max over s in S of cosine(q, s))

So each picture of the query is compared with the picture of the specimen that is most like it, and
pictures of the specimen that the query has no counterpart of do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.conditions import both
from geosim.ingest.schema import SCORE_DIGITS, Filter, Payload, Point, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.search.fields import Field, shown
from geosim.search.queries import ResolvedQuery
from geosim.search.scope import Scope, best_of_each
from geosim.trainer.errors import QueryError
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.text import printable

FIRST_ROUND = 16
"""Specimens per picture of the query in the first round; each round asks for four times as many."""

MOST_PICTURES = 1000
"""Pictures of a query at most: each is one search. More are no specimen, but a class or a site."""

VALUES_BATCH = 256
"""Specimens that are read at once."""

PAIRS_BATCH = 4096
"""Pictures of a specimen that are compared at once."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A specimen that was found: its score, and its picture that is most like one of the query."""

    score: float
    picture: Payload


@dataclass(frozen=True, slots=True, eq=False)
class SpecimenQuery:
    """The pictures of a query, and what may be found.

    Attributes:
        vectors: ``(m, 32) float32`` of its pictures.
        where: filter of the images that count, without its own.
        field: whose values are specimens.
        note: the specimens that it is, or that none is known.
    """

    vectors: NDArray[np.float32]
    where: Filter
    field: Field
    note: str


def query_of(
    store: VectorStore, scope: Scope, given: Sequence[tuple[ResolvedQuery, Sequence[Payload]]]
) -> SpecimenQuery:
    """Return the query of given pictures: all images of their specimens, and those of none.

    Beside each picture are the indexed images that it is, or has the bytes of. The field of the
    specimens is ``scope.not_same``.

    Raises:
        QueryError: the scope has no such field, or there are more than `MOST_PICTURES`.
    """
    field = scope.not_same
    if field is None:
        raise QueryError("specimens are the values of a field; name one")
    known = [payload for _, payloads in given for payload in payloads]
    values = field.values(known)
    name = printable(field.name)
    count = store.count(Filter(where=field.any_of(values))) if values else 0
    if count > MOST_PICTURES:
        raise QueryError(
            f"{count:,} images have the {name} of the query, and a specimen has at most "
            f"{MOST_PICTURES:,}; name a field that tells specimens apart"
        )
    pictures, vectors = _read(store, Filter(), field, values)
    alone = [
        one.vector
        for one, payloads in given
        if one.vector is not None and not any(field.of(payload) is not None for payload in payloads)
    ]
    where, _ = scope.of(known)
    where = replace(
        where,
        exclude=frozenset(picture.id for picture in pictures),
        exclude_sha256=frozenset(one.sha256 for one, _ in given if one.sha256),
    )
    told = [f"{len(pictures):,} images of {shown(value)}" for value in values[:1]]
    if len(values) > 1:
        told = [f"{len(pictures):,} images of {len(values):,} values"]
    if alone:
        told.append(f"{len(alone):,} whose {name} is not known, and that stands for itself")
    note = f"searched by {name}: {' and '.join(told)}"
    return SpecimenQuery(np.array([*vectors, *alone], np.float32), where, field, note)


def best_specimens(store: VectorStore, query: SpecimenQuery, k: int) -> list[Specimen]:
    """Return the ``k`` best specimens of a query, best first.

    Exact: specimens that were not read have no better score than the mean of the worst cosines of
    those that were found for each picture, and rounds are repeated until ``k`` have a better one.
    Equal scores, at `SCORE_DIGITS` decimals, are ordered by the path of the picture.
    """
    vectors, where, field = query.vectors, query.where, query.field
    queries = [VectorQuery(vector, where) for vector in vectors]
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    size = max(FIRST_ROUND, 2 * k)
    while True:
        near = best_of_each(store, queries, field, size)
        values = field.values(one.payload for row in near for one in row)
        found = _scored(store, unit, where, field, values)[:k]
        unseen = np.mean([row[-1].score if len(row) == size else -2.0 for row in near])
        enough = len(found) == k and found[-1].score > round(float(unseen), SCORE_DIGITS)
        if enough or all(len(row) < size for row in near):
            return found
        size *= 4


def _scored(
    store: VectorStore,
    unit: NDArray[np.float64],
    where: Filter,
    field: Field,
    values: Sequence[Any],
) -> list[Specimen]:
    """Return specimens with their scores, best first."""
    payloads, vectors = _read(store, where, field, values)
    rows: dict[Any, list[int]] = {}
    for row, payload in enumerate(payloads):
        rows.setdefault(field.key(payload), []).append(row)
    found = []
    for own in rows.values():
        best, nearest, highest = np.full(len(unit), -1.0), own[0], -1.0
        for start in range(0, len(own), PAIRS_BATCH):
            some = own[start : start + PAIRS_BATCH]
            cosines = np.clip(unit @ vectors[some].T.astype(np.float64), -1, 1)
            best = np.maximum(best, cosines.max(axis=1))
            if cosines.max() > highest:
                nearest, highest = some[int(cosines.max(axis=0).argmax())], float(cosines.max())
        found.append(Specimen(round(float(best.mean()), SCORE_DIGITS), payloads[nearest]))
    return sorted(found, key=lambda one: (-one.score, one.picture.path))


def _read(
    store: VectorStore, where: Filter, field: Field, values: Sequence[Any]
) -> tuple[list[Payload], NDArray[np.float32]]:
    points: list[Point] = []
    for start in range(0, len(values), VALUES_BATCH):
        some = field.any_of(values[start : start + VALUES_BATCH])
        only = replace(where, where=both(where.where, some))
        points += [point for batch in store.scan(only, vectors=True) for point in batch]
    points.sort(key=lambda point: point.payload.path)
    vectors = [point.vector for point in points if point.vector is not None]
    array = np.array(vectors, dtype=np.float32).reshape(-1, EMBEDDING_DIM)
    return [point.payload for point in points], array
