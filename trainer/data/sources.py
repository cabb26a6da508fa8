"""Sources of an image's bytes: the file system, or a .zip archive."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from geosim.trainer.data.images import MAX_BYTES
from geosim.trainer.errors import DatasetError, ImageError

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a data set."""

    path: str  # stored path, POSIX: geological_similarity/marble/MGN0Z.jpg
    label: str  # class name, the folder directly below the root
    source: str  # path in the file system, or POSIX path in the archive


class Source(Protocol):
    """Reads the bytes of records."""

    def read(self, record: Record) -> bytes:
        """Return the file's bytes or raise `ImageError`."""


class Files:
    """Reads records whose source is a path in the file system."""

    def read(self, record: Record) -> bytes:
        """Return the file's bytes.

        Raises:
            ImageError: the file cannot be read, is not a regular file or is too large.
        """
        path = Path(record.source)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
                raise ImageError("not a regular file")
            _check_size(status.st_size)
            return path.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: the name has a NUL
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"cannot be read: {reason}") from error

    def head(self, where: str, smallest: int, size: int) -> bytes:
        """Return the first ``size`` bytes of a regular file; none of a smaller one."""
        try:
            status = os.stat(where)  # noqa: PTH116 - a third of Path's cost
            if not stat.S_ISREG(status.st_mode) or status.st_size < smallest:
                return b""
            with open(where, "rb", buffering=0) as file:  # noqa: PTH123
                return file.read(size)
        except OSError:
            return b""


class Archive:
    """Reads records whose source is an entry of one .zip; thread-safe."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises many kinds for a damaged directory
            raise DatasetError(
                f"{path} is no readable .zip archive; download or pack it again"
            ) from error
        entries = {"/".join(self._parts(entry)): entry for entry in self._zip.infolist()}
        self._entries = {name: entry for name, entry in entries.items() if not entry.is_dir()}

    def names(self) -> Iterator[str]:
        """Yield the relative POSIX paths of the entries that are files."""
        yield from self._entries

    def _parts(self, entry: zipfile.ZipInfo) -> tuple[str, ...]:
        """Return an entry's path parts; some packers on Windows write only backslashes."""
        name = entry.filename
        slashed = name.replace("\\", "/")
        if ".." in PurePosixPath(slashed).parts or _ABSOLUTE.match(name):
            raise DatasetError(
                f"{self._zip.filename} holds the unsafe path {name!r}; refused as a "
                "whole, pack it again with relative paths"
            )
        return PurePosixPath(name if "/" in name else slashed).parts

    def head(self, where: str, smallest: int, size: int) -> bytes:
        """Return the first ``size`` bytes of an entry; none of a smaller one."""
        if self._entries[where].file_size < smallest:
            return b""
        try:
            with self._zip.open(self._entries[where]) as file:
                return file.read(size)
        except Exception:  # of decompressors; reading the whole entry tells why
            return b""

    def read(self, record: Record) -> bytes:
        """Return the entry's bytes.

        Raises:
            ImageError: the entry is missing, damaged, encrypted or too large.
        """
        entry = self._entries.get(record.source)
        if entry is None:
            raise ImageError("not in the archive")
        _check_size(entry.file_size)
        try:
            return self._zip.read(entry)
        except (OSError, RuntimeError, NotImplementedError) as error:
            if entry.flag_bits & 1:
                why = "it is encrypted"
            else:
                why = getattr(error, "strerror", None) or "its compression is not supported"
            raise ImageError(
                f"cannot be read from the archive: {why}; unpack it and name the folder"
            ) from error
        except Exception as error:  # zlib.error and errors of other decompressors
            raise ImageError(
                "damaged in the archive (wrong CRC or compression); download or pack it again"
            ) from error


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ImageError(f"{size:,} bytes; at most {MAX_BYTES:,} are read, so make it smaller")
