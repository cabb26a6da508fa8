"""The server engine: a Qdrant server through qdrant-client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

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
from geosim.ingest.store.base import WAIT_SECONDS, VectorStore
from geosim.ingest.store.filters import translate
from geosim.ingest.store.health import Health
from geosim.ingest.store.server_client import open_nodes
from geosim.ingest.store.server_collection import ServerCollection
from geosim.ingest.store.server_health import look
from geosim.ingest.store.server_lease import Leases
from geosim.ingest.store.server_requests import Connection
from geosim.ingest.store.server_revision import COUNTED, Revision
from geosim.ingest.store.server_scroll import ServerScroll
from geosim.ingest.store.server_search import ServerSearch
from geosim.ingest.store.server_settings import Settings
from geosim.ingest.store.server_snapshots import ServerSnapshots
from geosim.ingest.store.server_terms import TERMS
from geosim.ingest.work import Work
from geosim.trainer.errors import StoreBusyError, StoreError

REQUEST_POINTS = 512
"""Points per request of an upload: half a megabyte of JSON; a server accepts 32 MB by default."""


def connect(
    url: str,
    api_key: str | None,
    name: str,
    *,
    wait: float = WAIT_SECONDS,
    settings: Settings | None = None,
) -> ServerStore:
    """Return the store of collection ``name``; sends no request.

    ``url`` has port 6333 by default, and may have a path prefix, and a user name and password for a
    proxy's basic authentication; several, parted by commas, are nodes of one cluster. ``wait`` is
    how long a lost connection is tried again, in seconds. ``settings`` are those of a collection
    that is created, in Qdrant's names.

    Raises:
        StoreDeniedError: ``api_key`` has characters that no key has.
        StoreError: a URL or the name is unusable.
    """
    return ServerStore(Connection(open_nodes(url, api_key), wait=wait), name, settings)


class ServerStore(VectorStore):
    """One collection on a Qdrant server or cluster; `close` closes the connection."""

    upsert_batch = 4096

    def __init__(self, connection: Connection, name: str, settings: Settings | None = None) -> None:
        self._connection = connection
        self._whole = ServerCollection(connection, name, settings or {})
        self._send = self._whole.send
        self.name, self.location = name, connection.location
        self._leases = Leases(connection, name)
        self._writing, self._revision = False, Revision(self._whole)
        self._search, self._scrolled = ServerSearch(self._whole), ServerScroll(self._whole)

    def engine(self) -> str:
        """Return the engine's name and version."""
        return f"Qdrant server {self._whole.version()}"

    def info(self) -> CollectionInfo | None:
        """Return the collection's model and number of points, or None without one."""
        found = self._whole.read()
        return None if found is None else CollectionInfo(found[0], self.count(), found[1])

    def model(self) -> ModelRef | None:
        """Return the collection's model, or None without one."""
        found = self._whole.read()
        return None if found is None else found[0]

    def create(self, model: ModelRef) -> None:
        """Create the empty collection with its model as metadata, or adopt a prepared one."""
        self._whole.create(model)

    def drop(self) -> None:
        """Delete the collection with its points; refuse one that geosim did not make."""
        self._whole.drop()

    @contextmanager
    def rebuilt(self, model: ModelRef) -> Iterator[VectorStore]:
        """Yield the store of a collection beside this one, and switch to it at the end."""
        whole = self._whole.beside(model)
        if whole is None:
            yield self
            return
        new = ServerStore(self._connection, whole.name, whole.settings)
        new._leases = self._leases
        try:
            yield new
            new._begin_writing()
            new._end_writing(patient=True)
        except StoreBusyError:  # another process may have begun the same
            raise
        except StoreError:
            with suppress(StoreError):
                whole.drop()
            raise
        self._leases.check()
        self._whole.replace(whole)

    @contextmanager
    def lease(self, work: Work) -> Iterator[None]:
        """Keep others from the same work during the block; see `ingest/store/server_lease.py`."""
        with self._leases.take(work, self._delete):
            self._scrolled.compare_replicas()
            yield

    def snapshots(self) -> ServerSnapshots:
        """Return what takes and restores snapshots of the collection."""
        return ServerSnapshots(self._connection, self._whole)

    def origins(self) -> dict[str, Origin]:
        """Return where the data sets come from, by name."""
        return self._whole.origins()

    def set_origin(self, dataset: str, origin: Origin | None) -> None:
        """Note where a data set comes from, or forget it."""
        self._whole.set_origin(dataset, origin)

    def count(self, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""
        if where is None and (kept := self._kept("points")) is not None:
            return int(kept)
        condition = translate(where, TERMS)
        return self._send(
            lambda client: client.count(self.name, count_filter=condition, exact=True)
        ).count

    def values(self, field: str) -> dict[str, int]:
        """Return the number of points per value of a keyword field, sorted by value."""
        kept: dict[str, int] | None = self._kept(field) if field in COUNTED else None
        return super().values(field) if kept is None else kept

    def _kept(self, what: str) -> Any:
        """Return what is kept of the collection as it is, or None; None while this one writes."""
        return None if self._writing else self._revision.counts().get(what)

    def has(self, where: Filter) -> bool:
        """Return whether any point matches."""
        only = translate(where, TERMS)
        found, _ = self._send(
            lambda client: client.scroll(self.name, scroll_filter=only, limit=1, with_payload=False)
        )
        return bool(found)

    def approximates(self) -> bool:
        """Return whether the server's index answers queries that need not be exact."""
        return self._search.approximates()

    def health(self) -> Health:
        """Return the health of the nodes and of the collection, whoever made it."""
        found = look(self._connection, self._whole.live_name)
        if any(node.fault for node in found.nodes):
            self._scrolled.ask_one_replica()  # which is found otherwise in half a minute
        return found

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        try:
            with suppress(StoreError):  # a lost server, which was told of before
                self._end_writing()
        finally:
            self._connection.close()

    def _begin_writing(self) -> None:
        self._leases.check()
        if not self._writing:
            self._whole.ensure_indexes()
            self._revision.begin()
            self._writing = True

    def _end_writing(self, *, patient: bool = False) -> None:
        if self._writing:
            self._writing = False
            self._revision.end(self._count, patient=patient)

    def _count(self) -> dict[str, Any]:
        return {"points": self.count(), **{field: self.values(field) for field in COUNTED}}

    def _upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        self._begin_writing()
        points = [
            models.PointStruct(id=payload.id, vector=vector.tolist(), payload=payload.to_dict())
            for payload, vector in zip(payloads, vectors, strict=True)
        ]
        batches = [points[at : at + REQUEST_POINTS] for at in range(0, len(points), REQUEST_POINTS)]

        def store(batch: list[models.PointStruct]) -> None:
            self._send(lambda client: client.upsert(self.name, batch, wait=True))

        with ThreadPoolExecutor(max(1, len(batches))) as connections:
            list(connections.map(store, batches))

    def _delete(self, ids: list[str]) -> None:
        self._begin_writing()
        selector = models.PointIdsList(points=[*ids])
        self._send(lambda client: client.delete(self.name, selector, wait=True))

    def _update(self, changes: Sequence[Change]) -> None:
        self._begin_writing()
        operations: list[Any] = []
        for one in changes:
            ids: list[Any] = [*one.ids]
            for values, key in ((one.fields, None), (one.facts, FACTS)):
                if values:
                    payload = models.SetPayload(payload=dict(values), points=ids, key=key)
                    operations.append(models.SetPayloadOperation(set_payload=payload))
            if one.gone:
                gone = models.DeletePayload(keys=[*one.gone], points=ids)
                operations.append(models.DeletePayloadOperation(delete_payload=gone))
        self._send(lambda client: client.batch_update_points(self.name, operations, wait=True))

    def _index(self, field: str, kind: str) -> None:
        self._begin_writing()
        self._whole.make_index(field, kind)

    def _drop_index(self, field: str) -> None:
        self._begin_writing()
        self._send(lambda client: client.delete_payload_index(self.name, field, wait=True))

    def _indexes(self) -> dict[str, str]:
        stored = self._send(lambda client: client.get_collection(self.name)).payload_schema
        return {path: one.data_type.value for path, one in stored.items()}

    def _facet(self, field: str, limit: int, where: Filter | None) -> Iterable[tuple[str, int]]:
        only, name = translate(where, TERMS), self.name

        def ask() -> models.FacetResponse:
            return self._send(
                lambda client: client.facet(name, field, facet_filter=only, limit=limit, exact=True)
            )

        try:
            facet = ask()
        except StoreError as error:
            if field not in KEYWORD_FIELDS or type(error) is not StoreError:
                raise
            self._whole.ensure_indexes()  # another process makes the collection now
            facet = ask()
        return ((str(hit.value), hit.count) for hit in facet.hits)

    def _end(self, field: str, where: Filter | None, last: bool) -> Payload | None:
        order = models.OrderBy(
            key=field, direction=models.Direction.DESC if last else models.Direction.ASC
        )
        records, _ = self._send(
            lambda client: client.scroll(
                self.name,
                scroll_filter=translate(where, TERMS),
                limit=1,
                order_by=order,
                with_payload=True,
            )
        )
        return Payload.from_dict(records[0].payload) if records else None

    def _retrieve(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Point]]:
        records = self._send(
            lambda client: client.retrieve(self.name, ids, with_payload=True, with_vectors=vectors)
        )
        return ((str(one.id), Point.from_stored(one.payload, one.vector)) for one in records)

    def _scroll(
        self, where: Filter | None, offset: Any, vectors: bool, limit: int
    ) -> tuple[list[Point], Any]:
        return self._scrolled.page(where, offset, vectors, limit)

    def _query(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        return self._search.nearest(queries, limit)

    def _query_pictures(self, query: VectorQuery, k: int, limit: int) -> list[ScoredPoint]:  # noqa: ARG002
        return self._search.nearest_pictures(query, limit)
