"""The disk below a folder: whether it has room, and what its errors mean to a user."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Codes of an `OSError` where a disk has no room."""

FAULTS = (*FULL, errno.EROFS, errno.EFBIG, errno.EIO)
"""Codes that tell of a disk, not of a file."""

_HOLE = 2**14  # bytes, a few pages

_REMEDY = "or name a folder on another disk, and run the same command again"


def require_room(folder: Path, needed: int) -> None:
    """Raise `OSError` unless ``needed`` bytes can be written to files in ``folder`` now.

    They are allocated for a moment where the system can do that, which heeds quotas too; never
    more than is free, as that would fill the disk under the mapped files of others.
    """
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    if hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, needed)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise OSError(error.errno, error.strerror, str(folder)) from error


def keeps_holes(folder: Path) -> bool:
    """Return whether holes of mapped sparse files take no room; they do in memory and on FAT."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(_HOLE)
        with mmap.mmap(file.fileno(), _HOLE, access=mmap.ACCESS_READ) as mapped:
            _ = mapped[_HOLE // 2]
            return 512 * getattr(os.fstat(file.fileno()), "st_blocks", _HOLE) < _HOLE // 4


def disk_of(path: Path) -> Path:
    """Return the mount point of the disk that holds ``path``, which need not exist."""
    path = Path(os.path.realpath(path))
    while not os.path.ismount(path) and path != path.parent:
        path = path.parent
    return path


def explain(error: OSError, path: Path) -> str:
    """Return why a file or folder cannot be used, in words, and what to do about its disk."""
    disk = disk_of(path)
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(disk).free
        left = f"{free / 1e6:,.1f} MB are free"
        return f"the disk {disk} is too full, {left}; make room on it, {_REMEDY}"
    if error.errno == errno.EDQUOT:
        return f"your quota on the disk {disk} is used up; delete files of yours there, {_REMEDY}"
    if error.errno == errno.EROFS:
        return f"the disk {disk} is read-only; make it writable, {_REMEDY}"
    if error.errno == errno.EFBIG:
        return (
            f"a file would exceed the size that {disk} or `ulimit -f` allows; raise it, {_REMEDY}"
        )
    if error.errno == errno.EIO:
        return (
            f"the disk {disk} failed to read or write (input/output error), which says nothing "
            "about the files; check its cable, connection and health, and run the same command "
            "again"
        )
    return error.strerror or " ".join(str(error).split()) or type(error).__name__
