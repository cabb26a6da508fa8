"""A collection on a server as a whole: its making, its metadata and its end."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from qdrant_client import models

from geosim.ingest.checks import check_name
from geosim.ingest.schema import KEYWORD_FIELDS, NAME_ANOTHER, REBUILD, ModelRef, Origin
from geosim.ingest.store.server_requests import ByName, Connection
from geosim.ingest.store.server_settings import (
    Settings,
    arguments,
    default_settings,
    settings_of,
    vectors_of,
)
from geosim.ingest.store.server_terms import SCHEMAS
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM

OLDEST_SERVER = (1, 16)
"""First server version with metadata of collections."""

METADATA_KEY = "geosim"
"""Key of the model in a collection's metadata; geosim did not make a collection without it."""

ORIGIN_KEY = "geosim-origin:"
"""Start of the keys of the data sets' origins in a collection's metadata; the name follows.

Each has a key of its own, because a server merges an update of the metadata key by key: two
machines that note theirs at once keep both. The value is JSON as text, in ASCII, as a path may hold
what is not valid UTF-8.
"""

REVISION_KEY = "geosim-revision"
"""Key of the revision, which differs after every command that wrote. Earlier versions had none."""

SUCCESSOR_KEY = "geosim-replaces"
"""Key of the name that a complete collection takes over from another one."""

_WANTED = f"Cosine vectors of size {EMBEDDING_DIM}"


class ServerCollection:
    """A collection by its name; ``settings`` are those with which it is made."""

    def __init__(self, connection: Connection, name: str, settings: Settings) -> None:
        self.name, self.settings, self._connection = check_name(name), settings, connection
        self.send = ByName(connection, self._finish).send
        self._former: Settings = {}  # of the collection that was dropped
        self._indexed = False
        self._stem = f"{name[:100]}-"  # of the names of its successors

    def read(self) -> tuple[ModelRef, str] | None:
        """Return the collection's model and revision, or None without a collection.

        A collection that was made beforehand, with the right vectors and no points, counts as none.

        Raises:
            StoreError: geosim did not make it, or it holds other vectors.
        """
        stored = self.stored()
        if stored is None or _is_prepared(stored):
            return None
        model = self._model_of(stored)
        if (received := vectors_of(stored)) != _WANTED:
            raise StoreError(
                f"collection {self._place()} holds {received}, expected {_WANTED}; {REBUILD}"
            )
        return model, str((stored.config.metadata or {}).get(REVISION_KEY, ""))

    def version(self) -> str:
        """Return the server's version."""
        return self._connection.send(lambda client: client.info()).version

    def create(self, model: ModelRef) -> None:
        """Create the empty collection with its model as metadata, or adopt a prepared one.

        Raises:
            StoreError: it exists already, or the server is too old.
        """
        version = self.version()
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if numbers < OLDEST_SERVER:
            raise StoreError(
                f"the Qdrant server at {self._connection.location} has version {version}, expected "
                "1.16 or later, which keeps the model beside a collection; update it, or leave "
                "--qdrant out"
            )
        stored = self.stored()
        metadata = {METADATA_KEY: asdict(model)}
        if stored is None:
            told = None if self._former else self.name
            defaults = default_settings(self._connection, self.settings, told)
            wanted = arguments({**defaults, **self._former, **self.settings})
            # Sent once: if only the answer is lost, a retry would find its own collection.
            self._connection.send_once(
                lambda client: client.create_collection(self.name, metadata=metadata, **wanted)
            )
        elif _is_prepared(stored):
            self.change(metadata)
        else:
            raise StoreError(
                f"collection {self._place(' exists already')}; {REBUILD}, or {NAME_ANOTHER}"
            )
        self.ensure_indexes()

    def drop(self) -> None:
        """Delete the collection with its points; `create` makes it again with its settings.

        Raises:
            StoreError: geosim did not make it.
        """
        stored = self.stored()
        if stored is not None and not _is_prepared(stored):
            self._model_of(stored)
            self._former = settings_of(stored)
            for name in {self._live(), *self._successors()}:
                self._delete(name)
        self._indexed = False

    def beside(self, model: ModelRef) -> ServerCollection | None:
        """Return a `successor` of this one with its settings; None if there is none to replace.

        Raises:
            StoreError: geosim did not make this one.
        """
        stored = self.stored()
        if stored is None or _is_prepared(stored):
            return None
        self._model_of(stored)
        former = {**settings_of(stored)}
        if vectors_of(stored) != _WANTED:
            del former["vectors"]
        return self.successor(model, former)

    def successor(self, model: ModelRef, settings: Settings) -> ServerCollection:
        """Return a collection that does not exist, to be built and to take this one's place.

        What an interrupted run left of it is deleted.
        """
        live = self._live()
        names = [f"{self._stem}{model.fingerprint[:12]}{end}" for end in ("", "-2")]
        name = next(one for one in names if one != live)
        found = ServerCollection(self._connection, name, {**settings, **self.settings})
        found.drop()
        return found

    def replace(self, new: ServerCollection) -> None:
        """Give ``new`` the name of this collection, as an alias, and delete this one.

        Whoever searches meets the one or the other: where the name is an alias the server switches
        it at once. A collection of that name is deleted first, and `stored` finds its successor.
        """
        live = self._live()
        new.change({SUCCESSOR_KEY: self.name})
        if live == self.name:
            self._delete(live)
        self._switch(new.name, replaced=live != self.name)
        for one in {live, *self._successors()} - {self.name, new.name}:
            self._delete(one)

    def _switch(self, name: str, *, replaced: bool = False) -> None:
        """Make the name of this collection an alias of ``name``; ``replaced`` if it is one now."""
        made = models.CreateAlias(collection_name=name, alias_name=self.name)
        switch: list[Any] = [models.CreateAliasOperation(create_alias=made)]
        if replaced:
            gone = models.DeleteAlias(alias_name=self.name)
            switch.insert(0, models.DeleteAliasOperation(delete_alias=gone))
        self._connection.send(lambda client: client.update_collection_aliases(switch))

    def _delete(self, name: str) -> None:
        self._connection.send(lambda client: client.delete_collection(name))

    def _live(self) -> str:
        """Return the name of the collection behind an alias of this name, else this name."""
        aliases = self._connection.send(lambda client: client.get_aliases()).aliases
        named = {one.alias_name: one.collection_name for one in aliases}
        return named.get(self.name, self.name)

    def live_name(self) -> str | None:
        """Return the name of the collection, no alias; None if there is no collection."""
        if self._connection.send(lambda client: client.collection_exists(self.name)):
            return self._live()
        return None

    def ensure_indexes(self) -> None:
        """Create missing keyword indexes: an interrupted `create` may have left some out."""
        if self._indexed:
            return
        send = self._connection.send
        present = send(lambda client: client.get_collection(self.name)).payload_schema
        for key in KEYWORD_FIELDS:
            if key not in present:
                self.make_index(key, "keyword")
        self._indexed = True

    def make_index(self, field: str, kind: str) -> None:
        """Make the payload index of a field."""
        self._connection.send(
            lambda client: client.create_payload_index(self.name, field, SCHEMAS[kind], wait=True)
        )

    def origins(self) -> dict[str, Origin]:
        """Return where the data sets come from, by name."""
        stored = self.stored()
        metadata = {} if stored is None else stored.config.metadata or {}
        return {
            key.removeprefix(ORIGIN_KEY): _origin(text)
            for key, text in metadata.items()
            if key.startswith(ORIGIN_KEY) and text is not None
        }

    def set_origin(self, dataset: str, origin: Origin | None) -> None:
        """Note where a data set comes from, or forget it."""
        text = None if origin is None else json.dumps(origin.to_dict())
        self.change({f"{ORIGIN_KEY}{dataset}": text})  # null removes a key

    def metadata(self) -> dict[str, Any]:
        """Return the metadata; none without a collection.

        Raises:
            StoreError: geosim did not make it.
        """
        stored = self.stored()
        if stored is None or _is_prepared(stored):
            return {}
        self._model_of(stored)
        return stored.config.metadata or {}

    def change(self, metadata: dict[str, Any], *, patient: bool = True) -> None:
        """Set keys of the metadata, or remove those of None; the others stay."""
        self._connection.send(
            lambda client: client.update_collection(self.name, metadata=metadata), patient=patient
        )

    def stored(self) -> models.CollectionInfo | None:
        """Return what the server tells of the collection; None without one."""
        if not self.send(lambda client: client.collection_exists(self.name)) and not self._finish():
            return None
        return self.send(lambda client: client.get_collection(self.name))

    def _finish(self) -> bool:
        """Finish a `replace` that was interrupted after it deleted; return whether there is one."""
        for name in self._successors():
            self._switch(name)
            return True
        return False

    def _successors(self) -> list[str]:
        """Return the names of complete collections that take, or took, the name of this one."""
        send = self._connection.send
        names = [one.name for one in send(lambda client: client.get_collections()).collections]
        return [name for name in names if name.startswith(self._stem) and self._is_for(name)]

    def _is_for(self, name: str) -> bool:
        stored = self._connection.send(lambda client: client.get_collection(name))
        return (stored.config.metadata or {}).get(SUCCESSOR_KEY) == self.name

    def _model_of(self, stored: models.CollectionInfo) -> ModelRef:
        """Return the model in a collection's metadata, or raise `StoreError` without one."""
        try:
            stored_model = (stored.config.metadata or {})[METADATA_KEY]
            return ModelRef(stored_model["fingerprint"], stored_model["backbone"])
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"collection {self._place()} was not made by geosim: its metadata names no model; "
                f"{NAME_ANOTHER}"
            ) from error

    def _place(self, exists: str = "") -> str:
        return f"{self.name!r}{exists} at {self._connection.location}"


def _is_prepared(stored: models.CollectionInfo) -> bool:
    """Return whether a collection was made for geosim by another program, and is empty."""
    return not stored.config.metadata and not stored.points_count and vectors_of(stored) == _WANTED


def _origin(text: Any) -> Origin:
    try:
        stored = json.loads(text)
    except (TypeError, ValueError):
        stored = {}
    return Origin.from_dict(stored)
