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

from geosim.trainer.data.names import Found, unify
from geosim.trainer.data.zip_names import decode_names
from geosim.trainer.decoding.encoded import HELD_BYTES, MAX_BYTES, Encoded, too_many_bytes
from geosim.trainer.errors import DatasetError, ImageError
from geosim.trainer.text import stored_name

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a data set."""

    path: str  # stored path, POSIX: geological_similarity/marble/MGN0Z.jpg
    label: str  # class name, that of a folder; empty without a class
    source: str  # path in the file system, or POSIX path in the archive
    former: str = ""  # stored path that earlier versions gave it


Stamp = tuple[int, ...]
"""What changes with a file's content, without reading it: first the times, in nanoseconds, of the
last modification and of the last status change (Windows: of the creation)."""


class Source(Protocol):
    """Reads the bytes of records."""

    def read(self, record: Record) -> Encoded:
        """Return the file's bytes, the path of a large file, or raise `ImageError`."""

    def stamp(self, record: Record) -> Stamp | None:
        """Return the file's stamp; None where there is none."""


class Files:
    """Reads records whose source is a path in the file system."""

    def read(self, record: Record) -> Encoded:
        """Return the file's bytes, or its path if it has more than `HELD_BYTES`.

        Raises:
            ImageError: the file cannot be read, is not a regular file, or is larger than what is
                read of its kind.
        """
        path = Path(record.source)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
                raise ImageError("not a regular file")
            if status.st_size <= HELD_BYTES:
                return path.read_bytes()
            from geosim.trainer.data.regions import header_size  # takes a moment to load

            if header_size(path) is None and status.st_size > MAX_BYTES:
                raise ImageError(too_many_bytes(status.st_size))
            return path
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

    def stamp(self, record: Record) -> Stamp | None:
        """Return the file's times, size and inode."""
        try:
            return _stamp(os.stat(record.source))  # noqa: PTH116 - a third of Path's cost
        except (OSError, ValueError):
            return None


class Archive:
    """Reads records whose source is an entry of one .zip; thread-safe.

    Attributes:
        notes: what to tell about the names of the entries, a line each.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            file = self._zip.fp
            self._stamp = () if file is None else _stamp(os.fstat(file.fileno()))
        except Exception as error:  # zipfile raises many kinds for a damaged directory
            raise DatasetError(
                f"{path} is no readable .zip archive; download or pack it again"
            ) from error
        entries = self._zip.infolist()
        names, note = decode_names(entries)
        self.notes = () if note is None else (f"{path}: {note}",)
        self._former, found = {}, {}
        for entry, name in zip(entries, names, strict=True):
            former = self._parts(entry.filename)
            parts = tuple(map(stored_name, self._parts(name)))
            if not entry.is_dir():
                # A later entry of the same name replaces an earlier one.
                found[former] = Found(parts, former, "/".join(parts))
                self._former["/".join(former)] = entry
        self._found = list(found.values())
        files, _ = unify(self._found)
        self._entries = {one.where: self._former["/".join(one.former)] for one in files}

    def found(self) -> Iterator[Found]:
        """Yield the files in the archive."""
        yield from self._found

    def _parts(self, name: str) -> tuple[str, ...]:
        """Return the path parts of a name; some packers on Windows write only backslashes."""
        slashed = name.replace("\\", "/")
        if ".." in PurePosixPath(slashed).parts or _ABSOLUTE.match(name):
            raise DatasetError(
                f"{self._zip.filename} holds the unsafe path {name!r}; refused as a "
                "whole, pack it again with relative paths"
            )
        return PurePosixPath(name if "/" in name else slashed).parts

    def head(self, where: str, smallest: int, size: int) -> bytes:
        """Return the first ``size`` bytes of an entry; none of a smaller one."""
        entry = self._entries[where]
        if entry.file_size < smallest:
            return b""
        try:
            with self._zip.open(entry) as file:
                return file.read(size)
        except Exception:  # of decompressors; reading the whole entry tells why
            return b""

    def read(self, record: Record) -> bytes:
        """Return the entry's bytes.

        Raises:
            ImageError: the entry is missing, damaged, encrypted or too large.
        """
        # Catalogs of earlier versions name entries as `zipfile` does.
        entry = self._entries.get(record.source) or self._former.get(record.source)
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

    def stamp(self, record: Record) -> Stamp | None:
        """Return the archive's times, size and inode, and the entry's place, size and CRC."""
        entry = self._entries.get(record.source)
        if entry is None or not self._stamp:
            return None
        return (*self._stamp, entry.header_offset, entry.compress_size, entry.file_size, entry.CRC)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ImageError(
            f"{size:,} bytes; at most {MAX_BYTES:,} are read from an archive, so unpack it and "
            "name the folder"
        )
