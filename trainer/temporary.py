"""Private folders for unfinished files: deleted at the end of a block, or by a later process.

A folder is named after its machine and holds a file that is locked while its process lives. One
that a killed process left is deleted when another process of the same machine makes one beside it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".geosim-lock"
"""Name of the locked file in a private folder."""

_NO_LOCK = (OSError, NotImplementedError)  # NotImplementedError: a file system without locks


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in ``parent`` for the block; delete those of killed processes.

    Raises:
        OSError: it cannot be made.
    """
    delete_abandoned(parent)
    folder, lock = _make(parent)
    try:
        yield folder
    finally:
        _delete(folder, lock)


def delete_abandoned(parent: Path) -> None:
    """Delete the private folders in ``parent`` of killed processes of this machine and user."""
    name = re.compile(re.escape(_prefix()) + "[a-z0-9_]+")
    with suppress(OSError):
        for folder in [entry for entry in os.scandir(parent) if name.fullmatch(entry.name)]:
            with suppress(*_NO_LOCK):
                _delete_if_abandoned(folder)


def _prefix() -> str:
    """Return how the names of this machine's folders begin; what follows has no hyphen."""
    return f".geosim-{re.sub('[^A-Za-z0-9-]', '_', platform.node())[:64]}-"


def _make(parent: Path) -> tuple[Path, FileLock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=parent))
        lock = FileLock(folder / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # another thread or process took it for abandoned
            continue
        except _NO_LOCK:
            if folder.exists():
                return folder, lock
            continue  # it was deleted as abandoned
        if (folder / LOCK).exists():
            return folder, lock
        lock.release()


def _delete_if_abandoned(folder: os.DirEntry[str]) -> None:
    """Delete a folder whose lock is free; another user's is left alone."""
    if not folder.is_dir(follow_symlinks=False):
        return
    if os.name != "nt" and folder.stat(follow_symlinks=False).st_uid != os.getuid():
        return
    with suppress(OSError):
        Path(folder).rmdir()  # its process was killed before it wrote anything
        return
    path = Path(folder, LOCK)
    if path.is_file() and not path.is_symlink():
        lock = FileLock(path, thread_local=False)
        lock.acquire(timeout=0)
        _delete(Path(folder), lock)


def _delete(folder: Path, lock: FileLock) -> None:
    """Delete a folder and at last its lock: killed meanwhile, the rest is deleted later.

    The lock's file goes while it is locked: who waits for it then finds that it is gone. Windows
    deletes no open file, so there it goes afterwards, or stays if another has opened it.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != LOCK:
                path.unlink()
    if os.name == "nt":
        lock.release()
    with suppress(OSError):
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
    lock.release()
