"""The engines of the contract: embedded, qdrant-client in memory, and a real server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from tests.memory import memory_store


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
    url = os.environ.get("GEOSIM_TEST_QDRANT_URL")
    if not url:
        pytest.skip("GEOSIM_TEST_QDRANT_URL names no Qdrant server")
    name, key = f"geosim-test-{uuid.uuid4().hex}", os.environ.get("GEOSIM_TEST_QDRANT_API_KEY")
    try:
        with connect(url, key, name) as server:
            yield server
    finally:
        with connect(url, key, name) as cleaner:
            cleaner.drop()
