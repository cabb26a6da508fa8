"""The engines of the contract: embedded, qdrant-client in memory, and a real server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from tests.memory import memory_store, real_server


@pytest.fixture(params=["edge", "memory", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    if request.param == "edge":
        with EdgeStore(tmp_path / "qdrant", "rocks") as edge:
            yield edge
        return

    from geosim.ingest.store.server import connect

    if request.param == "memory":
        with memory_store("rocks") as memory:
            yield memory
        return
    (url, key), name = real_server(), f"geosim-test-{uuid.uuid4().hex}"
    try:
        with connect(url, key, name) as server:
            yield server
    finally:
        with connect(url, key, name) as cleaner:
            cleaner.drop()
