"""The files of one collection in the embedded engine: folder, lock and metadata.

    <folder>/<name>/        the shard, written by Qdrant Edge alone
    <folder>/<name>.json    our metadata: model, vector size, whether the shard is complete
    <folder>/<name>.lock    held while the shard is open; a second opener would damage its files

The metadata says "not ready" before a shard is made or removed, and "ready" once it is complete. A
process killed in between leaves a collection that counts as missing and that the next `prepare`
or `remove` clears. A folder without metadata is never deleted: it may be anything.

Owns these files. Knows nothing of the engine that fills the shard.
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
    """Where one embedded collection lives.

    Attributes:
        name: the collection's name.
        folder: the folder of all collections.
        shard: the folder of this collection's shard.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Name the files; nothing is read or written yet.

        Raises:
            StoreError: ``name`` cannot name a collection.
        """
        self.name = check_name(name)
        self.folder = folder
        self.shard = folder / name
        self._metadata = folder / f"{name}.json"
        # Threads of one process share the opened shard; a lock per thread would shut them out.
        self._lock = FileLock(folder / f"{name}.lock", thread_local=False)

    def acquire(self) -> None:
        """Take the lock at once; nothing happens if this object holds it.

        Raises:
            StoreBusyError: another holds it.
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
            raise self._unwritable(error) from error

    def release(self) -> None:
        """Let go of the lock; safe to call twice."""
        self._lock.release()

    def exist(self) -> bool:
        """Return whether there is anything that `remove` would delete."""
        return self._metadata.exists()

    def read_model(self) -> ModelRef | None:
        """Return the complete collection's model, or None if there is no such collection.

        Raises:
            StoreError: the metadata is damaged, or its vectors have another size.
        """
        try:
            stored = json.loads(self._metadata.read_bytes())
            ready, size = stored["ready"], stored["vector_size"]
            model = ModelRef(stored["fingerprint"], stored["backbone"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self.damaged(error) from error
        if not ready or not self.shard.is_dir():
            return None
        if size != EMBEDDING_DIM:
            raise StoreError(
                f"collection {self.name!r} in {self.folder} holds vectors of size {size}, "
                f"expected {EMBEDDING_DIM}; rebuild it with `geosim ingest DATA --recreate`"
            )
        return model

    def prepare(self, model: ModelRef) -> None:
        """Make an empty folder for a new shard, clearing an incomplete one; needs the lock.

        Raises:
            StoreError: the collection exists, or the folder holds what geosim did not make.
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
        with self._writing():
            self._write_metadata(model, ready=False)
            if self.shard.exists():
                shutil.rmtree(self.shard)
            self.shard.mkdir()

    def commit(self, model: ModelRef) -> None:
        """Mark the shard as complete; needs the lock."""
        with self._writing():
            self._write_metadata(model, ready=True)

    def remove(self) -> None:
        """Delete the shard and its metadata, the last trace going last; needs the lock.

        Raises:
            StoreError: the metadata is not ours, so neither is what it stands beside.
        """
        try:
            stored = json.loads(self._metadata.read_bytes())
            ours = {"ready", "vector_size", "fingerprint", "backbone"} <= set(stored)
        except (OSError, ValueError, TypeError) as error:
            raise self.damaged(error) from error
        if not ours:
            raise self.damaged(ValueError(f"geosim did not write {self._metadata.name}"))
        with self._writing():
            self._write_metadata(ModelRef("", ""), ready=False)
            if self.shard.exists():
                shutil.rmtree(self.shard)
            self._metadata.unlink()

    def damaged(self, error: BaseException) -> StoreError:
        """Return the error to raise for files that cannot be used, and how to go on."""
        reason = " ".join(str(error).split())[:200]
        return StoreError(
            f"cannot use collection {self.name!r} in {self.folder} ({reason}); if it stays so, "
            f"move {self.shard} and {self._metadata.name} away and ingest again"
        )

    def _write_metadata(self, model: ModelRef, *, ready: bool) -> None:
        """Write the metadata beside its place and rename it: it is old or new, never half."""
        stored = {
            "ready": ready,
            "vector_size": EMBEDDING_DIM,
            "distance": "cosine",
            "fingerprint": model.fingerprint,
            "backbone": model.backbone,
        }
        with replacing(self._metadata) as beside:
            beside.write_text(json.dumps(stored, indent=2), encoding="utf-8")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write to {self.folder} ({error.strerror or error}); name a writable folder "
            "with --working or --qdrant"
        )
