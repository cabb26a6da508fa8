"""The pictures of hits as a .zip, made while it is sent: no file of it is on this machine.

Pictures are the files as they are, with their metadata, in the folders of their stored paths. Each
was checked to have the bytes that were indexed. ``hits.csv`` lists all hits, also those without a
picture, and why.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from fastapi import HTTPException

from geosim.ingest.schema import Payload
from geosim.search.spreadsheet import Cell, csv_lines
from geosim.search.types import Hit
from geosim.trainer.decoding.encoded import Encoded, open_encoded
from geosim.trainer.text import printable

MAX_ARCHIVE_BYTES = 2 * 2**30
"""Bytes of the pictures of an archive: a browser keeps it until it is whole."""

BLOCK_BYTES = 256 * 2**10
"""Bytes that are read and sent at once; a slow line has a minute for them."""

LIST_NAME = "hits.csv"
COLUMNS = ("rank", "score", "class", "path", "file", "note")

TOO_LARGE = f"left out: all pictures together are above {MAX_ARCHIVE_BYTES // 2**30} GiB"

_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]+(?=/|$)')
"""What Windows takes in no name of a file."""


class _Sent(io.RawIOBase):
    """A file that cannot be sought in; it holds what was written since the last `take`."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self._parts.append(bytes(data))  # type: ignore[call-overload]
        return len(self._parts[-1])

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def archive(
    hits: Sequence[tuple[Hit, Payload]],
    read: Callable[[Payload], Encoded],
    most_bytes: int = MAX_ARCHIVE_BYTES,
) -> Iterator[bytes]:
    """Yield the bytes of an archive of the pictures that ``read`` returns.

    ``read`` raises `HTTPException` where it has none, whose text becomes the note of the list.
    """
    sent, names, rows = _Sent(), {LIST_NAME}, list[list[Cell]]()
    with ZipFile(sent, "w") as file:  # pictures are compressed already
        for hit, payload in hits:
            row: list[Cell] = [hit.rank, hit.score, hit.label, hit.path]
            try:
                data = read(payload)
            except HTTPException as error:
                rows.append([*row, None, error.detail])
                continue
            size = data.stat().st_size if isinstance(data, Path) else len(data)
            most_bytes -= size
            if most_bytes < 0:
                rows.append([*row, None, TOO_LARGE])
                continue
            name = _free_name(hit.path, names)
            rows.append([*row, name, None])
            entry = _entry(name)
            entry.file_size = size
            with open_encoded(data) as source, file.open(entry, "w") as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
                    yield sent.take()
        file.writestr(_entry(LIST_NAME), "".join(csv_lines(COLUMNS, rows)))
    yield sent.take()


def _entry(name: str) -> ZipInfo:
    return ZipInfo(name, time.localtime()[:6])


def _free_name(path: str, names: set[str]) -> str:
    """Return a name for a stored path that every system can write, and note it.

    A path of a collection that others made may try to leave the folder.
    """
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    name = _FORBIDDEN.sub("_", printable("/".join(parts)))
    stem, dot, ending = name.rpartition(".")
    number, free = 1, name
    while free.casefold() in names:
        number += 1
        free = f"{stem} ({number}){dot}{ending}" if dot else f"{name} ({number})"
    names.add(free.casefold())
    return free
