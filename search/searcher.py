"""Searches one collection: the k nearest by cosine, a radius, the best per group, recommendations.

An indexed image is never among its own hits. Hits with the same bytes as the query come first and
are marked; equal scores are ordered by path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Filter, ScoredPoint, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.search.resolver import QueryLike, ResolvedQuery, Resolver
from geosim.search.types import Result, SearchOptions, ranked_hits
from geosim.trainer.errors import QueryError
from geosim.trainer.text import stored_name
from geosim.trainer.working import Working

RESOLVE_BATCH = 128
"""Number of queries that are resolved, embedded and searched together."""

DEFAULT_OPTIONS = SearchOptions()
"""The `DEFAULT_K` nearest images of all classes."""


class Searcher:
    """Answers queries from one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open a collection for searching; raise the errors of `Resolver`."""
        self._store = store
        self._resolver = Resolver(store, working)

    def search(
        self, queries: Iterable[QueryLike], options: SearchOptions = DEFAULT_OPTIONS
    ) -> Iterator[Result]:
        """Return one result per query, in order, computed while they are iterated.

        Raises:
            QueryError: no indexed image has the class in ``options``; raised at the call.
            ModelError: an image must be embedded and there is no model.
        """
        filters, remaining = self._filters(options), iter(queries)
        batches = iter(lambda: list(islice(remaining, RESOLVE_BATCH)), [])
        return chain.from_iterable(
            self._search_batch(self._resolver.resolve(batch), options, filters) for batch in batches
        )

    def resolve(self, query: QueryLike) -> ResolvedQuery:
        """Return a query with its vector, so that it can be searched with several times.

        Raises:
            QueryError: it has no vector.
            ModelError: it must be embedded and there is no model.
        """
        (resolved,) = self._resolver.resolve([query])
        if resolved.error is not None:
            raise QueryError(resolved.error)
        return resolved

    def search_resolved(
        self, query: ResolvedQuery, options: SearchOptions = DEFAULT_OPTIONS
    ) -> Result:
        """Return the result of one query that has its vector; see `search`."""
        (result,) = self._search_batch([query], options, self._filters(options))
        return result

    def recommend(
        self,
        positive: Sequence[QueryLike | ResolvedQuery],
        negative: Sequence[QueryLike | ResolvedQuery] = (),
        options: SearchOptions = DEFAULT_OPTIONS,
    ) -> Result:
        """Find images that are like all positive examples and unlike the negative ones.

        The query vector is `average`. The examples and byte-identical copies of them are not among
        the hits.

        Raises:
            QueryError: there is no positive example, an example has no vector, the examples cancel
                each other out, or no indexed image has the class in ``options``.
            ModelError: an image must be embedded and there is no model.
        """
        if not positive:
            raise QueryError("name at least one example to look for")
        examples = self._resolver.resolve([*positive, *negative])
        for one in examples:
            if one.error is not None:
                raise QueryError(f"{one.text}: {one.error}")
        count = len(positive)
        vectors = [one.vector for one in examples if one.vector is not None]
        vector = average(vectors[:count], vectors[count:])
        if not vector.any():
            raise QueryError("these examples cancel each other out; leave one out")
        copies = chain.from_iterable(self._resolver.identical(one) for one in examples)
        exclude = frozenset(copy.payload.id for copy in copies)
        exclude = exclude.union(*(one.own_ids for one in examples))
        (matches,) = self._matches([(vector, exclude)], options, self._filters(options))
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
                raise QueryError(
                    f"no indexed image has the class {options.label!r}; expected one of "
                    f"{', '.join(classes)}"
                )
        if options.one_per is None or (options.one_per == "class" and options.label is not None):
            return [Filter(label=label) for label in labels]
        values = self._store.values(options.one_per)
        if options.one_per == "class":
            return [Filter(label=value) for value in values]
        return [Filter(label=label, dataset=value) for value in values for label in labels]

    def _matches(
        self,
        vectors: Sequence[tuple[NDArray[np.float32], frozenset[str]]],
        options: SearchOptions,
        filters: Sequence[Filter],
    ) -> Iterator[Iterable[ScoredPoint]]:
        """Yield the matches of each vector; each has the ids to exclude beside it."""
        requests = [
            VectorQuery(vector, replace(where, exclude=exclude), options.min_score)
            for vector, exclude in vectors
            for where in filters
        ]
        limit = 1 if options.one_per else options.limit
        found = iter(self._store.query(requests, limit or self._store.count()))
        for _ in vectors:
            yield chain.from_iterable(islice(found, len(filters)))

    def _search_batch(
        self, queries: Sequence[ResolvedQuery], options: SearchOptions, filters: Sequence[Filter]
    ) -> Iterator[Result]:
        found = self._matches(
            [(q.vector, q.own_ids) for q in queries if q.error is None and q.vector is not None],
            options,
            filters,
        )
        for query in queries:
            if query.error is not None:
                yield Result(query.text, error=query.error)
                continue
            matches = {match.payload.path: match for match in next(found)}
            if options.one_per is None:  # identical images may be missing behind many ties
                for point in self._resolver.identical(query, filters):
                    matches.setdefault(point.payload.path, ScoredPoint(point.payload, 1.0))
            hits = ranked_hits(matches.values(), query.sha256, options.limit)
            yield Result(query.text, hits, query.indexed)


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
