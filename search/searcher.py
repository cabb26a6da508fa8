"""Searches one collection: the k nearest by cosine, a radius, the best per group, recommendations.

An indexed image is never among its own hits, but it is among those of a part of it. Hits with the
same bytes as the query come first and are marked; equal scores are ordered by path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby, islice

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Filter, Point, ScoredPoint, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.search.copies import MANY, Copies
from geosim.search.crop import Crop
from geosim.search.queries import QueryLike, ResolvedQuery
from geosim.search.resolver import Resolver
from geosim.search.types import Result, SearchOptions, ranked_hits
from geosim.trainer.errors import QueryError
from geosim.trainer.text import encodable, stored_name
from geosim.trainer.working import Working

FIRST_BATCH = 8
"""Number of queries that are resolved, embedded and searched first, so that answers come soon."""

RESOLVE_BATCH = 64
"""Largest number of queries that are resolved, embedded and searched together; batches double up to
it. On 2,000 tiles, 128 saved 2 % of the processor time."""

DEFAULT_OPTIONS = SearchOptions()
"""The `DEFAULT_K` nearest images of all classes."""


class Searcher:
    """Answers queries from one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open a collection for searching; raise the errors of `Resolver`."""
        self._store = store
        self._resolver = Resolver(store, working)

    def search(
        self,
        queries: Iterable[QueryLike],
        options: SearchOptions = DEFAULT_OPTIONS,
        crop: Crop | None = None,
    ) -> Iterator[Result]:
        """Return one result per query, in order, computed while they are iterated.

        With ``crop`` each picture is searched by that part of it.

        Raises:
            QueryError: no indexed image has the class in ``options``, or any with one hit per
                class; raised at the call.
            ModelError: an image must be embedded and there is no model.
        """
        filters, copies = self._filters(options), Copies(self._store)
        resolved = (self._resolver.resolve(batch, copies, crop) for batch in _batches(queries))
        return chain.from_iterable(
            self._search_batch(batch, options, filters, copies) for batch in resolved
        )

    def resolve(self, query: QueryLike | ResolvedQuery, crop: Crop | None = None) -> ResolvedQuery:
        """Return a query with its vector, so that it can be searched with several times.

        With ``crop`` it is the vector of that part of the picture.

        Raises:
            QueryError: it has no vector.
            ModelError: it must be embedded and there is no model.
        """
        (resolved,) = self._resolver.resolve([query], Copies(self._store), crop)
        if resolved.error is not None:
            raise QueryError(resolved.error)
        return resolved

    def search_resolved(
        self, query: ResolvedQuery, options: SearchOptions = DEFAULT_OPTIONS
    ) -> Result:
        """Return the result of one query that has its vector; see `search`."""
        filters, copies = self._filters(options), Copies(self._store)
        (result,) = self._search_batch([query], options, filters, copies)
        return result

    def recommend(
        self,
        positive: Sequence[QueryLike | ResolvedQuery],
        negative: Sequence[QueryLike | ResolvedQuery] = (),
        options: SearchOptions = DEFAULT_OPTIONS,
        crop: Crop | None = None,
    ) -> Result:
        """Find images that are like all positive examples and unlike the negative ones.

        The query vector is `average`. The examples and byte-identical copies of them are not among
        the hits. With ``crop`` that part of each positive example is taken in place of the whole.

        Raises:
            QueryError: there is no positive example, an example has no vector, the examples cancel
                each other out, or no indexed image has the class in ``options``.
            ModelError: an image must be embedded and there is no model.
        """
        if not positive:
            raise QueryError("name at least one example to look for")
        copies = Copies(self._store)
        examples = self._resolver.resolve(positive, copies, crop)
        examples += self._resolver.resolve(negative, copies)
        for one in examples:
            if one.error is not None:
                raise QueryError(f"{one.text}: {one.error}")
        count = len(positive)
        vectors = [one.vector for one in examples if one.vector is not None]
        vector = average(vectors[:count], vectors[count:])
        if not vector.any():
            raise QueryError("these examples cancel each other out; leave one out")
        own = frozenset[str]().union(*(one.own_ids for one in examples))
        hashes = frozenset(one.sha256 for one in examples if one.sha256)
        paths = frozenset[str]().union(*(one.own_paths for one in examples))
        without = Filter(exclude=own, exclude_sha256=hashes, exclude_paths=paths)
        (matches,) = self._matches([(vector, without)], options, self._filters(options))
        text = " + ".join(one.text for one in examples[:count])
        text += "".join(f" - {one.text}" for one in examples[count:])
        return Result(text, ranked_hits(matches, "", options.limit))

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first query that needs it."""
        self._resolver.warm_up()

    def _filters(self, options: SearchOptions) -> list[Filter]:
        """Return one filter per group, or a single one if hits are not grouped."""
        labels: list[str | None] = [None]
        if options.label is not None:
            classes = self._store.values("class")
            labels = [one for one in classes if stored_name(one) == stored_name(options.label)]
            if not labels:
                expected = f"expected one of {', '.join(classes)}" if classes else "none has any"
                raise QueryError(f"no indexed image has the class {options.label!r}; {expected}")
        if options.one_per is None or (options.one_per == "class" and options.label is not None):
            return [Filter(label=label) for label in labels]
        values = self._store.values(options.one_per)
        if not values:
            raise QueryError(
                "no indexed image has a class, so there is no best hit of each; search without one "
                "per class"
            )
        if options.one_per == "class":
            return [Filter(label=value) for value in values]
        return [Filter(label=label, dataset=value) for value in values for label in labels]

    def _matches(
        self,
        vectors: Sequence[tuple[NDArray[np.float32], Filter]],
        options: SearchOptions,
        filters: Sequence[Filter],
    ) -> Iterator[Iterable[ScoredPoint]]:
        """Yield the matches of each vector; each has what to exclude beside it."""
        requests = [
            VectorQuery(
                vector,
                replace(
                    where,
                    exclude=out.exclude,
                    exclude_sha256=out.exclude_sha256,
                    exclude_paths=out.exclude_paths,
                ),
                options.min_score,
            )
            for vector, out in vectors
            for where in filters
        ]
        limit = 1 if options.one_per else options.limit
        found = iter(self._store.query(requests, limit or self._store.count()))
        for _ in vectors:
            yield chain.from_iterable(islice(found, len(filters)))

    def _search_batch(
        self,
        queries: Sequence[ResolvedQuery],
        options: SearchOptions,
        filters: Sequence[Filter],
        copies: Copies,
    ) -> Iterator[Result]:
        grouped = options.one_per is not None
        identical = [
            [] if grouped or q.error is not None else copies.of(q.sha256, filters) for q in queries
        ]
        vectors = [
            (query.vector, _without(query, same))
            for query, same in zip(queries, identical, strict=True)
            if query.error is None and query.vector is not None
        ]
        found = self._matches(vectors, options, filters)
        for query, same in zip(queries, identical, strict=True):
            if query.error is not None:
                yield Result(encodable(query.text), error=query.error)
                continue
            matches = {match.payload.path: match for match in next(found)}
            own = None if query.indexed is None else query.indexed.path
            others = (one for one in _scored(same, query.vector) if one.payload.path != own)
            for match in islice(others, options.limit):  # may be missing behind many ties
                matches.setdefault(match.payload.path, match)
            hits = ranked_hits(matches.values(), query.sha256, options.limit)
            yield Result(encodable(query.text), hits, query.indexed, crop=query.crop)


def _without(query: ResolvedQuery, identical: Sequence[Point]) -> Filter:
    """Return what the engine leaves out of its answer: the query, and its copies if many."""
    hashes = frozenset((query.sha256,)) if len(identical) > MANY else frozenset[str]()
    return Filter(exclude=query.own_ids, exclude_sha256=hashes, exclude_paths=query.own_paths)


def _scored(
    identical: Iterable[Point], vector: NDArray[np.float32] | None
) -> Iterator[ScoredPoint]:
    """Yield the copies of a query's picture with their scores, each once: by its best tile."""
    for _, group in groupby(identical, key=lambda point: point.payload.path):
        points = list(group)
        scores = [1.0] * len(points)
        if vector is not None and points[0].payload.box is not None:
            stored = np.stack([point.vector for point in points if point.vector is not None])
            scores = (stored @ (vector / np.linalg.norm(vector))).tolist()
        best = max(range(len(points)), key=scores.__getitem__)
        yield ScoredPoint(points[best].payload, scores[best])


def _batches(queries: Iterable[QueryLike]) -> Iterator[list[QueryLike]]:
    remaining, size = iter(queries), FIRST_BATCH
    while batch := list(islice(remaining, size)):
        yield batch
        size = min(2 * size, RESOLVE_BATCH)


def average(
    positive: Sequence[NDArray[np.float32]], negative: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the query vector of Qdrant's recommendation by average vector.

    ``2 mean(positive) - mean(negative)``, or ``mean(positive)`` without negative examples. Each is
    ``(32,) float32`` and scaled to L2 norm 1 first, as Qdrant stores it.
    """
    mean = np.mean([one / np.linalg.norm(one) for one in positive], axis=0)
    if negative:
        mean = 2 * mean - np.mean([one / np.linalg.norm(one) for one in negative], axis=0)
    return np.asarray(mean, dtype=np.float32)
