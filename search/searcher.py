"""Searches one collection: the k nearest by cosine, a radius, the best per group, recommendations.

An indexed image is never among its own hits, but it is among those of a part of it. Hits with the
same bytes as the query come first and are marked; equal scores are ordered by path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Filter, ScoredPoint, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.search.average import average
from geosim.search.copies import Copies
from geosim.search.crop import Crop
from geosim.search.itself import known_of, scored, without
from geosim.search.queries import QueryLike, ResolvedQuery, fresh, read_queries
from geosim.search.resolver import Resolver
from geosim.search.resolvers import Resolvers
from geosim.search.scope import Scope, best_of_each, open_scope
from geosim.search.specimens import best_specimens, hits_of, query_of
from geosim.search.types import Result, SearchOptions, ranked_hits
from geosim.trainer.errors import QueryError
from geosim.trainer.text import encodable
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
        """Open a collection for searching, with the model that made it.

        The collection may be replaced at any time; answers are those of one, by its own model.

        Raises:
            StoreError: there is no collection, or it is empty.
            ModelMismatchError: ``working`` has models, but not the collection's.
        """
        self._store, self._resolvers = store, Resolvers(store, working)

    def search(
        self,
        queries: Iterable[QueryLike],
        options: SearchOptions = DEFAULT_OPTIONS,
        crop: Crop | None = None,
    ) -> Iterator[Result]:
        """Return one result per query, in order, computed while they are iterated.

        With ``crop`` each picture is searched by that part of it.

        Raises:
            QueryError: an option names no field, its expression cannot be read, or no indexed image
                is in the class, matches, or has the field of one hit per value; raised at the call.
            ModelError, ModelMismatchError: an image must be embedded and the model is not there.
        """
        scope = open_scope(self._store, options)
        copies = defaultdict[Resolver, Copies](lambda: Copies(self._store))

        def answers(batch: Sequence[ResolvedQuery]) -> list[Result]:
            def answer(resolver: Resolver) -> list[Result]:
                resolved = resolver.resolve(fresh(batch), copies[resolver], crop)
                return self._results(resolver, resolved, options, scope, copies[resolver])

            return self._resolvers.consistently(answer)

        return chain.from_iterable(answers(read_queries(batch)) for batch in _batches(queries))

    def resolve(self, query: QueryLike | ResolvedQuery, crop: Crop | None = None) -> ResolvedQuery:
        """Return a query with its vector, so that it can be searched with several times.

        With ``crop`` it is the vector of that part of the picture. `consistently` holds this and
        the searches together where the collection may be replaced.

        Raises:
            QueryError: it has no vector.
            ModelError, ModelMismatchError: it must be embedded and the model is not there.
        """
        read = read_queries([query])
        (resolved,) = self._resolvers.consistently(
            lambda resolver: resolver.resolve(fresh(read), Copies(self._store), crop)
        )
        if resolved.error is not None:
            raise QueryError(resolved.error)
        return resolved

    def search_resolved(
        self, query: ResolvedQuery, options: SearchOptions = DEFAULT_OPTIONS
    ) -> Result:
        """Return the result of one query that has its vector; see `search`."""
        scope, copies = open_scope(self._store, options), Copies(self._store)
        (result,) = self._resolvers.consistently(
            lambda resolver: self._results(resolver, [query], options, scope, copies)
        )
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
                each other out, or as in `search`.
            ModelError, ModelMismatchError: an image must be embedded and the model is not there.
        """
        if not positive:
            raise QueryError("name at least one example to look for")
        likes, others = read_queries(positive), read_queries(negative)
        return self._resolvers.consistently(
            lambda resolver: self._recommend(resolver, likes, others, options, crop)
        )

    def _recommend(
        self,
        resolver: Resolver,
        positive: Sequence[ResolvedQuery],
        negative: Sequence[ResolvedQuery],
        options: SearchOptions,
        crop: Crop | None,
    ) -> Result:
        copies = Copies(self._store)
        examples = resolver.resolve(fresh(positive), copies, crop)
        examples += resolver.resolve(fresh(negative), copies)
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
        scope = open_scope(self._store, options)
        known = [known_of(one, copies) for one in examples[:count]] if scope.not_same else []
        where, note = scope.of(chain.from_iterable(known))
        if scope.not_same is not None and note is None and not all(known):
            note = "some examples are not indexed, so no hit is left out for them"
        where = replace(where, exclude=own, exclude_sha256=hashes, exclude_paths=paths)
        (matches,) = self._matches([(vector, where)], options, scope)
        text = " + ".join(one.text for one in examples[:count])
        text += "".join(f" - {one.text}" for one in examples[count:])
        hits = ranked_hits(matches, "", options.limit, scope.shown)
        return Result(text, hits, note=note, approximate=self._approximates(options))

    def search_specimens(
        self,
        queries: Sequence[QueryLike | ResolvedQuery],
        by: str,
        options: SearchOptions = DEFAULT_OPTIONS,
        *,
        together: bool = False,
    ) -> Iterator[Result]:
        """Return the best specimens for each query, computed while they are iterated.

        A specimen is all indexed images with one value of the field ``by``. A query stands for all
        images of its own specimen, which is not among the hits; one that is not indexed, or has no
        value, for itself alone, as the result's note tells. A hit is the image of a specimen that
        is most like one of the query, with the score of the specimen (`search/specimens.py`), and
        shows the field; `Hit.specimen` has the other images. ``together`` makes one query of all.
        ``options`` say which images count, and the least score of a specimen.

        Raises:
            QueryError: an option cannot be combined with this, or as in `search`; raised at the
                call. With ``together``, also an example that has no vector.
            ModelError, ModelMismatchError: an image must be embedded and the model is not there.
        """
        if options.one_per is not None or options.not_same is not None:
            raise QueryError("specimens are ranked without one_per and not_same; leave them out")
        options = replace(options, not_same=by, show=(by, *options.show))
        scope = open_scope(self._store, options)
        groups = [[*queries]] if together else [[one] for one in queries]

        def answer(group: Sequence[QueryLike | ResolvedQuery]) -> Result:
            read = read_queries(group)
            return self._resolvers.consistently(
                lambda resolver: self._specimens(resolver, read, options, scope)
            )

        return map(answer, groups)

    def _specimens(
        self,
        resolver: Resolver,
        group: Sequence[ResolvedQuery],
        options: SearchOptions,
        scope: Scope,
    ) -> Result:
        copies = Copies(self._store)
        resolved = resolver.look_up(fresh(group), copies)
        given = [(one, known_of(one, copies)) for one in resolved]
        resolver.resolve([one for one, known in given if scope.is_alone(known)], copies)
        text = encodable(" + ".join(one.text for one in resolved))
        for one in resolved:
            if one.error is not None and len(resolved) > 1:
                raise QueryError(f"{one.text}: {one.error}")
            if one.error is not None:
                return Result(text, error=one.error)
        query = query_of(self._store, scope, given)
        found = best_specimens(self._store, query, options.limit or self._store.count())
        least = -1.0 if options.min_score is None else options.min_score
        hits = hits_of([one for one in found if one.score >= least], query.field, scope.shown)
        indexed = resolved[0].indexed if len(resolved) == 1 else None
        return Result(text, hits, indexed, note=query.note)

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first query that needs it."""
        self._resolvers.warm_up()

    def _matches(
        self,
        vectors: Sequence[tuple[NDArray[np.float32], Filter]],
        options: SearchOptions,
        scope: Scope,
    ) -> list[list[ScoredPoint]]:
        """Return the matches of each vector, which has its filter beside it."""
        exact = not self._approximates(options)
        requests = [
            VectorQuery(vector, where, options.min_score, exact) for vector, where in vectors
        ]
        if scope.one_per is not None:
            return best_of_each(self._store, requests, scope.one_per, options.limit)
        return self._store.query(requests, options.limit or self._store.count())

    def _approximates(self, options: SearchOptions) -> bool:
        """Return whether an index of the engine may choose the hits.

        It misses many of a filter's: 2 of 10 of a class of 10,000,000 points.
        """
        compares_all = options.exact or options.limit is None or options.narrows
        return not compares_all and self._store.approximates()

    def _results(
        self,
        resolver: Resolver,
        queries: Sequence[ResolvedQuery],
        options: SearchOptions,
        scope: Scope,
        copies: Copies,
    ) -> list[Result]:
        asked = [query for query in queries if query.error is None and query.vector is not None]
        wheres, notes, identical = [], [], []
        for query in asked:
            where, note = scope.of(known_of(query, copies) if scope.not_same else ())
            same = copies.of(query.sha256, where) if scope.one_per is None else []
            notes.append(note)
            identical.append(same)
            wheres.append(without(where, query, same))
        vectors = [query.vector for query in asked if query.vector is not None]
        found = self._matches(list(zip(vectors, wheres, strict=True)), options, scope)
        answers, results = zip(found, identical, notes, strict=True), list[Result]()
        approximate = self._approximates(options)
        for query in queries:
            text = encodable(query.text)
            if query.error is not None:
                results.append(Result(text, error=query.error))
                continue
            points, same, note = next(answers)
            matches = {match.payload.path: match for match in points}
            own = None if query.indexed is None else query.indexed.path
            others = (one for one in scored(same, query.vector) if one.payload.path != own)
            for match in islice(others, options.limit):  # may be missing behind many ties
                matches.setdefault(match.payload.path, match)
            hits = ranked_hits(matches.values(), query.sha256, options.limit, scope.shown)
            crop, model = query.crop, resolver.fingerprint
            results.append(Result(text, hits, query.indexed, None, crop, note, model, approximate))
        return results


def _batches(queries: Iterable[QueryLike]) -> Iterator[list[QueryLike]]:
    remaining, size = iter(queries), FIRST_BATCH
    while batch := list(islice(remaining, size)):
        yield batch
        size = min(2 * size, RESOLVE_BATCH)
