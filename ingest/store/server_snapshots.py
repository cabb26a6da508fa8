"""Snapshots of a collection on a server of one node; Qdrant takes and restores them.

A node of a cluster takes one of its own shards only, and several of them are of different moments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from geosim.ingest.schema import ModelRef
from geosim.ingest.store.server_client import CONNECT_S
from geosim.ingest.store.server_collection import ServerCollection
from geosim.ingest.store.server_left_over import Note
from geosim.ingest.store.server_requests import Connection
from geosim.ingest.store.server_revision import Revision
from geosim.trainer.errors import StoreError
from geosim.trainer.progress import progress_bar

SNAPSHOT_S = 3600.0
"""Seconds that a server may take to write or load a snapshot before it answers."""


class ServerSnapshots:
    """Takes and restores snapshots of one collection."""

    def __init__(self, connection: Connection, whole: ServerCollection) -> None:
        self._connection, self._whole = connection, whole

    def possible(self) -> bool:
        """Return whether the server is known to have one node."""
        try:
            cluster = self._connection.send(lambda client: client.cluster_status())
        except StoreError:  # a proxy or the key may not let it through
            return False
        return len(getattr(cluster, "peers", ())) < 2

    def exists(self) -> bool:
        """Return whether there is a collection of this name."""
        return self._whole.live_name() is not None

    def save(self, file: Path) -> str:
        """Write a snapshot of the present moment to a file; return its SHA-256 as hex.

        It is deleted from the server then, as are those that killed backups left.

        Raises:
            StoreDeniedError: the key may only read.
            StoreError: the server failed, or the file is not what it sent.
        """
        place = f"/collections/{self._whole.name}/snapshots"

        def request(client: QdrantClient) -> str:
            with _open(client) as http:
                note = Note(self._whole, http)
                made = _checked(http.post(place, params={"wait": "true"})).json()["result"]
                note.name(made["name"])
                path = f"{place}/{quote(made['name'], safe='')}"
                try:
                    digest = _download(http, path, file, made["size"])
                finally:
                    note.delete(made["name"])
                    note.remove()
            if made.get("checksum") not in (None, digest):
                raise StoreError(
                    f"the snapshot from {self._connection.location} arrived damaged: SHA-256 "
                    f"{digest[:12]}, expected {made['checksum'][:12]}; run the same command again"
                )
            return digest

        return self._connection.send(request)

    def restore(self, file: Path, checksum: str, model: ModelRef) -> None:
        """Load a snapshot into a collection beside this one, and put it in its place.

        Raises:
            StoreError: the server refused the snapshot, it is not of ``model``, or geosim did not
                make the collection that is there.
        """
        self._whole.read()
        new = self._whole.successor(model, {})
        place = f"/collections/{new.name}/snapshots/upload"
        params = {"wait": "true", "priority": "snapshot", "checksum": checksum}

        def request(client: QdrantClient) -> None:
            with _open(client) as http, file.open("rb") as content:
                _checked(http.post(place, params=params, files={"snapshot": content}))

        self._connection.send_once(request)
        if (made := new.read()) is None or made[0] != model:
            new.drop()
            raise StoreError(f"the snapshot is not of a collection of the model {model}")
        Revision(new).begin()
        self._whole.replace(new)


@contextmanager
def _open(client: QdrantClient) -> Iterator[httpx.Client]:
    """Yield a client for the same server that waits for slow answers; qdrant-client has none."""
    known = client.http.client._client
    limits = httpx.Timeout(SNAPSHOT_S, connect=CONNECT_S)
    try:
        with httpx.Client(
            base_url=client.http.client.host, headers=known.headers, auth=known.auth, timeout=limits
        ) as http:
            yield http
    except httpx.TransportError as error:
        raise ResponseHandlingException(error) from error


def _download(http: httpx.Client, path: str, file: Path, size: int) -> str:
    digest = hashlib.sha256()
    with (
        http.stream("GET", path) as answer,
        file.open("wb") as written,
        progress_bar("downloading", size, unit="B", unit_scale=True) as bar,
    ):
        if answer.status_code != 200:
            answer.read()
        for block in _checked(answer).iter_bytes(1 << 20):
            written.write(block)
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code != 200:
        raise UnexpectedResponse.for_response(answer)
    return answer
