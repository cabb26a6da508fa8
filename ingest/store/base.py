"""What all engines do alike: batches, the order of results, and exact queries.

Owns the size of a batch, except that of an upsert, which is the engine's. Sends no request itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from geosim.ingest.schema import (
    Filter,
    Payload,
    Point,
    ScoredPoint,
    VectorQuery,
    check_vectors,
)
from geosim.ingest.store.exact import exact_top
from geosim.ingest.store.protocol import SCAN_BATCH
from numpy.typing import NDArray

_Store = TypeVar("_Store", bound="BaseStore")


class BaseStore(ABC):
    """Base of the engines: implements a `VectorStore` on requests of one batch each.

    Attributes:
        upsert_batch: points per `_upsert`.
    """

    upsert_batch: ClassVar[int]

    def __enter__(self: _Store) -> _Store:
        """Enter a ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close at the end of a ``with`` block."""
        self.close()

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store points, replacing those with the same id."""
        check_vectors(payloads, vectors)
        for start in range(0, len(payloads), self.upsert_batch):
            batch = slice(start, start + self.upsert_batch)
            self._upsert(payloads[batch], vectors[batch])

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
        for batch in _batches(ids):
            self._delete(batch)

    def values(self, field: str) -> dict[str, int]:
        """Return the number of points per value of a keyword field, sorted by value."""
        return dict(sorted(self._facet(field, limit=max(1, self.count()))))

    def fetch(self, ids: Sequence[str], *, vectors: bool = True) -> list[Point]:
        """Return the points with these ids, in the order of ``ids``; unknown ids are left out."""
        found = {
            id_: point for batch in _batches(ids) for id_, point in self._retrieve(batch, vectors)
        }
        return [found[id_] for id_ in ids if id_ in found]

    def scan(self, where: Filter | None = None, *, vectors: bool) -> Iterator[list[Point]]:
        """Yield all matching points in batches of at most `SCAN_BATCH`, in no fixed order."""
        offset = None
        while True:
            points, offset = self._scroll(where, offset, vectors)
            if points:
                yield points
            if offset is None:
                return

    def query(self, queries: Sequence[VectorQuery], k: int) -> list[list[ScoredPoint]]:
        """Return for each query its k nearest points, best first, equal scores by path."""
        return exact_top(queries, k, self._query)

    @abstractmethod
    def close(self) -> None:
        """Close the store; safe to call twice."""

    @abstractmethod
    def count(self, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""

    @abstractmethod
    def _upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Write one batch of points; durable on return."""

    @abstractmethod
    def _delete(self, ids: list[str]) -> None:
        """Delete one batch of points; durable on return."""

    @abstractmethod
    def _facet(self, field: str, limit: int) -> Iterable[tuple[str, int]]:
        """Return the exact number of points of up to ``limit`` values of a keyword field."""

    @abstractmethod
    def _retrieve(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Point]]:
        """Return the points with these ids, each with its id, in any order."""

    @abstractmethod
    def _scroll(self, where: Filter | None, offset: Any, vectors: bool) -> tuple[list[Point], Any]:
        """Return up to `SCAN_BATCH` points from ``offset``, and the next offset or None."""

    @abstractmethod
    def _query(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        """Return up to ``limit`` nearest points for each query, exact, ties in any order."""


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), SCAN_BATCH):
        yield list(ids[start : start + SCAN_BATCH])
