"""Rows of a large picture by libvips, which decodes from top to bottom and holds few of them.

Owns which files it reads: PNG and JPEG, and TIFF of one huge compressed strip, as their own samples
without any change of colour.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.decoding.encoded import Encoded, open_encoded
from geosim.trainer.quiet import quiet

if TYPE_CHECKING:
    import pyvips

Box = tuple[int, int, int, int]  # left, top, right, bottom, in stored pixels

BUFFER_BYTES = 2**26
"""Bytes of the rows that are kept, so that the next part beside or below need not start anew."""


class VipsRows(AbstractContextManager["VipsRows"]):
    """The samples of one picture; parts are best asked for from top to bottom."""

    def __init__(self, data: Encoded) -> None:
        """Open a picture; nothing of it is decoded.

        Raises:
            Exception: it is damaged; pyvips raises its own kind.
        """
        import pyvips

        pyvips.cache_set_max(0)
        self._data = data
        self._file: Any = None
        image = self._open()
        self._dtype = np.dtype({"uchar": np.uint8, "ushort": np.uint16}[image.format])
        self.size: tuple[int, int] = (image.width, image.height)
        self._bands: int = image.bands
        self._top, self._rows = 0, np.empty((0, image.width, image.bands), self._dtype)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the samples of a part, ``(h, w, c)`` uint8 or uint16.

        Raises:
            Exception: the picture is damaged.
        """
        left, top, right, bottom = box
        width, kept = self.size[0], self._rows
        if (bottom - top) * width * self._bands * self._dtype.itemsize > BUFFER_BYTES:
            # Too wide to keep: the next part of the same rows is decoded from the top again.
            self._open()
            self._top, self._rows = self.size[1], self._rows[:0]
            return self._fetch((left, top, right, bottom))
        if top < self._top:
            self._open()
            kept = kept[:0]
        else:
            kept = kept[top - self._top :]
        have = min(len(kept), bottom - top)
        if have == bottom - top:
            return kept[:have, left:right]
        fresh = self._fetch((0, top + have, width, bottom))
        self._top, self._rows = top, np.concatenate([kept[:have], fresh]) if have else fresh
        return self._rows[:, left:right]

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> pyvips.Image:
        import pyvips

        options = {"access": "sequential", "fail_on": "truncated"}
        if isinstance(self._data, bytes):
            image = pyvips.Image.new_from_buffer(self._data, "", **options)
        else:
            self.__exit__()
            self._file = open_encoded(self._data)
            source = pyvips.Source.new_from_descriptor(self._file.fileno())
            image = pyvips.Image.new_from_source(source, "", **options)
        self._region = pyvips.Region.new(image)
        return image

    def _fetch(self, box: Box) -> NDArray[Any]:
        left, top, right, bottom = box
        with quiet("pyvips"):
            data = self._region.fetch(left, top, right - left, bottom - top)
        return np.frombuffer(data, self._dtype).reshape(bottom - top, right - left, self._bands)
