"""An encoded picture: the bytes of its file, or the path of one that is too large to be held."""

from __future__ import annotations

import hashlib
import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from geosim.trainer import files
from geosim.trainer.errors import ImageError

Encoded = bytes | Path
"""Bytes of a picture's file, or its path."""

HELD_BYTES = 64 * 2**20
"""Largest file that is held in memory while a part of it may be enough."""

MAX_BYTES = 512 * 2**20
"""Largest file that is decoded as a whole, in bytes; about uncompressed RGB of 179 megapixels."""

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded as a whole, in pixels; Pillow's limit against decompression
bombs. TIFF, PNG and JPEG above it are read by parts (`trainer/data/regions.py`)."""


def open_encoded(data: Encoded) -> BinaryIO:
    """Open a picture for reading its bytes."""
    return data.open("rb") if isinstance(data, Path) else io.BytesIO(data)


def head_of(data: Encoded, size: int) -> bytes:
    """Return the first ``size`` bytes."""
    with open_encoded(data) as file:
        return file.read(size)


def sha256_of(data: Encoded) -> str:
    """Return the hex SHA-256 of a picture's bytes; raise `ImageError` if they cannot be read."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    try:
        return files.sha256_of(data)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def all_of(data: Encoded) -> bytes:
    """Return all bytes.

    Raises:
        ImageError: there are more than `MAX_BYTES`, or the file cannot be read.
    """
    if isinstance(data, bytes):
        return data
    try:
        size = data.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(too_many_bytes(size))
        return data.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def too_many_bytes(size: int) -> str:
    """Return why a picture that cannot be read by parts is refused."""
    return (
        f"{size:,} bytes; at most {MAX_BYTES:,} are read of a picture of this kind, so make it "
        "smaller, or save it as TIFF"
    )


@contextmanager
def mapped(data: Encoded) -> Iterator[bytes | mmap.mmap]:
    """Yield the bytes; those of a file are read where they are looked at."""
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        yield view
