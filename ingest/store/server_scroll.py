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
        # A replica that was away may lack points: it is asked with the others, which have them.
        self._all_replicas = True

    def ask_one_replica(self) -> None:
        """Compare replicas no more: one is away, and the others have what was acknowledged."""
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

    def first(self, count: int, vectors: bool) -> list[Point]:
        """Return up to ``count`` points of one replica, those with the lowest ids."""
        return self._points(None, None, vectors, count)[0]

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
