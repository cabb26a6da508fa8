"""The embedded engine: Qdrant Edge inside this process, one shard per collection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from geosim.ingest.schema import (
    FACTS,
    KEYWORD_FIELDS,
    Change,
    CollectionInfo,
    Filter,
    ModelRef,
    Origin,
    Payload,
    Point,
    ScoredPoint,
    VectorQuery,
)
from geosim.ingest.store.base import SCAN_BATCH, VectorStore
from geosim.ingest.store.edge_faults import engine_error, is_fault, panic_hidden
from geosim.ingest.store.edge_files import EdgeFiles
from geosim.ingest.store.edge_rebuild import beside
from geosim.ingest.store.edge_segments import indexes, load, settle
from geosim.ingest.store.edge_terms import CONFIG, KINDS, SEGMENT_POINTS, TERMS, engine
from geosim.ingest.store.filters import translate
from geosim.trainer.errors import StoreError

T = TypeVar("T")


class EdgeStore(VectorStore):
    """One collection in Qdrant Edge; the first call that needs the shard opens and locks it."""

    upsert_batch = 1024  # Qdrant Edge holds the GIL during a call

    def __init__(self, folder: Path, name: str, wait: float = 0.0) -> None:
        """Wait ``wait`` seconds for another process that holds the collection."""
        self._files = EdgeFiles(folder, name, wait)
        self.name, self.location = name, str(folder)
        self._opening = threading.RLock()
        self._shard: edge.EdgeShard | None = None
        self._unsettled = 0  # points written since `settle`

    def engine(self) -> str:
        """Return the engine's name and version."""
        return engine()

    def info(self) -> CollectionInfo | None:
        """Return the collection's model and number of points, or None without one."""
        if self._files.read_model() is None:
            return None
        points = self.count()  # may wait for a process that changes the rest
        model, revision = self._files.read_model(), self._files.revision()[0] or ""
        return None if model is None else CollectionInfo(model, points, revision)

    def model(self) -> ModelRef | None:
        """Return the collection's model, or None without one."""
        return self._files.read_model()

    def create(self, model: ModelRef) -> None:
        """Create the empty collection; remove what an interrupted call left behind."""
        missing = self._files.read_model() is None
        with self._opening, self._locked(self._files.acquire):
            if missing and self._files.read_model() == model:
                return  # another process made it while this one waited
            self._files.make_shard_folder(model)
            with self._translated():
                shard = edge.EdgeShard.create(str(self._files.shard), CONFIG)
                for key in KEYWORD_FIELDS:
                    shard.update(edge.UpdateOperation.create_field_index(key, KINDS["keyword"]))
                shard.flush()
            self._files.mark_ready(model)
            self._shard = shard

    def drop(self) -> None:
        """Delete the collection with its points; do nothing if there is none.

        The lock is kept, so that no other process finds it missing before it is created anew.
        """
        with self._opening:
            if not self._files.metadata.exists():
                return
            try:
                self._files.acquire()
                if self._shard is not None:
                    with self._translated():
                        self._shard.close()
                self._shard = None
                self._files.remove()
            except StoreError:
                if self._shard is None:
                    self._files.release()
                raise

    @contextmanager
    def rebuilt(self, model: ModelRef) -> Iterator[VectorStore]:  # noqa: ARG002
        """Yield the store of a collection beside this one, which takes its place at the end."""
        if self._files.read_model() is None:
            yield self
            return
        self.release()  # others may read it meanwhile
        with beside(self._files) as folder, EdgeStore(folder, self.name) as new:
            new.location = self.location
            yield new

    def origins(self) -> dict[str, Origin]:
        """Return where the data sets come from, by name."""
        return self._files.read_origins()

    def set_origin(self, dataset: str, origin: Origin | None) -> None:
        """Note where a data set comes from, or forget it."""
        with self._open():
            self._files.begin_writing()
            self._files.write_origin(dataset, origin)

    def count(self, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""
        with self._open() as shard:
            return shard.count(edge.CountRequest(exact=True, filter=translate(where, TERMS)))

    def has(self, where: Filter) -> bool:
        """Return whether any point matches."""
        request = edge.ScrollRequest(limit=1, filter=translate(where, TERMS), with_payload=False)
        with self._open() as shard:
            return bool(shard.scroll(request)[0])

    def __exit__(self, *error: object) -> None:
        """Close the store; points that were written are settled unless there was an error."""
        self.close() if any(error) else self.release()

    def close(self) -> None:
        """Close the shard and release its lock; safe to call twice."""
        with self._opening:
            try:
                if self._shard is not None:
                    with self._translated():
                        self._shard.close()
            finally:
                self._shard = None
                self._files.release()

    def release(self) -> None:
        """Close the shard and release its lock until the next call; settle what was written."""
        if self._unsettled and self._shard is not None:
            self._settle()
        self.close()

    def _upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        points = [
            edge.Point(payload.id, vector.tolist(), payload.to_dict())
            for payload, vector in zip(payloads, vectors, strict=True)
        ]
        with self._open() as shard:
            self._files.begin_writing(len(payloads), payloads)
            shard.update(edge.UpdateOperation.upsert_points(points))
        self._note_written(len(points))

    def _delete(self, ids: list[str]) -> None:
        with self._open() as shard:
            self._files.begin_writing(len(ids))
            shard.update(edge.UpdateOperation.delete_points([*ids]))
            self._unsettled += len(ids)

    def _update(self, changes: Sequence[Change]) -> None:
        operation = edge.UpdateOperation
        with self._open() as shard:
            self._files.begin_writing(sum(len(one.ids) for one in changes))
            for one in changes:
                ids: list[Any] = [*one.ids]
                if one.fields:
                    shard.update(operation.set_payload(ids, dict(one.fields)))
                if one.facts:
                    shard.update(operation.set_payload(ids, dict(one.facts), FACTS))
                if one.gone:
                    shard.update(operation.delete_payload(ids, [*one.gone]))
        self._note_written(sum(len(one.ids) for one in changes))

    def _index(self, field: str, kind: str) -> None:
        with self._open() as shard:
            self._files.begin_writing()
            shard.update(edge.UpdateOperation.create_field_index(field, KINDS[kind]))

    def _drop_index(self, field: str) -> None:
        with self._open() as shard:
            self._files.begin_writing()
            shard.update(edge.UpdateOperation.delete_field_index(field))

    def _indexes(self) -> dict[str, str]:
        with self._open() as shard:
            return indexes(shard.info())

    def _flush(self) -> None:
        """Write all updates to disk: an update alone survives a killed process, not a power cut."""
        with self._open() as shard:
            shard.flush()

    def _facet(self, field: str, limit: int, where: Filter | None) -> Iterable[tuple[str, int]]:
        only = translate(where, TERMS)
        # Without a filter the indexes have the counts; exact=True would search for each value.
        request = edge.FacetRequest(field, limit, exact=only is not None, filter=only)
        with self._open() as shard:
            facet = shard.facet(request)
        return ((str(hit.value), hit.count) for hit in facet.hits)

    def _end(self, field: str, where: Filter | None, last: bool) -> Payload | None:
        order = edge.OrderBy(field, edge.Direction.Desc if last else edge.Direction.Asc)
        request = edge.ScrollRequest(
            limit=1, filter=translate(where, TERMS), with_payload=True, order_by=order
        )
        with self._open() as shard:
            records, _ = shard.scroll(request)
        return Payload.from_dict(records[0].payload) if records else None

    def _retrieve(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Point]]:
        with self._open() as shard:
            records = shard.retrieve([*ids], True, vectors)
            return [(str(one.id), Point.from_stored(one.payload, one.vector)) for one in records]

    def _scroll(
        self, where: Filter | None, offset: Any, vectors: bool, limit: int
    ) -> tuple[list[Point], Any]:
        only = translate(where, TERMS)
        request = edge.ScrollRequest(
            offset=offset, limit=limit, filter=only, with_payload=True, with_vector=vectors
        )
        with self._open() as shard:
            records, next_offset = shard.scroll(request)
            return [Point.from_stored(one.payload, one.vector) for one in records], next_offset

    def _query(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        if limit > SCAN_BATCH:  # a count costs as much as a search
            limit = max(1, min(limit, self.count()))
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(query.vector.tolist()),
                filter=translate(query.where, TERMS),
                score_threshold=query.score_threshold,
                with_payload=True,
                params=edge.SearchParams(exact=True),
            )
            for query in queries
        ]
        with self._open() as shard:
            answers = shard.query_batch(edge.QueryBatchRequest(requests))
        return [[ScoredPoint.from_stored(one.payload, one.score) for one in a] for a in answers]

    def _note_written(self, points: int) -> None:
        self._unsettled += points
        if self._unsettled >= SEGMENT_POINTS:  # before they fill the memory
            self._settle()

    def _settle(self) -> None:
        with self._open() as shard:
            settle(shard, self._files.shard)
        self._unsettled = 0

    @contextmanager
    def _open(self) -> Iterator[edge.EdgeShard]:
        """Yield the shard and translate its errors; the first call locks and loads it."""
        with self._opening:
            if self._shard is None:
                self._files.require()  # first, to make no lock file without a collection
                with self._locked(self._files.acquire_to_read) as path:
                    self._files.require()  # another process may have dropped it
                    with self._translated(), panic_hidden():
                        self._shard = load(path)
            shard = self._shard
        with self._translated():
            yield shard

    @contextmanager
    def _locked(self, acquire: Callable[[], T]) -> Iterator[T]:
        """Hold the lock during the block, and after it while a shard is open."""
        try:
            yield acquire()
        finally:
            if self._shard is None:
                self._files.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate errors to `StoreError`: Qdrant Edge raises bare ``Exception`` or panics."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, StoreError) or not is_fault(error):
                raise
            raise engine_error(error, self._files.shard, self._files.metadata) from error
