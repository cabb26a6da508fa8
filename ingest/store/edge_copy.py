"""Private copies of an embedded collection, in the system's folder for temporary files."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from geosim.trainer.files import copy_sparse, stored_bytes

COPY_PREFIX = "geosim-copy-"
"""Start of the names of the copies' folders."""

SPARE_BYTES = 64 * 2**20
"""Room that is left beside a copy; the engine writes little when it opens one."""


class PrivateCopy:
    """A copy of a shard and of its metadata; deleted by `close`, or after a kill by the next one.

    Attributes:
        folder: a folder of the embedded engine with this collection alone.
    """

    def __init__(self, shard: Path, metadata: Path) -> None:
        """Copy; no process may have the shard open. Raise OSError without room."""
        _delete_abandoned()
        self._temporary = tempfile.TemporaryDirectory(prefix=COPY_PREFIX)
        self.folder = Path(self._temporary.name)
        self._lock = FileLock(self.folder / "lock", thread_local=False)
        try:
            self._lock.acquire(timeout=0)
            if shutil.disk_usage(self.folder).free < stored_bytes(shard) + SPARE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            copy_sparse(shard, self.folder / shard.name)
            shutil.copyfile(metadata, self.folder / metadata.name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Delete the copy; safe to call twice."""
        self._lock.release()
        self._temporary.cleanup()


def _delete_abandoned() -> None:
    """Delete the copies of killed processes: those whose lock is free.

    A folder with nothing but a lock may not be locked yet.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{COPY_PREFIX}*"):
        with suppress(OSError):  # another user's, or in use
            if any(path.name != "lock" for path in folder.iterdir()):
                with FileLock(folder / "lock", timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
