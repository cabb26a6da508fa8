"""The engines of the contract: embedded, qdrant-client in memory, and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from geosim.ingest.store.base import VectorStore
from tests.memory import ENGINES, engine


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    with engine(request.param, tmp_path / "qdrant") as opened:
        yield opened
