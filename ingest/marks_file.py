"""The file with the marks of a collection: where it is, and the lock to write it.

Backups carry it as it is. What is in it, `geosim.search.marks` reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geosim.trainer.errors import StoreError
from geosim.trainer.locks import ProcessLock
from geosim.trainer.working import Working

WAIT_SECONDS = 10.0
"""Time to wait for another process that writes marks; it takes milliseconds."""


def marks_file(working: Working, collection: str) -> Path:
    """Return the path of the file; it is there once a hit was marked."""
    return working.marks / f"{collection}.json"


@contextmanager
def marks_locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing a file of marks during the block.

    Raises:
        StoreError: another process has the lock for `WAIT_SECONDS`.
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = ProcessLock(path.with_name(f".{path.stem}.lock"))
    try:
        lock.acquire(WAIT_SECONDS, "write marks")
    except TimeoutError as error:
        raise StoreError(f"{lock.holder()} writes marks for too long; try again") from error
    try:
        yield
    finally:
        lock.release()
