"""The interface to a vector store, and what all engines do alike: checks, batches, exact top k."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.conditions import Present
from geosim.ingest.schema import (
    Change,
    CollectionInfo,
    Filter,
    ModelRef,
    Origin,
    Payload,
    Point,
    ScoredPoint,
    VectorQuery,
    fact_field,
    fact_name,
)
from geosim.ingest.store.ranking import check_vectors, nearest, nearest_pictures
from geosim.ingest.work import Work
from geosim.trainer.heads.head import EMBEDDING_DIM

WAIT_SECONDS = 30.0
"""Default time to wait for another process that uses an embedded collection."""

SCAN_BATCH = 4096
"""Points per batch of `VectorStore.scan`: about 1 MB with vectors."""


class VectorStore(AbstractContextManager["VectorStore"]):
    """One named collection in one engine.

    Every method may raise `StoreError` or one of its children. Writes return when they are
    acknowledged as durable.

    Attributes:
        location: folder or URL of the collection, without secrets.
        upsert_batch: points per write request.
    """

    name: str
    location: str
    upsert_batch: ClassVar[int]

    @abstractmethod
    def engine(self) -> str:
        """Return the engine's name and version."""

    @abstractmethod
    def info(self) -> CollectionInfo | None:
        """Return the collection's model and number of points, or None without one."""

    @abstractmethod
    def model(self) -> ModelRef | None:
        """Return the collection's model, or None without one; much faster than `info`."""

    @abstractmethod
    def create(self, model: ModelRef) -> None:
        """Create the empty collection for ``model``; raise `StoreError` if it exists already.

        Removes what an interrupted `create` or `drop` left behind.
        """

    @abstractmethod
    def drop(self) -> None:
        """Delete the collection, if there is one; raise `StoreError` if geosim did not make it."""

    @abstractmethod
    def rebuilt(self, model: ModelRef) -> AbstractContextManager[VectorStore]:
        """Yield the store of a collection that takes the place of this one when the block ends.

        There is none yet. This one is read meanwhile, and stays if the block raises.
        """

    @abstractmethod
    def origins(self) -> dict[str, Origin]:
        """Return where the data sets come from, by name; earlier versions did not note it."""

    @abstractmethod
    def set_origin(self, dataset: str, origin: Origin | None) -> None:
        """Note where a data set comes from, or forget it; leave those of others as they are."""

    @abstractmethod
    def count(self, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""

    @abstractmethod
    def has(self, where: Filter) -> bool:
        """Return whether any point matches; among many this is much faster than to count them."""

    @abstractmethod
    def close(self) -> None:
        """Close the store; safe to call twice."""

    def approximates(self) -> bool:
        """Return whether an index of the engine answers queries that need not be exact."""
        return False

    def release(self) -> None:
        """Let other processes open an embedded collection until the next call."""

    def reading(self) -> AbstractContextManager[object]:
        """Let all calls of this thread in the block read one state of the collection."""
        return nullcontext()

    def lease(self, work: Work) -> AbstractContextManager[object]:  # noqa: ARG002
        """Keep other processes from the same work; an embedded collection is locked as a whole."""
        return nullcontext()

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store points with vectors ``(n, 32) float32``, replacing those with the same id.

        Raises:
            ValueError: another shape or dtype, or a row that is zero or not finite.
        """
        names = [f"vector of {payload.path}" for payload in payloads]
        check_vectors(vectors, (len(payloads), EMBEDDING_DIM), "vectors", names)
        for start in range(0, len(payloads), self.upsert_batch):
            batch = slice(start, start + self.upsert_batch)
            self._upsert(payloads[batch], vectors[batch])
        self._flush()

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
        for at in range(0, len(ids), SCAN_BATCH):
            self._delete([*ids[at : at + SCAN_BATCH]])
        self._flush()

    def update(self, changes: Sequence[Change]) -> None:
        """Change payloads of stored points; their vectors stay. Can be run again."""
        batch: list[Change] = []
        points = 0
        for change in changes:
            batch.append(change)
            points += len(change.ids)
            if points >= self.upsert_batch:
                self._update(batch)
                batch, points = [], 0
        if batch:
            self._update(batch)
        self._flush()

    def index_facts(self, kinds: Mapping[str, str]) -> None:
        """Make a payload index of each fact, of a kind of `INDEX_KINDS`; replace other kinds."""
        indexed = self.fact_indexes()
        for name, kind in kinds.items():
            if indexed.get(name) != kind:
                if name in indexed:
                    self._drop_index(fact_field(name))
                self._index(fact_field(name), kind)
        self._flush()

    def drop_unused_indexes(self, used: Collection[str]) -> list[str]:
        """Drop the payload indexes of facts that no point has; return these facts.

        Those that are ``used`` are kept, and not asked for.
        """
        others = sorted(self.fact_indexes().keys() - set(used))
        unused = [name for name in others if not self.has(Filter(where=Present(fact_field(name))))]
        for name in unused:
            self._drop_index(fact_field(name))
        if unused:
            self._flush()
        return unused

    def fact_indexes(self) -> dict[str, str]:
        """Return the kind of the payload index of each fact that has one."""
        return {name: kind for path, kind in self._indexes().items() if (name := fact_name(path))}

    def values(self, field: str) -> dict[str, int]:
        """Return the number of points per value of a keyword field, sorted by value."""
        counts = sorted(self._facet(field, max(1, self.count()), None))
        return {value: count for value, count in counts if count}  # Qdrant Edge lists deleted ones

    def facet(self, field: str, limit: int, where: Filter | None = None) -> list[tuple[str, int]]:
        """Return the values of a keyword field that most matching points have, with their number.

        There are up to ``limit``, the most frequent first, then by value.
        """
        counts = [(value, n) for value, n in self._facet(field, limit, where) if n]
        return sorted(counts, key=lambda one: (-one[1], one[0]))

    def ends(self, field: str, where: Filter | None = None) -> tuple[Payload, Payload] | None:
        """Return the matching points with the least and the greatest value of an indexed field.

        The field has numbers or dates; None if no matching point has it.
        """
        if (least := self._end(field, where, last=False)) is None:
            return None
        greatest = self._end(field, where, last=True)
        return None if greatest is None else (least, greatest)

    def unlabelled(self) -> int:
        """Return the number of points without a class."""
        return self.count() - sum(self.values("class").values())

    def fetch(self, ids: Sequence[str], *, vectors: bool = True) -> list[Point]:
        """Return the points with these ids, in the order of ``ids``; unknown ids are left out."""
        found: dict[str, Point] = {}
        for at in range(0, len(ids), SCAN_BATCH):
            found.update(self._retrieve([*ids[at : at + SCAN_BATCH]], vectors))
        return [found[id_] for id_ in ids if id_ in found]

    def scan(self, where: Filter | None = None, *, vectors: bool) -> Iterator[list[Point]]:
        """Yield all matching points in batches of at most `SCAN_BATCH`, in no fixed order."""
        offset = None
        while True:
            points, offset = self._scroll(where, offset, vectors, SCAN_BATCH)
            if points:
                yield points
            if offset is None:
                return

    def sample(self, count: int, *, vectors: bool) -> list[Point]:
        """Return the ``count`` points with the lowest ids, which are random, or all there are."""
        return self._scroll(None, None, vectors, count)[0]

    def query(self, queries: Sequence[VectorQuery], k: int) -> list[list[ScoredPoint]]:
        """Return the k nearest points of each query, by exact cosine and then by path.

        Of a collection of tiles these are the nearest pictures, each by its nearest tile. Cosines
        are equal if they are so at `SCORE_DIGITS` decimals. There are fewer points where fewer
        match the query's filter and ``min_score``, or where the store `approximates` and may.

        Raises:
            ValueError: k is below 1, or a query vector is zero, not finite or of another shape.
        """
        if k < 1:
            raise ValueError(f"expected k of 1 or more, received {k}")
        for query in queries:
            check_vectors(query.vector, (EMBEDDING_DIM,), "a query vector", ["query vector"])
        return nearest(queries, k, self._query, self._query_pictures)

    @abstractmethod
    def _upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store one batch of points."""

    @abstractmethod
    def _delete(self, ids: list[str]) -> None:
        """Delete one batch of points."""

    @abstractmethod
    def _update(self, changes: Sequence[Change]) -> None:
        """Make one batch of changes."""

    @abstractmethod
    def _index(self, field: str, kind: str) -> None:
        """Make a payload index of a field that has none."""

    @abstractmethod
    def _drop_index(self, field: str) -> None:
        """Drop a payload index."""

    @abstractmethod
    def _indexes(self) -> dict[str, str]:
        """Return the kind of each payload index by the path of its field."""

    def _flush(self) -> None:
        """Make all writes durable, for an engine that acknowledges them earlier."""

    @abstractmethod
    def _facet(self, field: str, limit: int, where: Filter | None) -> Iterable[tuple[str, int]]:
        """Return the exact number of matching points of the ``limit`` most frequent values."""

    @abstractmethod
    def _end(self, field: str, where: Filter | None, last: bool) -> Payload | None:
        """Return the first matching point by a field, or the last one; None without any."""

    @abstractmethod
    def _retrieve(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Point]]:
        """Return one batch of points with their ids, in any order."""

    @abstractmethod
    def _scroll(
        self, where: Filter | None, offset: Any, vectors: bool, limit: int
    ) -> tuple[list[Point], Any]:
        """Return up to ``limit`` points from ``offset`` by id, and the next offset or None."""

    @abstractmethod
    def _query(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        """Return up to ``limit`` nearest points of each query, exact, ties in any order."""

    def _query_pictures(self, query: VectorQuery, k: int, limit: int) -> list[ScoredPoint]:
        """Return the nearest tiles of at least ``k`` pictures and of those that tie with the last.

        An engine that groups points itself may return those of up to ``limit`` pictures instead.
        """
        return nearest_pictures(query, k, limit, self._query)
