"""The in-memory mode of qdrant-client in place of a server."""

from __future__ import annotations

from qdrant_client import QdrantClient

from geosim.ingest.store.server import ServerStore
from geosim.ingest.store.server_client import Node
from geosim.ingest.store.server_requests import Connection


def memory_store(
    name: str, client: QdrantClient | None = None, location: str = "memory"
) -> ServerStore:
    """Return the store of a collection in memory, or in that of ``client``."""
    node = Node(client or QdrantClient(":memory:"), location, answered=True)
    return ServerStore(Connection([node]), name)
