"""Qdrant Edge: the Qdrant engine inside this process, one shard per collection.

Owns every call of ``qdrant_edge`` and the translation of its errors. Does not own the shard's
folder, its lock and its metadata (``ingest/store/edge_files.py``), nor what is stored
(``ingest/schema.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from geosim.ingest.schema import (
    KEYWORD_FIELDS,
    CollectionInfo,
    Match,
    ModelRef,
    Nearest,
    Payload,
    Point,
    Where,
    check_vectors,
)
from geosim.ingest.store.edge_files import EdgeFiles
from geosim.ingest.store.exact import exact_top
from geosim.ingest.store.protocol import SCAN_BATCH
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM

UPSERT_BATCH = 1024
"""Points per write. Qdrant Edge holds the GIL during a call: about 30 ms for this many."""


class EdgeStore(AbstractContextManager["EdgeStore"]):
    """One collection in Qdrant Edge; a `VectorStore`.

    The shard is opened, and locked against other openers, by the first call that needs it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Name a collection; nothing is read or written yet.

        Raises:
            StoreError: ``name`` cannot name a collection.
        """
        self._files = EdgeFiles(folder, name)
        self._opening = threading.RLock()
        self._shard: edge.EdgeShard | None = None

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._files.name

    @property
    def location(self) -> str:
        """The folder that holds the collection."""
        return str(self._files.folder)

    def info(self) -> CollectionInfo | None:
        """Return the collection's facts, or None if there is no such collection."""
        model = self._files.read_model()
        if model is None:
            return None
        return CollectionInfo(model, self.count(), f"Qdrant Edge {version('qdrant-edge-py')}")

    def create(self, model: ModelRef) -> None:
        """Create the empty collection, clearing what an interrupted call left behind."""
        with self._opening, self._locked():
            self._files.prepare(model)
            with self._translated():
                shard = edge.EdgeShard.create(str(self._files.shard), _config())
                for key in KEYWORD_FIELDS:
                    shard.update(
                        edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword)
                    )
                shard.flush()
            self._files.commit(model)
            self._shard = shard

    def drop(self) -> None:
        """Delete the collection and all its points; nothing happens if there is none."""
        with self._opening:
            if not self._files.exist():
                return
            with self._locked():
                if self._shard is not None:
                    with self._translated():
                        self._shard.close()
                self._shard = None
                self._files.remove()

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store points, replacing those with the same id; on disk when this returns."""
        check_vectors(payloads, vectors)
        shard = self._open()
        points = [
            edge.Point(payload.id, vector.tolist(), payload.to_dict())
            for payload, vector in zip(payloads, vectors, strict=True)
        ]
        with self._translated():
            for start in range(0, len(points), UPSERT_BATCH):
                batch = points[start : start + UPSERT_BATCH]
                shard.update(edge.UpdateOperation.upsert_points(batch))
            # The log keeps a write when the process dies; only a flush outlives the machine.
            shard.flush()

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are passed over."""
        shard = self._open()
        with self._translated():
            for start in range(0, len(ids), SCAN_BATCH):
                batch: list[edge.PointId] = list(ids[start : start + SCAN_BATCH])
                shard.update(edge.UpdateOperation.delete_points(batch))
            shard.flush()

    def count(self, where: Where | None = None) -> int:
        """Return the exact number of points that match."""
        shard = self._open()
        with self._translated():
            return shard.count(edge.CountRequest(exact=True, filter=_filter(where)))

    def values(self, field: str) -> dict[str, int]:
        """Return the number of points per value of a keyword field, sorted by value."""
        most = max(1, self.count())
        shard = self._open()
        with self._translated():
            facet = shard.facet(edge.FacetRequest(field, limit=most, exact=True))
        return dict(sorted((str(hit.value), hit.count) for hit in facet.hits))

    def fetch(self, ids: Sequence[str], *, vectors: bool = True) -> list[Point]:
        """Return the points with these ids, in the order asked for; unknown ids are left out."""
        shard = self._open()
        found: dict[str, Point] = {}
        for start in range(0, len(ids), SCAN_BATCH):
            batch: list[edge.PointId] = list(ids[start : start + SCAN_BATCH])
            with self._translated():
                records = shard.retrieve(batch, True, vectors)
            found |= {str(record.id): _point(record) for record in records}
        return [found[id_] for id_ in ids if id_ in found]

    def scan(self, where: Where | None = None, *, vectors: bool) -> Iterator[list[Point]]:
        """Yield all matching points in batches of at most `SCAN_BATCH`, in no fixed order."""
        shard = self._open()
        offset: edge.PointId | None = None  # the next point's id: nothing is seen twice or missed
        while True:
            request = edge.ScrollRequest(
                offset=offset,
                limit=SCAN_BATCH,
                filter=_filter(where),
                with_payload=True,
                with_vector=vectors,
            )
            with self._translated():
                records, offset = shard.scroll(request)
            if records:
                yield [_point(record) for record in records]
            if offset is None:
                return

    def query(self, queries: Sequence[Nearest], k: int) -> list[list[Match]]:
        """Return for each query its k nearest points, best first, equal scores by path."""
        return exact_top(queries, k, self._ask)

    def close(self) -> None:
        """Close the shard and let others open it; safe to call twice."""
        with self._opening:
            try:
                if self._shard is not None:
                    with self._translated():
                        self._shard.close()
            finally:
                self._shard = None
                self._files.release()

    def __exit__(self, *_: object) -> None:
        """Close at the end of a ``with`` block."""
        self.close()

    def _ask(self, queries: Sequence[Nearest], limit: int) -> list[list[Match]]:
        shard = self._open()
        limit = max(1, min(limit, self.count()))
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(query.vector.tolist()),
                filter=_filter(query.where),
                score_threshold=query.threshold,
                with_payload=True,
                params=edge.SearchParams(exact=True),
            )
            for query in queries
        ]
        with self._translated():
            answers = shard.query_batch(edge.QueryBatchRequest(requests))
        return [[Match.from_stored(hit.payload, hit.score) for hit in hits] for hits in answers]

    def _open(self) -> edge.EdgeShard:
        """Return the shard, locked and loaded by the first call."""
        with self._opening:
            if self._shard is not None:
                return self._shard
            if self._files.read_model() is None:  # asking for it leaves no lock file behind
                raise self._missing()
            with self._locked():
                if self._files.read_model() is None:  # dropped since
                    raise self._missing()
                with self._translated():
                    self._shard = edge.EdgeShard.load(str(self._files.shard), _config())
                return self._shard

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock during the block, and after it as long as a shard is open."""
        self._files.acquire()
        try:
            yield
        finally:
            if self._shard is None:
                self._files.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what Qdrant Edge raises, all bare ``Exception`` or a panic, into `StoreError`."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise self._files.damaged(error) from error
            raise

    def _missing(self) -> StoreError:
        return StoreError(
            f"there is no collection {self.name!r} in {self.location}; make it with "
            "`geosim ingest DATA`"
        )


def _config() -> edge.EdgeConfig:
    """Return the settings of a shard; loading with them refuses vectors of another size."""
    vectors = edge.EdgeVectorParams(size=EMBEDDING_DIM, distance=edge.Distance.Cosine)
    return edge.EdgeConfig(vectors=vectors)


def _filter(where: Where | None) -> edge.Filter | None:
    if where is None or where == Where():
        return None
    wanted = {"class": where.label, "dataset": where.dataset, "sha256": where.sha256}
    must: list[Any] = [
        edge.FieldCondition(key, match=edge.MatchValue(value))
        for key, value in wanted.items()
        if value is not None
    ]
    must_not: list[Any] = [edge.HasIdCondition(set(where.exclude))] if where.exclude else []
    return edge.Filter(must=must, must_not=must_not)


def _point(record: edge.Record) -> Point:
    stored = record.vector  # made anew at every access
    vector = None if stored is None else np.asarray(stored, dtype=np.float32)
    return Point(Payload.from_dict(record.payload), vector)
