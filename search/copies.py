"""The indexed images with the same bytes as a query, however many there are."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from geosim.ingest.schema import Filter, Point
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.ranking import TIE_MARGIN

MANY = TIE_MARGIN
"""Number of copies above which they are read once for all queries, and left out of the engine's
answers, in which they would tie."""

EVERY = Filter()
"""The filter that every image matches."""


class Copies:
    """The byte-identical images in a collection, for the queries of one search."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._many: dict[tuple[str, Filter], list[Point]] = {}

    def of(self, sha256: str, where: Filter = EVERY) -> list[Point]:
        """Return the images with a hash that match a filter, sorted by path.

        There are none for an empty hash.
        """
        if not sha256:
            return []
        key = (sha256, where)
        if key in self._many:
            return self._many[key]
        batches = self._store.scan(replace(where, sha256=sha256), vectors=True)
        points = sorted(chain.from_iterable(batches), key=lambda point: point.payload.path)
        if len(points) > MANY:
            self._many[key] = points
        return points
