"""The engines of the contract: embedded, qdrant-client in memory, and a real server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.server_client import open_nodes
from tests.memory import ENGINES, collections, engine, real_server


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    with engine(request.param, tmp_path / "qdrant") as opened:
        yield opened


@pytest.fixture(params=["memory", "server"])
def client(request: pytest.FixtureRequest) -> Iterator[QdrantClient]:
    if request.param == "memory":
        made = QdrantClient(":memory:")
    else:
        made = open_nodes(*real_server())[0].client
    yield made
    made.close()


@pytest.fixture
def name(client: QdrantClient) -> Iterator[str]:
    found = f"geosim-test-{uuid.uuid4().hex}-".ljust(128, "n")
    yield found
    for one in collections(client, found):
        client.delete_collection(one)
