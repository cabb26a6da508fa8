"""The interface to a vector store: one named collection in one engine.

Owns what every engine must do. The engines are `ingest/store/edge.py` and `ingest/store/server.py`;
`ingest/store/factory.py` chooses one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import CollectionInfo, Match, ModelRef, Nearest, Payload, Point, Where

SCAN_BATCH = 4096
"""Points per batch of `VectorStore.scan`: about 1 MB with vectors, far below a server's 32 MB."""


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
        """Where the collection lives, for messages: a folder or a URL, never a secret."""

    def info(self) -> CollectionInfo | None:
        """Return the collection's facts, or None if there is no such collection."""

    def create(self, model: ModelRef) -> None:
        """Create the empty collection for ``model``: cosine, size 32, keyword indexes.

        Clears what an interrupted `create` or `drop` left behind.

        Raises:
            StoreError: the collection exists already.
        """

    def drop(self) -> None:
        """Delete the collection and all its points; nothing happens if there is none."""

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store points, replacing those with the same id.

        Args:
            payloads: n payloads.
            vectors: ``(n, 32) float32``, finite and non-zero rows.

        Raises:
            ValueError: another shape, or a row that is zero or not finite: a cosine with it is
                undefined, and the engines would store it in silence.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are passed over."""

    def count(self, where: Where | None = None) -> int:
        """Return the exact number of points that match."""

    def values(self, field: str) -> dict[str, int]:
        """Return the number of points per value of a keyword field, sorted by value."""

    def fetch(self, ids: Sequence[str], *, vectors: bool = True) -> list[Point]:
        """Return the points with these ids, in the order asked for; unknown ids are left out."""

    def scan(self, where: Where | None = None, *, vectors: bool) -> Iterator[list[Point]]:
        """Yield all matching points in batches of at most `SCAN_BATCH`, in no fixed order."""

    def query(self, queries: Sequence[Nearest], k: int) -> list[list[Match]]:
        """Return for each query its k nearest points, best first, equal scores by path.

        Exact cosine. Fewer than k come back where fewer match, or fewer are near enough.

        Raises:
            ValueError: k is below 1, or a query vector is zero, not finite or of another shape.
        """

    def close(self) -> None:
        """Let go of the store; safe to call twice."""

    def __enter__(self) -> VectorStore:
        """Enter a ``with`` block."""

    def __exit__(self, *_: object) -> None:
        """Close the store at the end of a ``with`` block."""
