"""The in-memory mode of qdrant-client in place of a server, and the real one where there is one."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.server import ServerStore
from geosim.ingest.store.server_client import Node
from geosim.ingest.store.server_requests import Connection


def memory_store(
    name: str, client: QdrantClient | None = None, location: str = "memory", wait: float = 30.0
) -> ServerStore:
    """Return the store of a collection in memory, or in that of ``client``.

    The in-memory mode cannot be written by several threads at a time, as a server can.
    """
    made = client or QdrantClient(":memory:")
    upsert, lock = made.upsert, threading.Lock()

    def upsert_alone(*arguments: Any, **options: Any) -> Any:
        with lock:
            return upsert(*arguments, **options)

    made.upsert = upsert_alone  # type: ignore[method-assign]
    return ServerStore(Connection([Node(made, location, answered=True)], wait=wait), name)


def collections(client: QdrantClient, name: str) -> list[str]:
    """Return the collections of a test, whose names begin as ``name`` does."""
    return sorted(
        one.name for one in client.get_collections().collections if one.name.startswith(name[:45])
    )


def real_server() -> tuple[str, str | None]:
    """Return the URL and the key of a real server; skip the test where none is named."""
    url = os.environ.get("GEOSIM_TEST_QDRANT_URL")
    if not url:
        pytest.skip("GEOSIM_TEST_QDRANT_URL names no Qdrant server")
    return url, os.environ.get("GEOSIM_TEST_QDRANT_API_KEY")


def real_cluster() -> tuple[str, str | None]:
    """Return the URLs, parted by commas, and the key of a real cluster; skip the test without."""
    urls = os.environ.get("GEOSIM_TEST_QDRANT_CLUSTER")
    if not urls:
        pytest.skip("GEOSIM_TEST_QDRANT_CLUSTER names no Qdrant cluster")
    return urls, os.environ.get("GEOSIM_TEST_QDRANT_API_KEY")


ENGINES = ("edge", "memory", "server", "cluster")


@contextmanager
def engine(name: str, folder: Path) -> Iterator[VectorStore]:
    """Yield an empty collection in one of `ENGINES`; the embedded one has its files in a folder."""
    if name == "edge":
        with EdgeStore(folder, "rocks") as edge:
            yield edge
        return

    from geosim.ingest.store.server import connect

    if name == "memory":
        with memory_store("rocks") as memory:
            yield memory
        return
    url, key = real_server() if name == "server" else real_cluster()
    collection = f"geosim-test-{uuid.uuid4().hex}"
    try:
        with connect(url, key, collection) as server:
            yield server
    finally:
        with connect(url, key, collection) as cleaner:
            cleaner.drop()
