"""The in-memory mode of qdrant-client in place of a server, and the real one where there is one."""

from __future__ import annotations

import os

import pytest
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


def real_server() -> tuple[str, str | None]:
    """Return the URL and the key of a real server; skip the test where none is named."""
    url = os.environ.get("GEOSIM_TEST_QDRANT_URL")
    if not url:
        pytest.skip("GEOSIM_TEST_QDRANT_URL names no Qdrant server")
    return url, os.environ.get("GEOSIM_TEST_QDRANT_API_KEY")
