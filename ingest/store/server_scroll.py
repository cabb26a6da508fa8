"""Reads the points of a collection on a server page by page."""

from __future__ import annotations

from typing import Any

from qdrant_client import QdrantClient, models

from geosim.ingest.schema import Filter, Point
from geosim.ingest.store.filters import translate
from geosim.ingest.store.server_collection import ServerCollection
from geosim.ingest.store.server_terms import TERMS
from geosim.trainer.errors import StoreError


class ServerScroll:
    """Reads one collection."""

    def __init__(self, whole: ServerCollection) -> None:
        self._send, self._name = whole.send, whole.name
        self._all_replicas = False

    def compare_replicas(self) -> None:
        """Return only what all replicas have from now on, for who writes what is missing.

        One that was away may lack points.
        """
        self._all_replicas = True

    def ask_one_replica(self) -> None:
        """Compare no more: a replica is away, and the others have what was acknowledged."""
        self._all_replicas = False

    def page(
        self, where: Filter | None, offset: Any, vectors: bool, limit: int
    ) -> tuple[list[Point], Any]:
        """Return up to ``limit`` points from ``offset`` by id, and the next offset or None."""
        if self._all_replicas:
            try:
                return self._points(where, offset, vectors, limit, patient=False)
            except StoreError:
                self.ask_one_replica()
        return self._points(where, offset, vectors, limit)

    def _points(
        self, where: Filter | None, offset: Any, vectors: bool, limit: int, *, patient: bool = True
    ) -> tuple[list[Point], Any]:
        """Return points; without patience all replicas must have them, and are asked once."""

        def scroll(client: QdrantClient) -> tuple[list[models.Record], Any]:
            return client.scroll(
                self._name,
                scroll_filter=translate(where, TERMS),
                limit=limit,
                offset=offset,
                with_payload=True,
                with_vectors=vectors,
                consistency=None if patient else models.ReadConsistencyType.ALL,
            )

        records, following = self._send(scroll, patient=patient)
        return [Point.from_stored(one.payload, one.vector) for one in records], following
