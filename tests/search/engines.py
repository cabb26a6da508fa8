"""The engines that search is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.server import ServerStore
from tests.memory import memory_store


@contextmanager
def server_copy(store: VectorStore) -> Iterator[ServerStore]:
    """Yield a copy of a collection in the client of a server."""
    info = store.info()
    assert info is not None
    with memory_store("geosim") as memory:
        memory.create(info.model)
        points = [point for batch in store.scan(vectors=True) for point in batch]
        vectors = [point.vector for point in points if point.vector is not None]
        memory.upsert([point.payload for point in points], np.stack(vectors))
        yield memory
