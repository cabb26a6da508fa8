"""Which indexed images look like this one: the k nearest by cosine, a radius, the best per class.

Owns what is asked of the store and how answers are put together. An image never lists itself;
equal scores are ordered by path; an image with the very same bytes comes first and is marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ingest.schema import Match, Nearest, Where
from ingest.store import VectorStore
from search.examples import Example, Resolved, Resolver
from search.hits import K, Result, Wanted, ranked_hits
from trainer.errors import QueryError
from trainer.working import Working

QUERY_BATCH = 128
"""Queries resolved, embedded and asked together."""

ANYTHING = Wanted()


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

    def search(self, examples: Iterable[Example], wanted: Wanted = ANYTHING) -> Iterator[Result]:
        """Yield one result per example, in order.

        Args:
            examples: image files, stored paths of indexed images, pictures in memory, embeddings.
            wanted: which hits.

        Raises:
            QueryError: no indexed image has the class that is wanted.
            ModelError: an image must be embedded and there is no model.
        """
        groups = self._groups(wanted)
        remaining = iter(examples)
        while batch := list(islice(remaining, QUERY_BATCH)):
            yield from self._answers(self._resolver.resolve(batch), wanted, groups)

    def resolve(self, example: Example) -> Resolved:
        """Return an example with its vector, to be asked about several times.

        Raises:
            QueryError: it has none.
            ModelError: it must be embedded and there is no model.
        """
        (resolved,) = self._resolver.resolve([example])
        if resolved.error is not None:
            raise QueryError(resolved.error)
        return resolved

    def answer(self, resolved: Resolved, wanted: Wanted = ANYTHING) -> Result:
        """Return what looks like one example that has its vector.

        Raises:
            QueryError: no indexed image has the class that is wanted.
        """
        (result,) = self._answers([resolved], wanted, self._groups(wanted))
        return result

    def together(
        self,
        likes: Sequence[Example],
        unlikes: Sequence[Example] = (),
        wanted: Wanted = ANYTHING,
    ) -> Result:
        """Find what looks like several examples at once, and not like others.

        Args:
            likes: at least one example.
            unlikes: counter-examples.
            wanted: which hits.

        Raises:
            QueryError: an example has no vector, or what `answer_together` refuses.
            ModelError: an image must be embedded and there is no model.
        """
        resolved = self._resolver.resolve([*likes, *unlikes])
        return self.answer_together(resolved[: len(likes)], resolved[len(likes) :], wanted)

    def answer_together(
        self,
        likes: Sequence[Resolved],
        unlikes: Sequence[Resolved] = (),
        wanted: Wanted = ANYTHING,
    ) -> Result:
        """Return what looks like several examples that have their vectors.

        The query is Qdrant's recommendation by average vector: the mean of the examples, moved
        away from the mean of the counter-examples by their difference. Neither they nor copies of
        them are among the hits.

        Args:
            likes: at least one example.
            unlikes: counter-examples.
            wanted: which hits.

        Raises:
            QueryError: there is none, they cancel each other out, or no indexed image has the class
                that is wanted.
        """
        if not likes:
            raise QueryError("name at least one example to look for")
        resolved = [*likes, *unlikes]
        vectors = [_vector(one) for one in resolved]
        vector = average(vectors[: len(likes)], vectors[len(likes) :])
        if not vector.any():
            raise QueryError("these examples cancel each other out; leave one away")
        indexed = {one.indexed.id for one in resolved if one.indexed is not None}
        copies = {twin.payload.id for one in resolved for twin in self._resolver.twins(one, None)}
        asked = self._asked(vector, frozenset(indexed | copies), wanted, self._groups(wanted))
        matches = [match for found in self._ask(asked, wanted) for match in found]
        names = " + ".join(one.text for one in likes)
        names += "".join(f" - {one.text}" for one in unlikes)
        return Result(names, ranked_hits(matches, "", self._limit(wanted)))

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first new picture."""
        self._resolver.warm_up()

    def _groups(self, wanted: Wanted) -> list[str]:
        """Return the values to find the best hit of; none where hits are not grouped.

        Raises:
            QueryError: no indexed image has the class that is wanted.
        """
        if wanted.label is not None and wanted.label not in (known := self._store.values("class")):
            raise QueryError(
                f"no indexed image has the class {wanted.label!r}; expected one of "
                f"{', '.join(known)}"
            )
        if wanted.one_per == "class" and wanted.label is not None:
            return [wanted.label]
        return [] if wanted.one_per is None else list(self._store.values(wanted.one_per))

    def _asked(
        self,
        vector: NDArray[np.float32],
        exclude: frozenset[str],
        wanted: Wanted,
        groups: Sequence[str],
    ) -> list[Nearest]:
        """Return what is asked of the store for one vector: one query, or one per group."""
        where = Where(label=wanted.label, exclude=exclude)
        wheres = [where]
        if wanted.one_per == "class":
            wheres = [replace(where, label=value) for value in groups]
        elif wanted.one_per == "dataset":
            wheres = [replace(where, dataset=value) for value in groups]
        return [Nearest(vector, one, wanted.min_score) for one in wheres]

    def _ask(self, asked: Sequence[Nearest], wanted: Wanted) -> list[list[Match]]:
        limit = 1 if wanted.one_per else self._limit(wanted)
        return self._store.query(asked, limit or self._store.count())

    @staticmethod
    def _limit(wanted: Wanted) -> int | None:
        """Return how many hits there may be; None for all within the radius."""
        return K if wanted.k is None and wanted.min_score is None else wanted.k

    def _answers(
        self, resolved: Sequence[Resolved], wanted: Wanted, groups: Sequence[str]
    ) -> Iterator[Result]:
        asked: list[Nearest] = []
        for one in resolved:
            if one.error is None and one.vector is not None:
                own = frozenset((one.indexed.id,)) if one.indexed else frozenset()
                asked += self._asked(one.vector, own, wanted, groups)
        answers = iter(self._ask(asked, wanted))
        for one in resolved:
            if one.error is not None:
                yield Result(one.text, error=one.error)
                continue
            found = [match for own in islice(answers, len(groups) or 1) for match in own]
            matches = {match.payload.path: match for match in found}
            if wanted.one_per is None:  # many ties may have kept a copy out
                for twin in self._resolver.twins(one, wanted.label):
                    matches.setdefault(twin.payload.path, Match(twin.payload, 1.0))
            hits = ranked_hits(matches.values(), one.sha256, self._limit(wanted))
            yield Result(one.text, hits, one.indexed)


def average(
    likes: Sequence[NDArray[np.float32]], unlikes: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the query vector of a recommendation by average vector, as Qdrant defines it.

    ``mean(likes) + (mean(likes) - mean(unlikes))``, or ``mean(likes)`` without counter-examples.

    Args:
        likes: at least one ``(32,) float32``; each is scaled to L2 norm 1, as Qdrant stores them.
        unlikes: the same, possibly none.
    """
    mean = np.mean([one / np.linalg.norm(one) for one in likes], axis=0)
    if unlikes:
        mean = 2 * mean - np.mean([one / np.linalg.norm(one) for one in unlikes], axis=0)
    return np.asarray(mean, dtype=np.float32)


def _vector(one: Resolved) -> NDArray[np.float32]:
    if one.error is not None or one.vector is None:
        raise QueryError(f"{one.text}: {one.error}")
    return one.vector
