"""The interface to a vector store, and what all engines do alike: batches and exact queries."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import (
    CollectionInfo,
    Filter,
    ModelRef,
    Payload,
    Point,
    ScoredPoint,
    VectorQuery,
    check_vectors,
)
from geosim.ingest.store.exact import exact_top

SCAN_BATCH = 4096
"""Points per batch of `VectorStore.scan`: about 1 MB with vectors."""


class VectorStore(AbstractContextManager["VectorStore"]):
    """One named collection in one engine.

    Every method may raise `StoreError` or one of its children. Writes return when they are
    acknowledged as durable.

    Attributes:
        location: folder or URL of the collection, without secrets.
        upsert_batch: points per write request.
    """

    name: str
    location: str
    upsert_batch: ClassVar[int]

    @abstractmethod
    def info(self) -> CollectionInfo | None:
        """Return the collection's model, number of points and engine, or None without one."""

    @abstractmethod
    def create(self, model: ModelRef) -> None:
        """Create the empty collection for ``model``: cosine, size 32, keyword indexes.

        Removes what an interrupted `create` or `drop` left behind.

        Raises:
            StoreError: the collection exists already.
        """

    @abstractmethod
    def drop(self) -> None:
        """Delete the collection with its points; do nothing if there is none.

        Raises:
            StoreError: geosim did not make the collection.
        """

    @abstractmethod
    def count(self, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""

    @abstractmethod
    def close(self) -> None:
        """Close the store; safe to call twice."""

    def __exit__(self, *_: object) -> None:
        """Close the store at the end of a ``with`` block."""
        self.close()

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store points with vectors ``(n, 32) float32``, replacing those with the same id.

        Raises:
            ValueError: another shape or dtype, or a row that is zero or not finite.
        """
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
        found: dict[str, Point] = {}
        for batch in _batches(ids):
            found.update(self._retrieve(batch, vectors))
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
        """Return the k nearest points of each query, by exact cosine and then by path.

        There are fewer where fewer match the query's filter and ``min_score``.

        Raises:
            ValueError: k is below 1, or a query vector is zero, not finite or of another shape.
        """
        return exact_top(queries, k, self._query)

    @abstractmethod
    def _upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store one batch of points."""

    @abstractmethod
    def _delete(self, ids: list[str]) -> None:
        """Delete one batch of points."""

    @abstractmethod
    def _facet(self, field: str, limit: int) -> Iterable[tuple[str, int]]:
        """Return the exact number of points for up to ``limit`` values of a keyword field."""

    @abstractmethod
    def _retrieve(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Point]]:
        """Return one batch of points with their ids, in any order."""

    @abstractmethod
    def _scroll(self, where: Filter | None, offset: Any, vectors: bool) -> tuple[list[Point], Any]:
        """Return up to `SCAN_BATCH` points from ``offset``, and the next offset or None."""

    @abstractmethod
    def _query(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        """Return up to ``limit`` nearest points of each query, exact, ties in any order."""


def without_userinfo(url: str) -> str:
    """Return ``url`` without user name and password, even wrongly quoted ones."""
    return re.sub(r"(?<=://).*@", "", url)


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    return (list(ids[start : start + SCAN_BATCH]) for start in range(0, len(ids), SCAN_BATCH))
