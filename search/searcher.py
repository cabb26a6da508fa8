"""Searches one collection: the k nearest by cosine, a radius, the best per group, recommendations.

An indexed image is never among its own hits. Hits with the same bytes as the query come first and
are marked; equal scores are ordered by path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Filter, ScoredPoint, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.search.resolver import QueryLike, ResolvedQuery, Resolver
from geosim.search.types import DEFAULT_K, Result, SearchOptions, ranked_hits
from geosim.trainer.errors import QueryError
from geosim.trainer.working import Working

QUERY_BATCH = 128
"""Number of queries that are resolved, embedded and searched together."""

DEFAULT_OPTIONS = SearchOptions()
"""The `DEFAULT_K` nearest images of all classes."""


class Searcher:
    """Answers queries from one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open a collection for searching.

        Raises:
            StoreError: there is no collection, or it is empty.
            ModelMismatchError: the model in ``working`` is not the collection's.
        """
        self._store = store
        self._resolver = Resolver(store, working)

    def search(
        self, queries: Iterable[QueryLike], options: SearchOptions = DEFAULT_OPTIONS
    ) -> Iterator[Result]:
        """Yield one result per query, in order.

        Args:
            queries: image files, stored paths of indexed images, pictures in memory, embeddings.
            options: which hits.

        Raises:
            QueryError: no indexed image has the class in ``options``.
            ModelError: an image must be embedded and there is no model.
        """
        groups = self._groups(options)
        remaining = iter(queries)
        while batch := list(islice(remaining, QUERY_BATCH)):
            yield from self._search_batch(self._resolver.resolve(batch), options, groups)

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
        """Return the result of one query that has its vector.

        Raises:
            QueryError: no indexed image has the class in ``options``.
        """
        (result,) = self._search_batch([query], options, self._groups(options))
        return result

    def recommend(
        self,
        positive: Sequence[QueryLike],
        negative: Sequence[QueryLike] = (),
        options: SearchOptions = DEFAULT_OPTIONS,
    ) -> Result:
        """Find images that are like all positive examples and unlike the negative ones.

        Args:
            positive: at least one example.
            negative: counter-examples.
            options: which hits.

        Raises:
            QueryError: an example has no vector, or see `recommend_resolved`.
            ModelError: an image must be embedded and there is no model.
        """
        resolved = self._resolver.resolve([*positive, *negative])
        count = len(positive)
        return self.recommend_resolved(resolved[:count], resolved[count:], options)

    def recommend_resolved(
        self,
        positive: Sequence[ResolvedQuery],
        negative: Sequence[ResolvedQuery] = (),
        options: SearchOptions = DEFAULT_OPTIONS,
    ) -> Result:
        """Do what `recommend` does with examples that have their vectors.

        The query is Qdrant's recommendation by average vector, see `average`. The examples and
        byte-identical copies of them are not among the hits.

        Args:
            positive: at least one example.
            negative: counter-examples.
            options: which hits.

        Raises:
            QueryError: there is no positive example, the examples cancel each other out, or no
                indexed image has the class in ``options``.
        """
        if not positive:
            raise QueryError("name at least one example to look for")
        examples = [*positive, *negative]
        vectors = [_require_vector(example) for example in examples]
        vector = average(vectors[: len(positive)], vectors[len(positive) :])
        if not vector.any():
            raise QueryError("these examples cancel each other out; leave one out")
        exclude = {example.indexed.id for example in examples if example.indexed is not None}
        for example in examples:
            exclude |= {point.payload.id for point in self._resolver.identical(example, None)}
        groups = self._groups(options)
        requests = self._requests(vector, frozenset(exclude), options, groups)
        matches = [match for found in self._query_store(requests, options) for match in found]
        text = " + ".join(example.text for example in positive)
        text += "".join(f" - {example.text}" for example in negative)
        return Result(text, ranked_hits(matches, "", self._limit(options)))

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first query that needs it."""
        self._resolver.warm_up()

    def _groups(self, options: SearchOptions) -> list[str]:
        """Return the values to find the best hit of; empty if hits are not grouped.

        Raises:
            QueryError: no indexed image has the class in ``options``.
        """
        if options.label is not None:
            classes = self._store.values("class")
            if options.label not in classes:
                raise QueryError(
                    f"no indexed image has the class {options.label!r}; expected one of "
                    f"{', '.join(classes)}"
                )
            if options.one_per == "class":
                return [options.label]
        return [] if options.one_per is None else list(self._store.values(options.one_per))

    def _requests(
        self,
        vector: NDArray[np.float32],
        exclude: frozenset[str],
        options: SearchOptions,
        groups: Sequence[str],
    ) -> list[VectorQuery]:
        """Return the store queries for one vector: one, or one per group."""
        where = Filter(label=options.label, exclude=exclude)
        wheres = [where]
        if options.one_per == "class":
            wheres = [replace(where, label=value) for value in groups]
        elif options.one_per == "dataset":
            wheres = [replace(where, dataset=value) for value in groups]
        return [VectorQuery(vector, one, options.min_score) for one in wheres]

    def _query_store(
        self, requests: Sequence[VectorQuery], options: SearchOptions
    ) -> list[list[ScoredPoint]]:
        limit = 1 if options.one_per else self._limit(options)
        return self._store.query(requests, limit or self._store.count())

    @staticmethod
    def _limit(options: SearchOptions) -> int | None:
        """Return the maximum number of hits; None for all within the radius."""
        return DEFAULT_K if options.k is None and options.min_score is None else options.k

    def _search_batch(
        self, queries: Sequence[ResolvedQuery], options: SearchOptions, groups: Sequence[str]
    ) -> Iterator[Result]:
        requests: list[VectorQuery] = []
        for query in queries:
            if query.error is None and query.vector is not None:
                exclude = frozenset((query.indexed.id,)) if query.indexed else frozenset()
                requests += self._requests(query.vector, exclude, options, groups)
        responses = iter(self._query_store(requests, options))
        for query in queries:
            if query.error is not None:
                yield Result(query.text, error=query.error)
                continue
            found = [match for part in islice(responses, len(groups) or 1) for match in part]
            matches = {match.payload.path: match for match in found}
            if options.one_per is None:  # identical images may be missing behind many ties
                for point in self._resolver.identical(query, options.label):
                    matches.setdefault(point.payload.path, ScoredPoint(point.payload, 1.0))
            hits = ranked_hits(matches.values(), query.sha256, self._limit(options))
            yield Result(query.text, hits, query.indexed)


def average(
    positive: Sequence[NDArray[np.float32]], negative: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the query vector of Qdrant's recommendation by average vector.

    ``2 mean(positive) - mean(negative)``, or ``mean(positive)`` without negative examples.

    Args:
        positive: at least one ``(32,) float32``; scaled to L2 norm 1 first, as Qdrant stores them.
        negative: the same; may be empty.
    """
    mean = np.mean([one / np.linalg.norm(one) for one in positive], axis=0)
    if negative:
        mean = 2 * mean - np.mean([one / np.linalg.norm(one) for one in negative], axis=0)
    return np.asarray(mean, dtype=np.float32)


def _require_vector(query: ResolvedQuery) -> NDArray[np.float32]:
    if query.error is not None or query.vector is None:
        raise QueryError(f"{query.text}: {query.error}")
    return query.vector
