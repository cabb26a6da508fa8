"""A real server, and a real cluster, whose processes are killed while points are written.

They are those of ``GEOSIM_TEST_QDRANT_URL`` and ``GEOSIM_TEST_QDRANT_CLUSTER``, whose addresses are
parted by commas; ``GEOSIM_TEST_KILLS`` says how often one is killed.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from geosim.ingest.schema import ModelRef, Payload, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.server import connect
from tests.memory import real_cluster, real_server
from tests.servers import Server

KILLS = int(os.environ.get("GEOSIM_TEST_KILLS", "3"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + 60 * KILLS)]

BATCH, BATCHES_PER_KILL = 100, 4
MODEL = ModelRef("0" * 64, "colour-grid")
SETTINGS = {"shard_number": 3, "replication_factor": 2}


def batch(number: int) -> tuple[list[Payload], NDArray[np.float32]]:
    """Return the payloads and vectors of one upsert."""
    numbers = range(number * BATCH, (number + 1) * BATCH)
    payloads = [
        Payload(f"rocks/a/{one:07}.jpg", "a", f"{one:064x}", 9, 9, "rocks") for one in numbers
    ]
    return payloads, np.random.default_rng(number).normal(size=(BATCH, 32)).astype(np.float32)


@contextmanager
def collection(url: str, key: str | None, settings: dict[str, int]) -> Iterator[VectorStore]:
    name = f"geosim-test-{uuid.uuid4().hex}"
    with connect(url, key, name, wait=120.0, settings=settings) as store:
        store.create(MODEL)
        yield store
    with connect(url, key, name, wait=120.0) as cleaner:
        cleaner.drop()


def write_under_kills(store: VectorStore, servers: Sequence[Server]) -> int:
    """Upsert batches, and kill a server during some; return the number of points."""
    chance = random.Random(0)
    count = KILLS * BATCHES_PER_KILL
    fatal = {BATCHES_PER_KILL * kill + chance.randrange(BATCHES_PER_KILL) for kill in range(KILLS)}
    for number in range(count):
        disaster: threading.Thread | None = None
        if number in fatal:
            disaster = threading.Thread(target=restart, args=(chance.choice(servers),))
            disaster.start()
        store.upsert(*batch(number))
        if disaster is not None:
            disaster.join()
    return count * BATCH


def restart(server: Server) -> None:
    server.kill()
    server.start()


def check_all_are_there(store: VectorStore, count: int) -> None:
    """Read every point: nothing that was acknowledged is lost, nothing is there twice."""
    wanted = dict[str, NDArray[np.float32]]()
    for number in range(count // BATCH):
        payloads, vectors = batch(number)
        wanted |= dict(zip((one.path for one in payloads), vectors, strict=True))
    found = [point for points in store.scan(vectors=True) for point in points]
    assert sorted(point.payload.path for point in found) == sorted(wanted)
    for point in found:
        vector = wanted[point.payload.path]
        np.testing.assert_allclose(point.vector, vector / np.linalg.norm(vector), atol=1e-6)


def test_a_killed_server_loses_nothing_that_it_acknowledged() -> None:
    url, key = real_server()
    with collection(url, key, {}) as store:
        count = write_under_kills(store, [Server.at(url)])
        check_all_are_there(store, count)


def test_a_killed_node_loses_nothing_and_the_others_answer() -> None:
    urls, key = real_cluster()
    servers = [Server.at(url) for url in urls.split(",")]
    payloads, vectors = batch(0)
    ended = threading.Event()

    def search(name: str) -> int:
        """Search for one point until the end; return how often."""
        answers = 0
        with connect(urls, key, name) as reader:
            while not ended.is_set():
                (hits,) = reader.query([VectorQuery(vectors[0])], 1)
                assert [one.payload.path for one in hits] == [payloads[0].path]
                answers += 1
        return answers

    with collection(urls, key, SETTINGS) as store, ThreadPoolExecutor(2) as clients:
        store.upsert(payloads, vectors)
        searches = [clients.submit(search, store.name) for _ in range(2)]
        try:
            count = write_under_kills(store, servers)
        finally:
            ended.set()
        assert min(one.result() for one in searches) > KILLS
        check_all_are_there(store, count)
