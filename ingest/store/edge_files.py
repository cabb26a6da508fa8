"""The files of one collection in the embedded engine; does not import it.

    <folder>/<name>/        the shard, written by Qdrant Edge
    <folder>/<name>.json    metadata of geosim: model, vector size, whether the shard is complete,
                            where each data set comes from
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
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geosim.ingest.schema import NAME_ANOTHER, REBUILD, ModelRef, Origin, Payload, check_name
from geosim.ingest.store.edge_copy import OPEN_ROOM, PrivateCopy, bytes_of_holes
from geosim.trainer.console import say
from geosim.trainer.disk import FULL, explain, keeps_holes, require_room
from geosim.trainer.errors import StoreBusyError, StoreCopyError, StoreError
from geosim.trainer.files import READ_ONLY, replacing
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.locks import ProcessLock

POINT_ROOM, PAYLOAD_ROOM = 2 * 2**10, 4
"""Further bytes that must be free per point that is written or deleted, and per byte of payload.

The log, vectors, payloads and indexes of 1,024 points together grew by 0.9 MB with payloads of 185
bytes, and by 1.7 MB with 565 bytes, over 150,000 points (Qdrant Edge 0.9.0 on ext4). Replaced
points took two thirds of that, deleted ones 80 bytes each.
"""

GROWTH_ROOM = 192 * 2**20
"""Further bytes that must be free to write on a disk where holes take room: a new shard has files
of 166 MB, and grows by files of 4 and 32 MB."""

_MACHINE = (
    *(*FULL, *READ_ONLY, errno.EIO, errno.EFBIG),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY),
)
"""Codes of errors of the machine, which say nothing about the files."""


class EdgeFiles:
    """The files of one embedded collection; making the object reads and writes nothing."""

    def __init__(self, folder: Path, name: str, wait: float = 0.0) -> None:
        """Wait ``wait`` seconds for another process that holds the lock."""
        self.name = check_name(name)
        self.folder = folder
        self.shard = folder / name
        self.metadata = folder / f"{name}.json"
        self._lock = ProcessLock(folder / f"{name}.lock")
        self._wait, self._purpose = wait, f"close collection {name!r} in {folder}"
        self._copy: PrivateCopy | None = None
        self._why_copied: OSError | None = None  # while a private copy is read
        self._writing = False

    def acquire(self) -> None:
        """Take the lock to write, unless this object holds it.

        Raises:
            StoreBusyError: another process holds it.
            StoreError: the files cannot be written.
        """
        with self._translated():
            self._acquire(self._wait)

    def acquire_to_read(self) -> Path:
        """Take the lock and return the shard, or a private copy where it cannot be written.

        Raises:
            StoreBusyError: another process holds the lock.
            StoreError: there is no complete collection, or the copy failed.
        """
        with self._translated():
            try:
                self._acquire(self._wait)
                require_room(self.folder, OPEN_ROOM + bytes_of_holes(self.shard, self.folder))
            except OSError as error:
                self._copy = self._copy_unwritable(error, self._wait)
                self._why_copied = error
                return self._copy.folder / self.name
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
        with self._translated():
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
        if not self._writing and (stored := self._read_metadata()) is not None:
            with self._translated():
                self._write_metadata(stored)

    def release(self) -> None:
        """Release the lock and delete a private copy; safe to call twice."""
        if self._writing:
            with suppress(OSError, StoreError):  # the free lock tells the same
                if (stored := self._read_metadata()) is not None:
                    self._write_metadata(stored, writing=False)
        self._writing = False
        self._lock.release()
        if self._copy is not None:
            self._copy.close()
            self._copy = self._why_copied = None

    def revision(self) -> tuple[str | None, bool]:
        """Return the collection's revision, and whether it is complete and no process writes.

        The revision is None without a collection, and empty if an earlier version wrote it.
        """
        stored = self._read_metadata()
        if stored is None:
            return None, False
        return stored.get("revision", ""), stored["ready"] and not stored.get("writing", False)

    def read_model(self) -> ModelRef | None:
        """Return the collection's model, or None if there is no complete collection."""
        stored = self._read_metadata()
        if stored is None or not stored["ready"] or not self.shard.is_dir():
            return None
        if stored["vector_size"] != EMBEDDING_DIM:
            raise StoreError(
                f"collection {self.name!r} in {self.folder} holds vectors of size "
                f"{stored['vector_size']}, expected {EMBEDDING_DIM}; {REBUILD}"
            )
        return ModelRef(stored["fingerprint"], stored["backbone"])

    def read_origins(self) -> dict[str, Origin]:
        """Return where the data sets come from, by name; none without a complete collection."""
        stored = None if self.read_model() is None else self._read_metadata()
        origins = {} if stored is None else stored.get("origins", {})
        return {name: Origin.from_dict(one) for name, one in origins.items()}

    def write_origin(self, dataset: str, origin: Origin | None) -> None:
        """Note where a data set comes from, or forget it; needs the lock and `begin_writing`."""
        stored = self._read_metadata()
        if stored is None:
            return
        origins = stored.get("origins", {})
        origins.pop(dataset, None)
        if origin is not None:
            origins[dataset] = origin.to_dict()
        with self._translated():
            self._write_metadata(stored | {"origins": origins})

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
        if self.shard.exists() and not self.metadata.exists():
            raise StoreError(
                f"{self.shard} exists without {self.metadata.name}, so geosim may not have made "
                f"it; move it away, or {NAME_ANOTHER}"
            )
        self._require_writable()
        with self._translated():
            self._write_metadata(_metadata(model, ready=False))
            if self.shard.exists():
                shutil.rmtree(self.shard)
            self.shard.mkdir()

    def mark_ready(self, model: ModelRef) -> None:
        """Record that the shard is complete; needs the lock."""
        with self._translated():
            self._write_metadata(_metadata(model, ready=True))

    def remove(self) -> None:
        """Delete the shard, then its metadata; refuse files of another program. Needs the lock."""
        if self._read_metadata() is None:
            return
        with self._translated():
            self._write_metadata(_metadata(ModelRef("", ""), ready=False))
            if self.shard.exists():
                shutil.rmtree(self.shard)
            self.metadata.unlink()

    def unusable(self, error: BaseException) -> StoreError:
        """Return the error to raise for an error of the engine: of the machine, or of the files."""
        reason = " ".join(str(error).replace("Service runtime error: ", "").split())
        code = re.search(r"\(os error (\d+)\)", reason)
        fault = OSError(int(code[1]), os.strerror(int(code[1]))) if code else None
        if fault is None or fault.errno not in _MACHINE:
            try:
                require_room(self.folder, OPEN_ROOM)
            except OSError as full:
                fault = full
        if fault is not None and fault.errno in _MACHINE:
            return StoreError(
                f"cannot use collection {self.name!r} in {self.folder}: "
                f"{explain(fault, self.folder)}. What it holds is kept"
            )
        reason = reason.replace(f"{self.shard}{os.sep}", "")[:300]
        if re.search("newer than application version|not compatible with current", reason):
            return StoreError(
                f"collection {self.name!r} in {self.folder} was written by another version of the "
                f"engine ({reason}); install that version of qdrant-edge-py, or {NAME_ANOTHER}. "
                "What it holds is kept"
            )
        return StoreError(
            f"collection {self.name!r} in {self.folder} is damaged ({reason}); restore it from a "
            f"backup, or move {self.shard} and {self.metadata.name} away and ingest again"
        )

    def _read_metadata(self) -> dict[str, Any] | None:
        try:
            stored: dict[str, Any] = json.loads(self.metadata.read_bytes())
            if not {"ready", "vector_size", "fingerprint", "backbone"} <= stored.keys():
                raise ValueError(f"geosim did not write {self.metadata.name}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(
                f"cannot read {self.metadata}: {explain(error, self.metadata)}. Nothing says that "
                "the collection is damaged"
            ) from error
        except (ValueError, AttributeError) as error:
            raise StoreError(
                f"{self.metadata}, which tells the model of collection {self.name!r}, is damaged "
                f"({error}); restore it from a backup, or move {self.shard} and "
                f"{self.metadata.name} away and ingest again"
            ) from error
        return stored

    def _write_metadata(self, stored: dict[str, Any], *, writing: bool = True) -> None:
        """Write the metadata, with a new revision unless the writing is over."""
        stored = stored | {"writing": writing}
        if writing:
            stored["revision"] = uuid.uuid4().hex
        with replacing(self.metadata) as temporary:
            temporary.write_text(json.dumps(stored, indent=2), encoding="utf-8")
        self._writing = writing

    def _acquire(self, wait: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(wait, self._purpose)
        files = [self.shard, *self.shard.rglob("*")] if self.shard.exists() else []
        if not all(os.access(path, os.W_OK) for path in files):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

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
        content = sum(len(json.dumps(payload.to_dict())) for payload in payloads)
        needed = OPEN_ROOM + POINT_ROOM * points + PAYLOAD_ROOM * content
        try:
            if self._why_copied is not None:
                raise self._why_copied
            if not keeps_holes(self.folder):
                needed += GROWTH_ROOM + bytes_of_holes(self.shard, self.folder)
            require_room(self.folder, needed)
        except OSError as error:
            raise self._cannot_write(error, needed) from error

    def _cannot_write(self, error: OSError, needed: int) -> StoreError:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in FULL:
            return StoreError(
                f"cannot write to collection {self.name!r} in {self.folder}, which needs "
                f"{needed / 1e6:,.1f} MB now: {explain(error, self.folder)}. What it holds is kept"
            )
        return StoreError(
            f"cannot write to {self.folder}, or read all of it: {explain(error, self.folder)}"
            f"{where}; name a writable folder with --working or --qdrant"
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise StoreBusyError(
                f"collection {self.name!r} in {self.folder} is open in {self._lock.holder()}; wait "
                "until that one ends, wait longer with --wait SECONDS, or share the collection "
                "through a server (--qdrant URL)"
            ) from error
        except OSError as error:
            raise self._cannot_write(error, OPEN_ROOM) from error


def _metadata(model: ModelRef, *, ready: bool) -> dict[str, Any]:
    stored = {"ready": ready, "vector_size": EMBEDDING_DIM, "distance": "cosine"}
    return stored | asdict(model)
