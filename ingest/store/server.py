"""A Qdrant server, spoken to through qdrant-client.

Owns the requests and their sizes. Does not own the connection, retries and the translation of the
library's errors (``ingest/store/server_requests.py``), nor what is stored (``ingest/schema.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from geosim.ingest.schema import (
    KEYWORD_FIELDS,
    CollectionInfo,
    Match,
    ModelRef,
    Nearest,
    Payload,
    Point,
    Where,
    check_name,
    check_vectors,
)
from geosim.ingest.store.exact import exact_top
from geosim.ingest.store.protocol import SCAN_BATCH
from geosim.ingest.store.server_requests import PAUSE_S, TRIES, open_client, send
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM

UPSERT_BATCH = 1000
"""Points per write request: about 1 MB of JSON; a server refuses requests above 32 MB."""

OLDEST_SERVER = (1, 16)
"""First server version that keeps metadata of a collection."""

METADATA_KEY = "geosim"
"""Our key in a collection's metadata; a collection without it is somebody else's."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def connect(url: str, api_key: str | None, name: str, *, pause: float = PAUSE_S) -> ServerStore:
    """Return the store for collection ``name`` on the server at ``url``; sends no request yet.

    Args:
        url: ``http://`` or ``https://``, port 6333 unless given; may carry user name and password
            for a proxy's basic authentication, and a path prefix.
        api_key: the server's key, or None or empty for none.
        name: the collection.
        pause: seconds before the first retry.

    Raises:
        StoreError: the URL has no host or no valid port, or the name cannot be used.
    """
    client, location = open_client(url, api_key)
    return ServerStore(client, name, location=location, pause=pause)


class ServerStore(AbstractContextManager["ServerStore"]):
    """One collection on a Qdrant server; a `VectorStore`."""

    def __init__(
        self, client: QdrantClient, name: str, *, location: str, pause: float = PAUSE_S
    ) -> None:
        """Use ``client``, which `close` closes.

        Args:
            client: a client of any mode.
            name: the collection.
            location: the server's URL without secrets, for messages.
            pause: seconds before the first retry.

        Raises:
            StoreError: ``name`` cannot name a collection.
        """
        self._client = client
        self._name = check_name(name)
        self._location = location
        self._pause = pause
        self._indexed = False

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    @property
    def location(self) -> str:
        """The server's URL, without user name, password or key."""
        return self._location

    def info(self) -> CollectionInfo | None:
        """Return the collection's facts, or None if there is no such collection."""
        stored = self._describe()
        if stored is None:
            return None
        model = self._model(stored)
        vectors = stored.config.params.vectors
        if (
            not isinstance(vectors, models.VectorParams)
            or vectors.size != EMBEDDING_DIM
            or vectors.distance != models.Distance.COSINE
        ):
            received = (
                f"{vectors.distance.value} vectors of size {vectors.size}"
                if isinstance(vectors, models.VectorParams)
                else "named vectors"
            )
            raise StoreError(
                f"collection {self._name!r} at {self._location} holds {received}, expected Cosine "
                f"vectors of size {EMBEDDING_DIM}; rebuild it with `geosim ingest DATA --recreate`"
            )
        return CollectionInfo(model, self.count(), f"Qdrant server {self._version()}")

    def create(self, model: ModelRef) -> None:
        """Create the empty collection with its model as metadata."""
        version = self._version()
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if numbers < OLDEST_SERVER:
            raise StoreError(
                f"the Qdrant server at {self._location} has version {version}, expected 1.16 or "
                "later, which keeps the model beside a collection; update it, or leave --qdrant out"
            )
        if self._describe() is not None:
            raise StoreError(
                f"collection {self._name!r} exists already at {self._location}; rebuild it with "
                "`geosim ingest DATA --recreate`, or name another --collection"
            )
        settings = models.VectorParams(size=EMBEDDING_DIM, distance=models.Distance.COSINE)
        facts = {"fingerprint": model.fingerprint, "backbone": model.backbone}
        # Sent once: after a lost answer a second try would meet its own collection.
        request = partial(
            self._client.create_collection,
            self._name,
            vectors_config=settings,
            metadata={METADATA_KEY: facts},
        )
        send(request, self._location, tries=1, pause=self._pause)
        self._ensure_indexes()

    def drop(self) -> None:
        """Delete the collection and all its points, unless geosim did not make it."""
        stored = self._describe()
        if stored is not None:
            self._model(stored)
            self._call(self._client.delete_collection, self._name)
        self._indexed = False

    def upsert(self, payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
        """Store points, replacing those with the same id."""
        check_vectors(payloads, vectors)
        self._ensure_indexes()
        for start in range(0, len(payloads), UPSERT_BATCH):
            points = [
                models.PointStruct(id=payload.id, vector=vector.tolist(), payload=payload.to_dict())
                for payload, vector in zip(
                    payloads[start : start + UPSERT_BATCH],
                    vectors[start : start + UPSERT_BATCH],
                    strict=True,
                )
            ]
            self._call(self._client.upsert, self._name, points, wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are passed over."""
        for start in range(0, len(ids), SCAN_BATCH):
            chosen = models.PointIdsList(points=list(ids[start : start + SCAN_BATCH]))
            self._call(self._client.delete, self._name, chosen, wait=True)

    def count(self, where: Where | None = None) -> int:
        """Return the exact number of points that match."""
        condition = _filter(where)
        return self._call(self._client.count, self._name, count_filter=condition, exact=True).count

    def values(self, field: str) -> dict[str, int]:
        """Return the number of points per value of a keyword field, sorted by value."""
        most = max(1, self.count())
        facet = self._call(self._client.facet, self._name, field, limit=most, exact=True)
        return dict(sorted((str(hit.value), hit.count) for hit in facet.hits))

    def fetch(self, ids: Sequence[str], *, vectors: bool = True) -> list[Point]:
        """Return the points with these ids, in the order asked for; unknown ids are left out."""
        found: dict[str, Point] = {}
        for start in range(0, len(ids), SCAN_BATCH):
            batch = list(ids[start : start + SCAN_BATCH])
            records = self._call(
                self._client.retrieve, self._name, batch, with_payload=True, with_vectors=vectors
            )
            found |= {str(record.id): _point(record) for record in records}
        return [found[id_] for id_ in ids if id_ in found]

    def scan(self, where: Where | None = None, *, vectors: bool) -> Iterator[list[Point]]:
        """Yield all matching points in batches of at most `SCAN_BATCH`, in no fixed order."""
        condition, offset = _filter(where), None
        while True:
            records, offset = self._call(
                self._client.scroll,
                self._name,
                scroll_filter=condition,
                limit=SCAN_BATCH,
                offset=offset,
                with_payload=True,
                with_vectors=vectors,
            )
            if records:
                yield [_point(record) for record in records]
            if offset is None:
                return

    def query(self, queries: Sequence[Nearest], k: int) -> list[list[Match]]:
        """Return for each query its k nearest points, best first, equal scores by path."""
        return exact_top(queries, k, self._ask)

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._client.close()

    def __exit__(self, *_: object) -> None:
        """Close at the end of a ``with`` block."""
        self.close()

    def _ask(self, queries: Sequence[Nearest], limit: int) -> list[list[Match]]:
        requests = [
            models.QueryRequest(
                query=query.vector.tolist(),
                filter=_filter(query.where),
                limit=limit,
                score_threshold=query.threshold,
                with_payload=True,
                params=models.SearchParams(exact=True),
            )
            for query in queries
        ]
        answers = self._call(self._client.query_batch_points, self._name, requests)
        return [
            [Match.from_stored(hit.payload, hit.score) for hit in answer.points]
            for answer in answers
        ]

    def _version(self) -> str:
        return self._call(self._client.info).version

    def _describe(self) -> models.CollectionInfo | None:
        if not self._call(self._client.collection_exists, self._name):
            return None
        return self._call(self._client.get_collection, self._name)

    def _model(self, stored: models.CollectionInfo) -> ModelRef:
        """Return the model in a collection's metadata."""
        try:
            facts = (stored.config.metadata or {})[METADATA_KEY]
            return ModelRef(facts["fingerprint"], facts["backbone"])
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"collection {self._name!r} at {self._location} was not made by geosim: its "
                "metadata names no model; name another --collection"
            ) from error

    def _ensure_indexes(self) -> None:
        """Create the keyword indexes that are missing, also after an interrupted `create`."""
        if self._indexed:
            return
        present = self._call(self._client.get_collection, self._name).payload_schema
        for key in KEYWORD_FIELDS:
            if key not in present:
                self._call(
                    self._client.create_payload_index,
                    self._name,
                    key,
                    models.PayloadSchemaType.KEYWORD,
                    wait=True,
                )
        self._indexed = True

    def _call(self, method: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Send a request that may be sent again without harm."""
        request = partial(method, *args, **kwargs)
        return send(request, self._location, tries=TRIES, pause=self._pause)


def _filter(where: Where | None) -> models.Filter | None:
    if where is None or where == Where():
        return None
    wanted = {"class": where.label, "dataset": where.dataset, "sha256": where.sha256}
    must: list[Any] = [
        models.FieldCondition(key=key, match=models.MatchValue(value=value))
        for key, value in wanted.items()
        if value is not None
    ]
    excluded = models.HasIdCondition(has_id=sorted(where.exclude))
    return models.Filter(must=must, must_not=[excluded] if where.exclude else None)


def _point(record: models.Record) -> Point:
    vector = None if record.vector is None else np.asarray(record.vector, dtype=np.float32)
    return Point(Payload.from_dict(record.payload), vector)
