"""The files of one collection in the embedded engine: folder, lock and metadata.

    <folder>/<name>/        the shard, written by Qdrant Edge
    <folder>/<name>.json    metadata of geosim: model, vector size, whether the shard is complete
    <folder>/<name>.lock    locked while the shard is open; a second opener would damage its files

The metadata has ``ready`` false before a shard is created or removed, and true once it is complete.
A process killed in between leaves a collection that counts as missing; the next `make_shard_folder`
or `remove` deletes it. A folder without metadata is never deleted.

Owns these files. Does not import the engine.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from geosim.ingest.schema import ModelRef, check_name
from geosim.trainer.errors import StoreBusyError, StoreError
from geosim.trainer.files import replacing
from geosim.trainer.heads.head import EMBEDDING_DIM


class EdgeFiles:
    """The files of one embedded collection.

    Attributes:
        name: the collection's name.
        folder: the folder of all collections.
        shard: the folder of this collection's shard.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Name the files. Reads and writes nothing.

        Raises:
            StoreError: ``name`` cannot name a collection.
        """
        self.name = check_name(name)
        self.folder = folder
        self.shard = folder / name
        self._metadata = folder / f"{name}.json"
        # The threads of a process share the open shard, and so its lock.
        self._lock = FileLock(folder / f"{name}.lock", thread_local=False)

    def acquire(self) -> None:
        """Take the lock without waiting; do nothing if this object holds it.

        Raises:
            StoreBusyError: another process or object holds it.
            StoreError: the folder cannot be written.
        """
        if self._lock.is_locked:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreBusyError(
                f"collection {self.name!r} in {self.folder} is open in another process; wait "
                "until that one ends, or share the collection through a server (--qdrant URL)"
            ) from error
        except OSError as error:
            raise self._write_error(error) from error

    def release(self) -> None:
        """Release the lock; safe to call twice."""
        self._lock.release()

    def exists(self) -> bool:
        """Return whether there are files that `remove` would delete."""
        return self._metadata.exists()

    def read_model(self) -> ModelRef | None:
        """Return the collection's model, or None if there is no complete collection.

        Raises:
            StoreError: the metadata is damaged, or names another vector size.
        """
        try:
            stored = json.loads(self._metadata.read_bytes())
            ready, size = stored["ready"], stored["vector_size"]
            model = ModelRef(stored["fingerprint"], stored["backbone"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self.damage_error(error) from error
        if not ready or not self.shard.is_dir():
            return None
        if size != EMBEDDING_DIM:
            raise StoreError(
                f"collection {self.name!r} in {self.folder} holds vectors of size {size}, "
                f"expected {EMBEDDING_DIM}; rebuild it with `geosim ingest DATA --recreate`"
            )
        return model

    def make_shard_folder(self, model: ModelRef) -> None:
        """Make an empty folder for a new shard, in place of an incomplete one; needs the lock.

        Raises:
            StoreError: the collection exists, geosim may not have made the existing folder, or
                the folder cannot be written.
        """
        if self.read_model() is not None:
            raise StoreError(
                f"collection {self.name!r} exists already in {self.folder}; rebuild it with "
                "`geosim ingest DATA --recreate`, or name another --collection"
            )
        if self.shard.exists() and not self._metadata.exists():
            raise StoreError(
                f"{self.shard} exists without {self._metadata.name}, so geosim may not have made "
                "it; move it away, or name another --collection"
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
        """Delete the shard, then its metadata; needs the lock.

        Raises:
            StoreError: geosim did not write the metadata, so the folder may not be its own.
        """
        try:
            stored = json.loads(self._metadata.read_bytes())
            known = {"ready", "vector_size", "fingerprint", "backbone"} <= set(stored)
        except (OSError, ValueError, TypeError) as error:
            raise self.damage_error(error) from error
        if not known:
            raise self.damage_error(ValueError(f"geosim did not write {self._metadata.name}"))
        with self._translated():
            self._write_metadata(ModelRef("", ""), ready=False)
            if self.shard.exists():
                shutil.rmtree(self.shard)
            self._metadata.unlink()

    def damage_error(self, error: BaseException) -> StoreError:
        """Return the error to raise for unusable files, with a remedy."""
        reason = " ".join(str(error).split())[:200]
        return StoreError(
            f"cannot use collection {self.name!r} in {self.folder} ({reason}); if it stays so, "
            f"move {self.shard} and {self._metadata.name} away and ingest again"
        )

    def _write_metadata(self, model: ModelRef, *, ready: bool) -> None:
        """Write the metadata atomically."""
        stored = {
            "ready": ready,
            "vector_size": EMBEDDING_DIM,
            "distance": "cosine",
            "fingerprint": model.fingerprint,
            "backbone": model.backbone,
        }
        with replacing(self._metadata) as temporary:
            temporary.write_text(json.dumps(stored, indent=2), encoding="utf-8")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write to {self.folder} ({error.strerror or error}); name a writable folder "
            "with --working or --qdrant"
        )
