"""Which indexed images look like this one: the k nearest by cosine, a radius, the best per class.

Owns what is asked of the store and how answers are put together. An image never lists itself;
equal scores are ordered by path; an image with the very same bytes comes first and is marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from geosim.ingest.schema import Filter, ScoredPoint, VectorQuery
from geosim.ingest.store.protocol import VectorStore
from geosim.search.resolver import QueryLike, ResolvedQuery, Resolver
from geosim.search.types import DEFAULT_K, Result, SearchOptions, ranked_hits
from geosim.trainer.errors import QueryError
from geosim.trainer.working import Working
from numpy.typing import NDArray

QUERY_BATCH = 128
"""Queries resolved, embedded and asked together."""

ANYTHING = SearchOptions()


class Searcher:
    """Answers queries from one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open for searching.

        Raises:
            StoreError: there is no collection, or it is empty.
            ModelMismatchError: the model in ``working`` is not the collection's.
        """
        self._store = store
        self._resolver = Resolver(store, working)

    def search(
        self, examples: Iterable[QueryLike], options: SearchOptions = ANYTHING
    ) -> Iterator[Result]:
        """Yield one result per example, in order.

        Args:
            examples: image files, stored paths of indexed images, pictures in memory, embeddings.
            options: which hits.

        Raises:
            QueryError: no indexed image has the class asked for.
            ModelError: an image must be embedded and there is no model.
        """
        groups = self._groups(options)
        remaining = iter(examples)
        while batch := list(islice(remaining, QUERY_BATCH)):
            yield from self._answers(self._resolver.resolve(batch), options, groups)

    def resolve(self, example: QueryLike) -> ResolvedQuery:
        """Return an example with its vector, to be asked about several times.

        Raises:
            QueryError: it has none.
            ModelError: it must be embedded and there is no model.
        """
        (resolved,) = self._resolver.resolve([example])
        if resolved.error is not None:
            raise QueryError(resolved.error)
        return resolved

    def answer(self, resolved: ResolvedQuery, options: SearchOptions = ANYTHING) -> Result:
        """Return what looks like one example that has its vector.

        Raises:
            QueryError: no indexed image has the class asked for.
        """
        (result,) = self._answers([resolved], options, self._groups(options))
        return result

    def together(
        self,
        positive: Sequence[QueryLike],
        negative: Sequence[QueryLike] = (),
        options: SearchOptions = ANYTHING,
    ) -> Result:
        """Find what looks like several examples at once, and not like others.

        Args:
            positive: at least one example.
            negative: counter-examples.
            options: which hits.

        Raises:
            QueryError: an example has no vector, or what `answer_together` refuses.
            ModelError: an image must be embedded and there is no model.
        """
        resolved = self._resolver.resolve([*positive, *negative])
        return self.answer_together(resolved[: len(positive)], resolved[len(positive) :], options)

    def answer_together(
        self,
        positive: Sequence[ResolvedQuery],
        negative: Sequence[ResolvedQuery] = (),
        options: SearchOptions = ANYTHING,
    ) -> Result:
        """Return what looks like several examples that have their vectors.

        The query is Qdrant's recommendation by average vector: the mean of the examples, moved
        away from the mean of the counter-examples by their difference. Neither they nor copies of
        them are among the hits.

        Args:
            positive: at least one example.
            negative: counter-examples.
            options: which hits.

        Raises:
            QueryError: there is none, they cancel each other out, or no indexed image has the class
                that is options.
        """
        if not positive:
            raise QueryError("name at least one example to look for")
        resolved = [*positive, *negative]
        vectors = [_vector(one) for one in resolved]
        vector = average(vectors[: len(positive)], vectors[len(positive) :])
        if not vector.any():
            raise QueryError("these examples cancel each other out; leave one away")
        indexed = {one.indexed.id for one in resolved if one.indexed is not None}
        copies = {twin.payload.id for one in resolved for twin in self._resolver.twins(one, None)}
        asked = self._asked(vector, frozenset(indexed | copies), options, self._groups(options))
        matches = [match for found in self._ask(asked, options) for match in found]
        names = " + ".join(one.text for one in positive)
        names += "".join(f" - {one.text}" for one in negative)
        return Result(names, ranked_hits(matches, "", self._limit(options)))

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first new picture."""
        self._resolver.warm_up()

    def _groups(self, options: SearchOptions) -> list[str]:
        """Return the values to find the best hit of; none where hits are not grouped.

        Raises:
            QueryError: no indexed image has the class asked for.
        """
        if options.label is not None and options.label not in (
            known := self._store.values("class")
        ):
            raise QueryError(
                f"no indexed image has the class {options.label!r}; expected one of "
                f"{', '.join(known)}"
            )
        if options.one_per == "class" and options.label is not None:
            return [options.label]
        return [] if options.one_per is None else list(self._store.values(options.one_per))

    def _asked(
        self,
        vector: NDArray[np.float32],
        exclude: frozenset[str],
        options: SearchOptions,
        groups: Sequence[str],
    ) -> list[VectorQuery]:
        """Return what is asked of the store for one vector: one query, or one per group."""
        where = Filter(label=options.label, exclude=exclude)
        wheres = [where]
        if options.one_per == "class":
            wheres = [replace(where, label=value) for value in groups]
        elif options.one_per == "dataset":
            wheres = [replace(where, dataset=value) for value in groups]
        return [VectorQuery(vector, one, options.min_score) for one in wheres]

    def _ask(self, asked: Sequence[VectorQuery], options: SearchOptions) -> list[list[ScoredPoint]]:
        limit = 1 if options.one_per else self._limit(options)
        return self._store.query(asked, limit or self._store.count())

    @staticmethod
    def _limit(options: SearchOptions) -> int | None:
        """Return how many hits there may be; None for all within the radius."""
        return DEFAULT_K if options.k is None and options.min_score is None else options.k

    def _answers(
        self, resolved: Sequence[ResolvedQuery], options: SearchOptions, groups: Sequence[str]
    ) -> Iterator[Result]:
        asked: list[VectorQuery] = []
        for one in resolved:
            if one.error is None and one.vector is not None:
                own = frozenset((one.indexed.id,)) if one.indexed else frozenset()
                asked += self._asked(one.vector, own, options, groups)
        answers = iter(self._ask(asked, options))
        for one in resolved:
            if one.error is not None:
                yield Result(one.text, error=one.error)
                continue
            found = [match for own in islice(answers, len(groups) or 1) for match in own]
            matches = {match.payload.path: match for match in found}
            if options.one_per is None:  # many ties may have kept a copy out
                for twin in self._resolver.twins(one, options.label):
                    matches.setdefault(twin.payload.path, ScoredPoint(twin.payload, 1.0))
            hits = ranked_hits(matches.values(), one.sha256, self._limit(options))
            yield Result(one.text, hits, one.indexed)


def average(
    positive: Sequence[NDArray[np.float32]], negative: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the query vector of a recommendation by average vector, as Qdrant defines it.

    ``2 mean(positive) - mean(negative)``, or ``mean(positive)`` without negative examples.

    Args:
        positive: at least one ``(32,) float32``; scaled to L2 norm 1, as Qdrant stores them.
        negative: the same, possibly none.
    """
    mean = np.mean([one / np.linalg.norm(one) for one in positive], axis=0)
    if negative:
        mean = 2 * mean - np.mean([one / np.linalg.norm(one) for one in negative], axis=0)
    return np.asarray(mean, dtype=np.float32)


def _vector(one: ResolvedQuery) -> NDArray[np.float32]:
    if one.error is not None or one.vector is None:
        raise QueryError(f"{one.text}: {one.error}")
    return one.vector
