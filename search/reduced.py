"""Reduced pictures by the content of their files, kept so that a comparison decodes each once.

One SQLite file in the working folder, in which any process may add pictures; a killed one loses
those that it had just decoded. It is a help alone: where it is damaged or cannot be written, all
pictures are decoded again.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np

from geosim.trainer.data.dataset import HashedRecord, Rejected, blocks
from geosim.trainer.data.sources import Source
from geosim.trainer.decoding.account import CONVERTED, PLAIN
from geosim.trainer.evaluation.overlap import (
    THUMBNAIL_SIDE,
    TILE_SIDE,
    Picture,
    read_pictures,
    reduce_picture,
)

BLOCK = 512
"""Pictures looked up and added at once; old SQLite versions accept 999 variables."""

_HEAD = struct.Struct("<IIIBB")  # height, width, factor; height and width of the tile
_TABLE = f"pictures_{TILE_SIDE}_{THUMBNAIL_SIDE}_{PLAIN}_{CONVERTED}"


def read_reduced(
    source: Source,
    items: Sequence[HashedRecord],
    file: Path,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[list[HashedRecord], list[Picture], list[Rejected]]:
    """Return what `read_pictures` does with `reduce_picture`; decode only what is not in ``file``.

    ``progress`` is called with the number of items just done.
    """
    kept: list[HashedRecord] = []
    pictures: list[Picture] = []
    rejected: list[Rejected] = []
    with _opened(file) as database:
        for block in blocks(items, BLOCK):
            known = _get(database, (item.sha256 for item in block))
            missing = [item for item in block if item.sha256 not in known]
            progress(len(block) - len(missing))
            read, new, unread = read_pictures(source, missing, reduce_picture, progress=progress)
            fresh = dict(zip((item.sha256 for item in read), new, strict=True))
            _put(database, fresh)
            known |= fresh
            found = [item for item in block if item.sha256 in known]
            kept += found
            pictures += [known[item.sha256] for item in found]
            rejected += unread
    return kept, pictures, rejected


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open the file of kept pictures, or a new one in memory where it cannot be used."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        database = _connected(file)
    except (OSError, sqlite3.Error):
        database = _connected(":memory:")
    with closing(database):
        yield database


def _connected(file: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=60.0)
    try:
        database.execute("PRAGMA synchronous=NORMAL")
        with database:
            database.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} (sha256 TEXT PRIMARY KEY, picture BLOB)"
            )
    except BaseException:
        database.close()
        raise
    return database


def _get(database: sqlite3.Connection, digests: Iterable[str]) -> dict[str, Picture]:
    keys = [*dict.fromkeys(digests)]
    marks = ",".join("?" * len(keys))
    query = f"SELECT sha256, picture FROM {_TABLE} WHERE sha256 IN ({marks})"  # noqa: S608
    found: dict[str, Picture] = {}
    with suppress(sqlite3.Error):  # damaged
        for digest, stored in database.execute(query, keys):
            if (picture := _unpacked(stored)) is not None:
                found[digest] = picture
    return found


def _put(database: sqlite3.Connection, pictures: dict[str, Picture]) -> None:
    rows = [(digest, _packed(one)) for digest, one in pictures.items()]
    with suppress(sqlite3.Error), database:  # damaged, or the disk is full
        database.executemany(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?)", rows)  # noqa: S608


def _packed(picture: Picture) -> bytes:
    head = _HEAD.pack(*picture.size, picture.factor, *picture.tile.shape)
    return head + picture.tile.tobytes() + picture.thumbnail.tobytes()


def _unpacked(stored: object) -> Picture | None:
    """Return a kept picture, or None if it is none."""
    if not isinstance(stored, bytes) or len(stored) < _HEAD.size:
        return None
    height, width, factor, down, across = _HEAD.unpack_from(stored)
    pixels = np.frombuffer(stored, np.uint8, offset=_HEAD.size)
    if len(pixels) != down * across + THUMBNAIL_SIDE**2:
        return None
    tile, thumbnail = np.split(pixels, [down * across])
    return Picture(
        size=(height, width),
        factor=factor,
        tile=tile.reshape(down, across),
        thumbnail=thumbnail.reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE),
    )
