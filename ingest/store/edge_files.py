"""The files of one collection in the embedded engine; does not import it.

    <folder>/<name>/        the shard, written by Qdrant Edge; in <name>+2 if the metadata says so
    <folder>/<name>.json    metadata of geosim: model, vector size, whether the shard is complete,
                            its folder, where each data set comes from
    <folder>/<name>.lock    locked while the shard is open; a second opener would damage its files
    <folder>/.<name>.holder the process that holds the lock, for messages

Where these cannot be written, a private copy is read (`ingest/store/edge_copy.py`).

The metadata has ``ready`` false before a shard is created or removed, and true once it is complete.
A process killed in between leaves a collection that counts as missing; the next `make_shard_folder`
or `remove` deletes it. A folder without metadata is never deleted.

It gets a new ``revision`` before the first write of a process, and ``writing`` is true from then
until that process closes the shard, or for ever if it was killed. Earlier versions had neither.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from geosim.ingest.checks import check_name
from geosim.ingest.schema import NAME_ANOTHER, REBUILD, ModelRef, Origin, Payload
from geosim.ingest.store import edge_metadata
from geosim.ingest.store.edge_copy import OPEN_ROOM, PrivateCopy, bytes_of_holes
from geosim.ingest.store.edge_faults import busy_error, bytes_to_write, write_error
from geosim.trainer.console import say
from geosim.trainer.disk import FULL, explain, require_room
from geosim.trainer.errors import StoreCopyError, StoreError
from geosim.trainer.files import READ_ONLY, replacing
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.locks import ProcessLock
from geosim.trainer.temporary import delete_abandoned

UNFINISHED = ".atomicwrite"
"""Beginning of the names of folders in which the engine writes a file before it renames it. It
leaves them when it is killed."""


class EdgeFiles:
    """The files of one embedded collection; making the object reads and writes nothing."""

    def __init__(self, folder: Path, name: str, wait: float = 0.0) -> None:
        """Wait ``wait`` seconds for another process that holds the lock."""
        self.name = check_name(name)
        self.folder = folder
        self.places = [folder / one for one in edge_metadata.places(name)]
        self.metadata = folder / f"{name}.json"
        self._lock = ProcessLock(folder / f"{name}.lock")
        self._wait, self._purpose = wait, f"close collection {name!r} in {folder}"
        self._copy: PrivateCopy | None = None
        self._why_copied: OSError | None = None  # while a private copy is read
        self._writing = False
        self._interrupted = False  # whether a killed process left the mark of writing

    @property
    def shard(self) -> Path:
        """The folder of the shard; it changes when a new one takes its place."""
        return self.folder / edge_metadata.shard_name(self._stored_or_none() or {}, self.name)

    def acquire(self) -> None:
        """Take the lock to write, unless this object holds it.

        Raises:
            StoreBusyError: another process holds it.
            StoreError: the files cannot be written.
        """
        with self.translated():
            self._acquire(self._wait)

    def acquire_to_read(self) -> Path:
        """Take the lock and return the shard, or a private copy where it cannot be written.

        Raises:
            StoreBusyError: another process holds the lock.
            StoreError: there is no complete collection, or the copy failed.
        """
        with self.translated():
            try:
                self._acquire(self._wait)
                require_room(self.folder, OPEN_ROOM + bytes_of_holes(self.shard, self.folder))
            except OSError as error:
                self._copy = self._copy_unwritable(error, self._wait)
                self._why_copied = error
                return self._copy.folder / self.shard.name
        return self.shard

    def copy(self, wait: float) -> PrivateCopy:
        """Return a private copy; the lock is held meanwhile, for which this waits ``wait`` seconds.

        Raises:
            StoreBusyError: another process holds the lock.
            StoreCopyError: there is no room for a copy.
            StoreError: there is no complete collection.
        """
        if not self.folder.is_dir():
            self.require()  # and make no folder
        with self.translated():
            try:
                self._acquire(wait)
                return self._make_copy()
            except OSError as error:
                return self._copy_unwritable(error, wait)
            finally:
                self._lock.release()

    def begin_writing(self, points: int = 0, payloads: Sequence[Payload] = ()) -> None:
        """Require room for a write and mark the collection as changed, once until `release`.

        ``points`` are the points to write or delete, ``payloads`` what is written. Needs the lock.

        Raises:
            StoreError: a private copy is read, there is no room, or the mark cannot be written.
        """
        self._require_writable(points, payloads)
        if not self._writing and (stored := self._stored()) is not None:
            with self.translated():
                self.write_metadata(stored)

    def release(self) -> None:
        """Release the lock and delete a private copy; safe to call twice."""
        if self._writing or self._interrupted:
            with suppress(OSError, StoreError):  # the free lock tells the same
                if (stored := self._stored()) is not None:
                    self.write_metadata(stored, writing=False)
        self._writing = self._interrupted = False
        self._lock.release()
        if self._copy is not None:
            self._copy.close()
            self._copy = self._why_copied = None

    def revision(self) -> tuple[str | None, bool]:
        """Return the collection's revision, and whether it is complete and no process writes.

        The revision is None without a collection, and empty if an earlier version wrote it.
        """
        stored = self._stored()
        if stored is None:
            return None, False
        return stored.get("revision", ""), stored["ready"] and not stored.get("writing", False)

    def read_model(self) -> ModelRef | None:
        """Return the collection's model, or None if there is no complete collection."""
        for _ in range(2):  # another shard may take its place meanwhile
            stored = self._stored()
            if stored is None or not stored["ready"]:
                return None
            if (self.folder / edge_metadata.shard_name(stored, self.name)).is_dir():
                break
        else:
            return None
        if stored["vector_size"] != EMBEDDING_DIM:
            raise StoreError(
                f"collection {self.name!r} in {self.folder} holds vectors of size "
                f"{stored['vector_size']}, expected {EMBEDDING_DIM}; {REBUILD}"
            )
        return ModelRef(stored["fingerprint"], stored["backbone"])

    def read_origins(self) -> dict[str, Origin]:
        """Return where the data sets come from, by name; none without a complete collection."""
        stored = None if self.read_model() is None else self._stored()
        return edge_metadata.origins_of(stored or {})

    def write_origin(self, dataset: str, origin: Origin | None) -> None:
        """Note where a data set comes from, or forget it; needs the lock and `begin_writing`."""
        if (stored := self._stored()) is not None:
            with self.translated():
                self.write_metadata(edge_metadata.with_origin(stored, dataset, origin))

    def require(self) -> None:
        """Raise `StoreError` if there is no complete collection."""
        if self.read_model() is None:
            raise StoreError(
                f"there is no collection {self.name!r} in {self.folder}; make it with "
                "`geosim ingest DATA`"
            )

    def make_shard_folder(self, model: ModelRef) -> None:
        """Make an empty folder for a new shard, in place of an incomplete one; needs the lock."""
        if self.read_model() is not None:
            raise StoreError(
                f"collection {self.name!r} exists already in {self.folder}; {REBUILD}, or "
                f"{NAME_ANOTHER}"
            )
        left = [place for place in self.places if place.exists()]
        if left and not self.metadata.exists():
            raise StoreError(
                f"{left[0]} exists without {self.metadata.name}, so geosim may not have made "
                f"it; move it away, or {NAME_ANOTHER}"
            )
        self._require_writable()
        with self.translated():
            self.write_metadata(edge_metadata.new_metadata(model, ready=False))
            for place in left:
                shutil.rmtree(place)
            self.shard.mkdir()

    def mark_ready(self, model: ModelRef) -> None:
        """Record that the shard is complete; needs the lock."""
        with self.translated():
            self.write_metadata(edge_metadata.new_metadata(model, ready=True))

    def remove(self) -> None:
        """Delete the shard, then its metadata; refuse files of another program. Needs the lock."""
        if self._stored() is None:
            return
        with self.translated():
            self.write_metadata(edge_metadata.new_metadata(ModelRef("", ""), ready=False))
            for place in self.places:
                if place.exists():
                    shutil.rmtree(place)
            self.metadata.unlink()

    def write_metadata(self, stored: dict[str, Any], *, writing: bool = True) -> None:
        """Write the metadata, with a new revision unless the writing is over."""
        stored = stored | {"writing": writing}
        if writing:
            stored["revision"] = uuid.uuid4().hex
        with replacing(self.metadata) as temporary:
            temporary.write_text(json.dumps(stored, indent=2), encoding="utf-8")
        self._writing = writing

    def _stored(self) -> dict[str, Any] | None:
        return edge_metadata.read_metadata(self.metadata, self.folder / self.name)

    def _stored_or_none(self) -> dict[str, Any] | None:
        with suppress(StoreError):  # damaged: told where it is needed
            return self._stored()
        return None

    def _acquire(self, wait: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(wait, self._purpose)
        delete_abandoned(self.folder)
        stored, shard = self._stored_or_none(), self.shard
        self._interrupted = not self._writing and bool((stored or {}).get("writing"))
        files = [shard, *shard.rglob("*")] if shard.exists() else []
        if not all(os.access(path, os.W_OK) for path in files):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        left = [path for path in files if path.name.startswith(UNFINISHED)]
        if stored is not None:  # a new shard took the place of the other one, or was to take it
            left += [place for place in self.places if place != shard and place.exists()]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)

    def _copy_unwritable(self, error: OSError, wait: float) -> PrivateCopy:
        """Copy where the files cannot be written; raise ``error`` if it has another reason."""
        if error.errno not in (*READ_ONLY, *FULL):
            raise error
        fault = "on a full disk" if error.errno in FULL else "read-only"
        self._lock.release()
        with self._lock.shared(wait, self._purpose):
            copy = self._make_copy(f"{self.folder} is {fault}, and ")
        say(f"{self.folder} is {fault}: reading a temporary copy of it", err=True)
        return copy

    def _make_copy(self, reason: str = "") -> PrivateCopy:
        self.require()  # another process may have dropped it
        temporary = Path(tempfile.gettempdir())
        try:
            return PrivateCopy(self.shard, self.metadata, temporary)
        except OSError as error:
            if self.folder in Path(error.filename or "").parents:
                raise
            raise StoreCopyError(
                f"{reason}a copy of collection {self.name!r} in {temporary} failed "
                f"({explain(error, temporary)}); name another folder in TMPDIR. What the "
                "collection holds is kept"
            ) from error

    def _require_writable(self, points: int = 0, payloads: Sequence[Payload] = ()) -> None:
        """Raise `StoreError` unless so many points and these payloads can be written now."""
        needed = OPEN_ROOM
        try:
            needed = bytes_to_write(self.shard, points, payloads)
            if self._why_copied is not None:
                raise self._why_copied
            require_room(self.folder, needed)
        except OSError as error:
            raise write_error(error, self.name, self.folder, needed) from error

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise errors of the files as `StoreError`."""
        try:
            yield
        except TimeoutError as error:
            raise busy_error(self.name, self.folder, self._lock.holder()) from error
        except OSError as error:
            raise write_error(error, self.name, self.folder, OPEN_ROOM) from error
