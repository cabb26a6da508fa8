"""The file with the marks of a collection: where it is, and the lock to write it.

Backups and copies carry it as it is. What is in it, `geosim.search.marks` reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geosim.trainer.console import say
from geosim.trainer.errors import StoreError
from geosim.trainer.files import replacing
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


def put_marks(source: Path, file: Path, *, replace: bool) -> None:
    """Put the marks of a file in place; others that are there stay, unless ``replace`` is set.

    Raises:
        StoreError: another process writes them for too long.
        OSError: a file cannot be read or written.
    """
    with marks_locked(file):
        marks = source.read_bytes()
        if not file.exists() or replace:
            with replacing(file) as temporary:
                temporary.write_bytes(marks)
        elif file.read_bytes() != marks:
            say(f"{file}: other marks are there, which stay; add --replace to have those", err=True)


def copy_marks(working: Working, collection: str, copied_to: str, *, replace: bool) -> None:
    """Put the marks of a collection beside its copy of another name; see `put_marks`."""
    source = marks_file(working, collection)
    if copied_to != collection and source.is_file():
        put_marks(source, marks_file(working, copied_to), replace=replace)
