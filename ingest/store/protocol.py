"""The interface to a vector store: one named collection in one engine.

The engines are `ingest/store/edge.py` and `ingest/store/server.py`; `ingest/store/factory.py`
chooses one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from geosim.ingest.schema import (
    CollectionInfo,
    Filter,
    ModelRef,
    Payload,
    Point,
    ScoredPoint,
    VectorQuery,
)
from numpy.typing import NDArray

SCAN_BATCH = 4096
"""Points per batch of `VectorStore.scan`: about 1 MB with vectors."""


class VectorStore(Protocol):
    """One named collection in one engine.

    Every method may raise `StoreError` or one of its children. Writes return when they are
    acknowledged as durable. Queries are exact.
    """

    @property
    def name(self) -> str:
        """The collection's name."""

    @property
    def location(self) -> str:
        """Folder or URL of the collection, without secrets."""

    def info(self) -> CollectionInfo | None:
        """Return the collection's model, number of points and engine, or None without one."""

    def create(self, model: ModelRef) -> None:
        """Create the empty collection for ``model``: cosine, size 32, keyword indexes.

        Removes what an interrupted `create` or `drop` left behind.

        Raises:
            StoreError: the collection exists already.
        """

    def drop(self) -> None:
        """Delete the collection with its points; do nothing if there is none.

        Raises:
            StoreError: geosim did not make the collection.
        """

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store points, replacing those with the same id.

        Args:
            payloads: n payloads.
            vectors: ``(n, 32) float32``, finite and non-zero rows.

        Raises:
            ValueError: another shape or dtype, or a row that is zero or not finite.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""

    def count(self, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""

    def values(self, field: str) -> dict[str, int]:
        """Return the number of points per value of a keyword field, sorted by value."""

    def fetch(self, ids: Sequence[str], *, vectors: bool = True) -> list[Point]:
        """Return the points with these ids, in the order of ``ids``; unknown ids are left out."""

    def scan(self, where: Filter | None = None, *, vectors: bool) -> Iterator[list[Point]]:
        """Yield all matching points in batches of at most `SCAN_BATCH`, in no fixed order."""

    def query(self, queries: Sequence[VectorQuery], k: int) -> list[list[ScoredPoint]]:
        """Return for each query its k nearest points, best first, equal scores by path.

        Exact cosine. A query has fewer than k points if fewer match its filter and ``min_score``.

        Raises:
            ValueError: k is below 1, or a query vector is zero, not finite or of another shape.
        """

    def close(self) -> None:
        """Close the store; safe to call twice."""

    def __enter__(self) -> VectorStore:
        """Enter a ``with`` block."""

    def __exit__(self, *_: object) -> None:
        """Close the store at the end of a ``with`` block."""
