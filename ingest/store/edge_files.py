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
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geosim.ingest.schema import NAME_ANOTHER, REBUILD, ModelRef, Origin, check_name
from geosim.ingest.store.edge_copy import PrivateCopy
from geosim.trainer.errors import StoreBusyError, StoreCopyError, StoreError
from geosim.trainer.files import READ_ONLY, replacing
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.locks import ProcessLock


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
        """Take the lock and return the shard; where it cannot be written, a private copy of it.

        Raises:
            StoreBusyError: another process holds the lock.
            StoreError: there is no complete collection, or the copy failed.
        """
        with self._translated():
            try:
                self._acquire(self._wait)
            except OSError as error:
                self._copy = self._copy_read_only(error, self._wait)
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
                return self._copy_read_only(error, wait)
            finally:
                self._lock.release()

    def begin_writing(self) -> None:
        """Mark the collection as changed, once until `release`; needs the lock.

        Raises:
            StoreError: a private copy is read, or the mark cannot be written.
        """
        if self._copy is not None:
            raise StoreError(
                f"cannot write to collection {self.name!r}: {self.folder} is read-only; name a "
                "writable folder with --working or --qdrant"
            )
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
            self._copy = None

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

    def damage_error(self, error: BaseException) -> StoreError:
        """Return the error to raise for unusable files, with a remedy."""
        reason = " ".join(str(error).split())[:200]
        return StoreError(
            f"cannot use collection {self.name!r} in {self.folder} ({reason}); if it stays so, "
            f"move {self.shard} and {self.metadata.name} away and ingest again"
        )

    def _read_metadata(self) -> dict[str, Any] | None:
        try:
            stored: dict[str, Any] = json.loads(self.metadata.read_bytes())
            if not {"ready", "vector_size", "fingerprint", "backbone"} <= stored.keys():
                raise ValueError(f"geosim did not write {self.metadata.name}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, AttributeError) as error:
            raise self.damage_error(error) from error
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

    def _copy_read_only(self, error: OSError, wait: float) -> PrivateCopy:
        """Copy where the lock could not be written; raise ``error`` if it has another reason."""
        if error.errno not in READ_ONLY:
            raise error
        self._lock.release()
        with self._lock.shared(wait, self._purpose):
            copy = self._make_copy(f"{self.folder} is read-only, and ")
        sys.stderr.write(f"{self.folder} is read-only: reading a temporary copy of it\n")
        return copy

    def _make_copy(self, reason: str = "") -> PrivateCopy:
        self.require()  # another process may have dropped it
        try:
            return PrivateCopy(self.shard, self.metadata)
        except OSError as error:
            raise StoreCopyError(
                f"{reason}a copy of collection {self.name!r} in {tempfile.gettempdir()} failed "
                f"({error.strerror or error}); make room there, or name another folder in TMPDIR"
            ) from error

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
            raise StoreError(
                f"cannot write to {self.folder} ({error.strerror or error}); name a writable "
                "folder with --working or --qdrant"
            ) from error


def _metadata(model: ModelRef, *, ready: bool) -> dict[str, Any]:
    stored = {"ready": ready, "vector_size": EMBEDDING_DIM, "distance": "cosine"}
    return stored | asdict(model)
