"""Rows of arrays that may be larger than the memory: kept in a file, read a part at a time."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geosim.trainer.disk import require_room

HELD_BYTES = 2**29
"""Size of an array, in bytes, up to which it is held in memory."""

READ_BYTES = 2**25
"""Bytes read at once where all rows are read."""

MAPPED_BYTES = 2**24
"""Bytes read of a mapped file after which its pages are given back. Around each row that is read
the system maps 64 KB, a dozen times as much as a row of 1,280 features."""


class Rows:
    """Some rows of an array, read when they are asked for by slice or number.

    Attributes:
        shape: as of an array of these rows.
        folder: where larger arrays than `HELD_BYTES` that are made of them go.
    """

    def __init__(
        self, array: NDArray[Any], rows: NDArray[np.intp], folder: Path | None = None
    ) -> None:
        self._array = array
        self._rows = None if len(rows) == len(array) else rows  # sorted, so it is all of them
        self.shape: tuple[int, ...] = (len(rows), *array.shape[1:])
        self.folder = folder
        self._read = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: slice | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return rows by a slice or their numbers among these rows."""
        found = self._array[at if self._rows is None else self._rows[at]]
        self._read += found.nbytes
        if self._read > MAPPED_BYTES:
            self._read = 0
            found = np.array(found)  # no view of what is given back
            give_back(self._array)
        return found

    def whole(self) -> NDArray[Any]:
        """Return all rows as one array, which is not copied if it is all that there is."""
        return self._array if self._rows is None else self._array[self._rows]


def parts(rows: Rows | NDArray[Any]) -> Iterator[slice]:
    """Yield slices that cover all rows, of about `READ_BYTES` each."""
    count = max(1, READ_BYTES // max(1, 4 * int(np.prod(rows.shape[1:]))))
    for start in range(0, len(rows), count):
        yield slice(start, min(start + count, len(rows)))


def new_array(shape: tuple[int, ...], dtype: DTypeLike, folder: Path | None) -> NDArray[Any]:
    """Return an array of zeros; one of more than `HELD_BYTES` is in a file in ``folder``.

    The file has no name, so that a killed process leaves none behind. ``folder`` of None is that of
    temporary files.

    Raises:
        OSError: there is no room for it.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= HELD_BYTES:
        return np.zeros(shape, dtype)
    folder = Path(tempfile.gettempdir()) if folder is None else folder
    require_room(folder, size)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a hole that finds the disk full would be a SIGBUS
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "w+", shape=shape)


def give_back(array: NDArray[Any]) -> None:
    """Give the memory of a mapped file's pages back to the system; the file keeps its content."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
