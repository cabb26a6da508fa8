"""The store: the embedded Qdrant engine against qdrant-client's local mode, both on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from geosim.ingest.schema import Filter, ModelRef, Payload, VectorQuery
from geosim.ingest.store.factory import open_store
from geosim.ingest.writing import UPSERT_BATCH
from geosim.trainer.heads.head import EMBEDDING_DIM
from tests.benches import common, synthetic

ABOUT = (
    "Storing all points in an empty collection on disk, and querying it. Queries are exact, one at "
    "a time, ten hits each; the filter is the class."
)
POINTS = 5_000
QUERIES = 20
K = 10


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Time every operation of both stores."""
    count = settings.limit(POINTS)
    rows: list[common.Row] = []
    with (
        common.worker(build, Ours, scratch / "ours", count) as ours,
        common.worker(build, Local, scratch / "local", count) as local,
    ):
        for operation, rate in {
            "upsert": None,
            "queries": ("queries", QUERIES),
            "filtered queries": ("queries", QUERIES),
        }.items():
            turns = {
                common.OURS: partial(ours, operation),
                "qdrant-client, local mode": partial(local, operation),
            }
            seconds = common.interleaved(operation, turns, settings.runs)
            rows += common.compared(f"{operation}, {count:,} points", seconds, rate)
    return rows


def build(kind: type[Ours | Local], folder: Path, count: int) -> Callable[[str], float]:
    """Build a function that runs an operation by name and returns its seconds."""
    payloads = [synthetic.payload(number) for number in range(count)]
    vectors = np.concatenate([block for _, block in synthetic.blocks(count)])
    queries = np.random.default_rng(2).normal(size=(QUERIES, EMBEDDING_DIM)).astype(np.float32)
    opened: list[Ours | Local] = []

    def upsert() -> None:
        for start in range(0, count, UPSERT_BATCH):
            batch = slice(start, start + UPSERT_BATCH)
            opened[-1].upsert(payloads[batch], vectors[batch])

    def query(label: str | None) -> None:
        for vector in queries:
            opened[-1].query(vector, label)

    def run(operation: str) -> float:
        if operation == "upsert":
            opened.append(kind(folder / str(len(opened))))
            return common.timed(upsert)
        return common.timed(query, synthetic.label(0) if operation == "filtered queries" else None)

    return run


class Ours:
    """This project's embedded store."""

    def __init__(self, folder: Path) -> None:
        self.store = open_store(None, "geosim", working=folder)
        self.store.create(ModelRef(synthetic.FINGERPRINT, "tile-resnet"))

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        self.store.upsert(payloads, vectors)

    def query(self, vector: NDArray[np.float32], label: str | None) -> None:
        self.store.query([VectorQuery(vector, Filter(label=label))], K)


class Local:
    """qdrant-client without a server."""

    def __init__(self, folder: Path) -> None:
        self.client = QdrantClient(path=str(folder))
        vectors = models.VectorParams(size=EMBEDDING_DIM, distance=models.Distance.COSINE)
        self.client.create_collection("geosim", vectors)

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        points = [
            models.PointStruct(id=payload.id, vector=vector.tolist(), payload=payload.to_dict())
            for payload, vector in zip(payloads, vectors, strict=True)
        ]
        self.client.upsert("geosim", points, wait=True)

    def query(self, vector: NDArray[np.float32], label: str | None) -> None:
        condition = None
        if label is not None:
            match = models.MatchValue(value=label)
            condition = models.Filter(must=[models.FieldCondition(key="class", match=match)])
        self.client.query_points(
            "geosim", vector.tolist(), query_filter=condition, limit=K, with_payload=True
        )
