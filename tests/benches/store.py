"""The store: the embedded Qdrant engine against qdrant-client's local mode, both on disk."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Filter, ModelRef, VectorQuery
from geosim.ingest.store.base import SCAN_BATCH, VectorStore
from geosim.ingest.store.factory import open_store
from geosim.ingest.sync import UPSERT_BATCH
from geosim.trainer.heads.head import EMBEDDING_DIM
from tests.benches import synthetic
from tests.benches.children import BenchError, Worker
from tests.benches.results import OURS, Row, Settings, compared
from tests.benches.timing import interleaved

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

ABOUT = (
    "Storing all points in an empty collection on disk, asking it, and reading it whole with "
    "vectors and payloads. Queries are exact, one at a time, ten hits each; the filter is the "
    "class. qdrant-client's local mode is compared at a size that it can be waited for."
)
LOCAL = "qdrant-client, local mode"
POINTS = 30_000
LOCAL_POINTS = 5_000
QUERIES = 20
K = 10
TOLERANCE = 1e-5
"""Largest difference between the cosines of hits of the same rank: near ties may change places."""

OPERATIONS = {
    "upsert": ("upsert of {count:,} points", None),
    "query": ("queries among {count:,} points", ("queries", QUERIES)),
    "filtered": ("filtered queries among {count:,} points", ("queries", QUERIES)),
    "scan": ("reading all {count:,} points", None),
}
"""Methods of a contender, with title, and what to show a rate of."""


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time every operation, this project's store alone at full size and both at a smaller one."""
    points = min(POINTS, settings.images or POINTS)
    both = min(LOCAL_POINTS, points)
    rows = _measure(scratch / "both", both, settings.runs, {OURS: Ours, LOCAL: Local})
    if points > both:
        rows = [*_measure(scratch / "alone", points, settings.runs, {OURS: Ours}), *rows]
    return rows


def _measure(
    folder: Path, count: int, runs: int, contenders: dict[str, type[Contender]]
) -> list[Row]:
    """Time the operations of contenders that hold the same points."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(build, kind, folder / kind.__name__, count))
            for name, kind in contenders.items()
        }
        rows: list[Row] = []
        for operation, (title, rate_of) in OPERATIONS.items():
            turns = {name: partial(worker, operation) for name, worker in workers.items()}
            seconds = interleaved(operation, turns, runs)
            rows += compared(title.format(count=count), seconds, rate_of=rate_of).values()
        answers = [worker("answers") for worker in workers.values()]
        if not all(_alike(answer, answers[0]) for answer in answers):
            raise BenchError("the stores answer differently; nothing to compare")
    return rows


def _alike(one: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]) -> bool:
    """Tell whether each query has as many hits, and as near ones, in two stores."""
    return all(
        len(left) == len(right) and np.allclose(left, right, rtol=0, atol=TOLERANCE)
        for left, right in zip(one, other, strict=True)
    )


def build(kind: type[Contender], folder: Path, count: int) -> Callable[[str], Any]:
    """Build a contender that runs an operation by its name."""
    contender = kind(folder, count)
    return lambda operation: getattr(contender, operation)()


class Contender(ABC):
    """A store that is filled, asked and read; methods that are timed return seconds."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.payloads = [synthetic.payload(number) for number in range(count)]
        self.vectors = np.concatenate([vectors for _, vectors in synthetic.blocks(count)])
        self.rounds = 0
        wanted = np.random.default_rng(2).normal(size=(QUERIES, EMBEDDING_DIM))
        self.queries = wanted.astype(np.float32)

    def upsert(self) -> float:
        """Store all points in a new collection."""
        self.rounds += 1
        self.open(self.folder / str(self.rounds))
        started = time.perf_counter()
        for start in range(0, len(self.payloads), UPSERT_BATCH):
            self.write(slice(start, start + UPSERT_BATCH))
        return time.perf_counter() - started

    def query(self) -> float:
        """Ask all queries, one at a time."""
        return self._ask(None)[0]

    def filtered(self) -> float:
        """Ask all queries, one at a time, for one class each."""
        return self._ask(synthetic.label(0))[0]

    def answers(self) -> list[NDArray[np.float32]]:
        """Return the cosines of the hits of each query, without a filter and with one."""
        rows = {payload.path: row for row, payload in enumerate(self.payloads)}
        unit = self.queries / np.linalg.norm(self.queries, axis=1, keepdims=True)
        return [
            self.vectors[[rows[path] for path in paths]] @ query
            for label in (None, synthetic.label(0))
            for query, paths in zip(unit, self._ask(label)[1], strict=True)
        ]

    def scan(self) -> float:
        """Read all points.

        Raises:
            BenchError: some are missing.
        """
        started = time.perf_counter()
        found = sum(self.read())
        seconds = time.perf_counter() - started
        if found != len(self.payloads):
            raise BenchError(f"read {found:,} points, expected {len(self.payloads):,}")
        return seconds

    def _ask(self, label: str | None) -> tuple[float, list[list[str]]]:
        started = time.perf_counter()
        found = [list(self.ask(vector, label)) for vector in self.queries]
        return time.perf_counter() - started, found

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Make an empty collection and let go of the last one."""

    @abstractmethod
    def write(self, rows: slice) -> None:
        """Store some of the points."""

    @abstractmethod
    def ask(self, vector: NDArray[np.float32], label: str | None) -> Sequence[str]:
        """Return the paths of the nearest points, best first."""

    @abstractmethod
    def read(self) -> Iterator[int]:
        """Yield the size of each batch of all points."""


class Ours(Contender):
    """This project's embedded store."""

    store: VectorStore | None = None

    def open(self, folder: Path) -> None:
        """Make an empty collection."""
        if self.store is not None:
            self.store.close()
        self.store = open_store(None, "geosim", working=folder)
        self.store.create(ModelRef(synthetic.FINGERPRINT, "tile-resnet"))

    def write(self, rows: slice) -> None:
        """Store some of the points; on disk when this returns."""
        self._opened.upsert(self.payloads[rows], self.vectors[rows])

    def ask(self, vector: NDArray[np.float32], label: str | None) -> list[str]:
        """Return the paths of the nearest points."""
        matches = self._opened.query([VectorQuery(vector, Filter(label=label))], K)[0]
        return [match.payload.path for match in matches]

    def read(self) -> Iterator[int]:
        """Yield the size of each batch."""
        return (len(batch) for batch in self._opened.scan(vectors=True))

    @property
    def _opened(self) -> VectorStore:
        if self.store is None:
            raise BenchError("nothing was stored before it was asked for")
        return self.store


class Local(Contender):
    """qdrant-client without a server, on disk."""

    client: QdrantClient

    def open(self, folder: Path) -> None:
        """Make an empty collection."""
        from qdrant_client import QdrantClient, models

        if self.rounds > 1:
            self.client.close()
        self.client = QdrantClient(path=str(folder))
        self.client.create_collection(
            "geosim", models.VectorParams(size=EMBEDDING_DIM, distance=models.Distance.COSINE)
        )

    def write(self, rows: slice) -> None:
        """Store some of the points."""
        from qdrant_client import models

        points = [
            models.PointStruct(id=payload.id, vector=vector.tolist(), payload=payload.to_dict())
            for payload, vector in zip(self.payloads[rows], self.vectors[rows], strict=True)
        ]
        self.client.upsert("geosim", points, wait=True)

    def ask(self, vector: NDArray[np.float32], label: str | None) -> list[str]:
        """Return the paths of the nearest points."""
        from qdrant_client import models

        wanted = None
        if label is not None:
            match = models.MatchValue(value=label)
            wanted = models.Filter(must=[models.FieldCondition(key="class", match=match)])
        found = self.client.query_points(
            "geosim", vector.tolist(), query_filter=wanted, limit=K, with_payload=True
        )
        return [str((point.payload or {})["path"]) for point in found.points]

    def read(self) -> Iterator[int]:
        """Yield the size of each batch."""
        offset = None
        while True:
            points, offset = self.client.scroll(
                "geosim", limit=SCAN_BATCH, offset=offset, with_payload=True, with_vectors=True
            )
            yield len(points)
            if offset is None:
                return
