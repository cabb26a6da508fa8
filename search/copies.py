"""The indexed images with the same bytes as a query, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from geosim.ingest.schema import Filter, Point
from geosim.ingest.store.base import TIE_MARGIN, VectorStore

MANY = TIE_MARGIN
"""Number of copies above which they are read once for all queries, and left out of the engine's
answers, in which they would tie."""


class Copies:
    """The byte-identical images in a collection, for the queries of one search."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._many: dict[tuple[str, tuple[Filter, ...]], list[Point]] = {}

    def of(self, sha256: str, filters: Sequence[Filter] = (Filter(),)) -> list[Point]:
        """Return the images with a hash that match one of ``filters``, sorted by path.

        There are none for an empty hash.
        """
        if not sha256:
            return []
        key = (sha256, tuple(filters))
        if key in self._many:
            return self._many[key]
        points = sorted(self._read(sha256, filters), key=lambda point: point.payload.path)
        if len(points) > MANY:
            self._many[key] = points
        return points

    def _read(self, sha256: str, filters: Sequence[Filter]) -> Iterator[Point]:
        wheres = [replace(where, sha256=sha256) for where in filters]
        batches = chain.from_iterable(self._store.scan(where, vectors=True) for where in wheres)
        return chain.from_iterable(batches)
