"""Keeps models on a Qdrant server, in a collection of their own beside the others.

Its points have no vectors, and ids that follow from what they hold:

    a block   a part of a file, by its SHA-256
    a model   the names of its files, each with its blocks; written last, in one request

So a model is there as a whole or not at all, also where a push is killed, or two are made at once;
and what several models have in common is kept once.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qdrant_client import models

from geosim.ingest.store.server_client import open_nodes
from geosim.ingest.store.server_requests import Connection
from geosim.ingest.store.server_settings import default_settings
from geosim.trainer.errors import ModelError, StoreError
from geosim.trainer.progress import progress_bar
from geosim.trainer.targets import Target

MODELS = "geosim-models"
"""Name of the collection."""

BLOCK = 4 << 20
"""Bytes of a block: a third more as base64 in JSON, of which a server takes 32 MB in a request."""

MOST_MODELS = 10_000

_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "geosim:models")


def connect_models(url: str, api_key: str | None, *, wait: float) -> ServerModels:
    """Return the models on the server at a URL, or on a cluster; sends no request.

    ``wait`` is how long a lost connection is tried again, in seconds.

    Raises:
        StoreDeniedError: ``api_key`` has characters that no key has.
        StoreError: the URL is unusable.
    """
    return ServerModels(Connection(open_nodes(url, api_key), wait=wait))


class ServerModels(Target):
    """The models on a server. Its methods may raise `StoreError`, too; close it at the end."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self.text = connection, connection.location

    def names(self) -> list[str]:
        """Return the fingerprints of the models."""
        if not self._exists():
            return []
        blocks = models.IsEmptyCondition(is_empty=models.PayloadField(key="model"))
        found, _ = self._connection.send(
            lambda client: client.scroll(
                MODELS,
                scroll_filter=models.Filter(must_not=[blocks]),
                limit=MOST_MODELS,
                with_payload=["model"],
            )
        )
        return [str((one.payload or {}).get("model")) for one in found]

    def read(self, name: str, path: Path) -> bool:
        """Copy a file to ``path``; return whether there is one."""
        model, _, file = name.partition("/")
        stored = self._payload(_id(model)) if self._exists() else {}
        try:
            blocks = stored.get("files", {}).get(file)
            if blocks is None:
                return False
            with path.open("wb") as written, progress_bar(f"reading {file}", len(blocks)) as bar:
                for digest in blocks:
                    content = base64.b64decode(self._payload(_id(digest)).get("data", ""))
                    if hashlib.sha256(content).hexdigest() != digest:
                        raise ModelError(
                            f"{file} of the model {model[:12]} at {self.text} is not whole; push "
                            "the model anew after deleting its point there, or ask another node"
                        )
                    written.write(content)
                    bar.update()
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"another program wrote to the collection {MODELS} at {self.text}; delete that and "
                "push the models anew"
            ) from error
        return True

    def write(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files to a model, which is seen when it is complete."""
        self._create()
        listed: dict[str, list[str]] = {}
        size = sum(path.stat().st_size for path in files.values())
        with progress_bar("sending", size, unit="B", unit_scale=True) as bar:
            for name, path in files.items():
                listed[name] = []
                for content in _blocks(path):
                    listed[name].append(digest := hashlib.sha256(content).hexdigest())
                    if not self._retrieve(_id(digest), with_payload=False):
                        self._put(_id(digest), {"data": base64.b64encode(content).decode()})
                    bar.update(len(content))
        self._put(_id(folder), {"model": folder, "files": listed})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _exists(self) -> bool:
        return self._connection.send(lambda client: client.collection_exists(MODELS))

    def _create(self) -> None:
        if not self._exists():
            settings = default_settings(self._connection, {}, None)
            try:
                self._connection.send_once(
                    lambda client: client.create_collection(
                        MODELS, vectors_config={}, on_disk_payload=True, **settings
                    )
                )
            except StoreError:
                if not self._exists():  # another process may have made it meanwhile
                    raise
        self._connection.send(  # without it, `names` would read all blocks
            lambda client: client.create_payload_index(
                MODELS, "model", models.PayloadSchemaType.KEYWORD, wait=True
            )
        )

    def _payload(self, id_: str) -> Mapping[str, Any]:
        for one in self._retrieve(id_, with_payload=True):
            return one.payload or {}
        return {}

    def _retrieve(self, id_: str, *, with_payload: bool) -> list[models.Record]:
        return self._connection.send(
            lambda client: client.retrieve(MODELS, [id_], with_payload=with_payload)
        )

    def _put(self, id_: str, payload: dict[str, Any]) -> None:
        point = models.PointStruct(id=id_, vector={}, payload=payload)
        self._connection.send(lambda client: client.upsert(MODELS, [point], wait=True))


def _id(name: str) -> str:
    return str(uuid.uuid5(_IDS, name))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while content := file.read(BLOCK):
            yield content
