"""File helpers: hash a file, replace one atomically, copy and measure folders of sparse files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile

from geosim.trainer.temporary import private_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DAMAGED_NPZ = (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error)
# Raised by numpy for an .npz file that is missing, damaged or lacks an array.

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Codes of an `OSError` where files cannot be written."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_arrays(path: Path, *names: str) -> list[NDArray[Any]] | None:
    """Return arrays of an .npz file by name; None where it is missing, damaged or lacks one.

    Never unpickles.
    """
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except _DAMAGED_NPZ:
        return None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in a folder beside ``path`` and rename it at the end of the block.

    A reader sees the complete old or new file. A block that raises leaves the old file. The
    temporary path has the same name. A device or pipe, such as ``/dev/stdout``, is not replaced: it
    is written to at the end, from a temporary path in the system's folder for them.

    Raises:
        OSError: with ``path`` as its file name, also where a write failed.
    """
    folder: Path | None = None
    try:
        special = is_special(path)
        parent = Path(tempfile.gettempdir()) if special else path.parent
        parent.mkdir(parents=True, exist_ok=True)
        with private_folder(parent) as folder:
            temporary = folder / path.name
            yield temporary
            if special:
                with temporary.open("rb") as file, path.open("wb") as opened:
                    shutil.copyfileobj(file, opened)
                return
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        unnamed = error.filename is None and error.errno is not None  # None: of a connection
        if unnamed or folder in Path(error.filename or "").parents:
            error.filename = str(path)
        raise


def is_special(path: Path) -> bool:
    """Return whether a path is a device or pipe, or the system's name of an open file."""
    if not path.exists() or path.is_dir():
        return False
    folder = Path(os.path.realpath(path.parent))
    return not path.is_file() or folder == Path("/dev") or folder.is_relative_to("/proc")


def copy_sparse(source: Path, target: Path) -> None:
    """Copy the files of a folder without their permissions; blocks of zeros become holes."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_dir():
            copy_sparse(path, target / path.name)
            continue
        with path.open("rb", 0) as file:
            write_sparse(file, target / path.name)


def write_sparse(source: IO[bytes], target: Path) -> None:
    """Write what a file holds to another one; blocks of zeros become holes."""
    zeros = bytes(1 << 16)
    with target.open("wb") as copy:
        while block := source.read(len(zeros)):
            if block != zeros[: len(block)]:
                copy.write(block)
            else:
                copy.seek(len(block), os.SEEK_CUR)
        copy.truncate()


def allocated_bytes(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder, without the holes of sparse ones.

    Files that vanish meanwhile are ignored.
    """
    total = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(OSError):
            if file.is_file():
                found = file.lstat()
                stored = 512 * getattr(found, "st_blocks", found.st_size)  # not on Windows
                total += min(found.st_size, stored)
    return total
