"""The files of one collection in the embedded engine; does not import it.

    <folder>/<name>/        the shard, written by Qdrant Edge
    <folder>/<name>.json    metadata of geosim: model, vector size, whether the shard is complete,
                            where each data set comes from
    <folder>/<name>.lock    locked while the shard is open; a second opener would damage its files
    <folder>/.<name>.holder the process that holds the lock, for messages

Where these cannot be written, a private copy of the shard is read.

The metadata has ``ready`` false before a shard is created or removed, and true once it is complete.
A process killed in between leaves a collection that counts as missing; the next `make_shard_folder`
or `remove` deletes it. A folder without metadata is never deleted.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from geosim.ingest.schema import NAME_ANOTHER, REBUILD, ModelRef, Origin, check_name
from geosim.trainer.errors import StoreBusyError, StoreError
from geosim.trainer.files import READ_ONLY, copy_sparse, replacing
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.locks import ProcessLock

COPY_PREFIX = "geosim-copy-"
"""Start of the names of temporary folders with a copy of a shard."""


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
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._copy_lock: BaseFileLock | None = None

    def acquire(self) -> None:
        """Take the lock to write, unless this object holds it.

        Raises:
            StoreBusyError: another process holds it.
            StoreError: the files cannot be written.
        """
        with self._translated():
            self._acquire()

    def acquire_to_read(self) -> Path:
        """Take the lock and return the shard; where it cannot be written, a private copy of it.

        Raises:
            StoreBusyError: another process holds the lock.
            StoreError: there is no complete collection, or the copy failed.
        """
        with self._translated():
            try:
                self._acquire()
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                self._lock.release()
                return self._copy_shard()
        return self.shard

    def require_writable(self) -> None:
        """Raise `StoreError` while a private copy is read."""
        if self._copy is not None:
            raise StoreError(
                f"cannot write to collection {self.name!r}: {self.folder} is read-only; name a "
                "writable folder with --working or --qdrant"
            )

    def release(self) -> None:
        """Release the lock and delete a private copy; safe to call twice."""
        self._lock.release()
        if self._copy_lock is not None:
            self._copy_lock.release()
            self._copy_lock = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

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
        """Note where a data set comes from, or forget it; needs the lock and a collection."""
        model, origins = self.read_model(), self.read_origins()
        if model is None or origins.get(dataset) == origin:
            return
        origins.pop(dataset, None)
        if origin is not None:
            origins[dataset] = origin
        with self._translated():
            self._write_metadata(model, origins, ready=True)

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
            self._write_metadata(model, ready=False)
            if self.shard.exists():
                shutil.rmtree(self.shard)
            self.shard.mkdir()

    def mark_ready(self, model: ModelRef) -> None:
        """Record that the shard is complete; needs the lock."""
        with self._translated():
            self._write_metadata(model, ready=True)

    def remove(self) -> None:
        """Delete the shard, then its metadata; refuse files of another program. Needs the lock."""
        if self._read_metadata() is None:
            return
        with self._translated():
            self._write_metadata(ModelRef("", ""), ready=False)
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

    def _write_metadata(
        self, model: ModelRef, origins: Mapping[str, Origin] | None = None, *, ready: bool
    ) -> None:
        stored: dict[str, Any] = {"ready": ready, "vector_size": EMBEDDING_DIM}
        stored |= {"distance": "cosine", **asdict(model)}
        stored["origins"] = {name: one.to_dict() for name, one in (origins or {}).items()}
        with replacing(self.metadata) as temporary:
            temporary.write_text(json.dumps(stored, indent=2), encoding="utf-8")

    def _acquire(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(self._wait, self._purpose)
        files = [self.shard, *self.shard.rglob("*")] if self.shard.exists() else []
        if not all(os.access(path, os.W_OK) for path in files):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _copy_shard(self) -> Path:
        _delete_abandoned_copies()
        with self._lock.shared(self._wait, self._purpose):
            self.require()
            try:
                self._copy = tempfile.TemporaryDirectory(prefix=COPY_PREFIX)
                self._copy_lock = FileLock(Path(self._copy.name, "lock"), thread_local=False)
                self._copy_lock.acquire(timeout=0)
                copy_sparse(self.shard, Path(self._copy.name, self.name))
            except OSError as error:
                raise StoreError(
                    f"{self.folder} is read-only, and a copy of collection {self.name!r} in "
                    f"{tempfile.gettempdir()} failed ({error.strerror or error}); make room there, "
                    "or name another folder in TMPDIR"
                ) from error
        sys.stderr.write(f"{self.folder} is read-only: reading a temporary copy of it\n")
        return Path(self._copy.name, self.name)

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


def _delete_abandoned_copies() -> None:
    """Delete the copies of killed processes: those whose lock is free."""
    for path in Path(tempfile.gettempdir()).glob(f"{COPY_PREFIX}*/lock"):
        with suppress(OSError), FileLock(path, timeout=0):
            shutil.rmtree(path.parent, ignore_errors=True)
