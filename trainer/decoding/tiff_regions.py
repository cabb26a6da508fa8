"""Parts of a large TIFF, read segment by segment, with the rules of `trainer/decoding/tiff.py`.

A part is samples as a whole picture has them. What a file may be: tiled or in strips, classic or
BigTIFF, in planes, in any compression that is read of a whole picture. Levels of a pyramid are read
in place of the picture where less is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from geosim.trainer.decoding.encoded import Encoded, mapped, open_encoded
from geosim.trainer.decoding.tiff import (
    JPEG,
    Tiff,
    check_page,
    check_segment,
    check_segments,
    interpret,
    open_page,
    open_tiff,
    segment_bytes,
)
from geosim.trainer.decoding.tiff_directory import level_directories
from geosim.trainer.decoding.vips_rows import Box, VipsRows
from geosim.trainer.errors import ImageError
from geosim.trainer.quiet import quiet

SEGMENT_BYTES = 2**27
"""Largest tile or strip that is decoded at once, in bytes of its samples."""

CACHE_BYTES = 2**26
"""Bytes of the decoded segments that are kept, for parts that share them."""

_MOST_GAIN = {5: 4096, 8: 1100, 32946: 1100, 32773: 128}
"""Bytes that a byte of LZW, Deflate or PackBits decodes to at most, with some to spare."""

_ROWS_OF_VIPS = {5, 8, 32773, 32946, 34925, 50000}  # LZW, Deflate, PackBits, LZMA, ZSTD


class TiffRegions(AbstractContextManager["TiffRegions"]):
    """An open TIFF file.

    Attributes:
        sizes: width and height of the picture, then of the levels of its pyramid.
        segment: width and height of what is decoded at once of the picture.
    """

    def __init__(self, data: Encoded) -> None:
        """Open a file; decode nothing.

        Raises:
            ImageError: its pixels are stored in a way that is not read by parts.
            Exception: it is damaged.
        """
        with ExitStack() as stack, quiet("tifffile", "imagecodecs"):
            with mapped(data) as view:
                directories, size = level_directories(view), len(view)
            self._file = stack.enter_context(open_tiff(stack.enter_context(open_encoded(data))))
            page = open_page(self._file, directories[0].offset)
            self._channels = check_page(page)
            check_segments(page, size)
            _check_gain(page)
            levels = (open_page(self._file, one.offset) for one in directories[1:])
            self._pages = [page, *(one for one in levels if _alike(one, page, size))]
            self._rows: VipsRows | None = None
            if segment_bytes(page) > SEGMENT_BYTES and not _is_raw(page):
                first = directories[0].offset == self._file.pages.first.offset
                if not (first and _is_plain(page, self._channels)):
                    raise ImageError(
                        f"this TIFF is stored in tiles or strips of {segment_bytes(page):,} bytes; "
                        f"at most {SEGMENT_BYTES:,} are decoded of a large picture, so save it in "
                        "tiles"
                    )
                self._rows = stack.enter_context(VipsRows(data))
            self._segments: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
            self._stack = stack.pop_all()
        self.sizes = [(one.imagewidth, one.imagelength) for one in self._pages]
        by_rows = self._rows is not None or _is_raw(page)
        self.segment = (page.imagewidth, 1) if by_rows else _segment_size(page)

    def read(self, box: Box, level: int = 0) -> Tiff:
        """Return a part of the picture, or of a level; ``box`` is in its pixels.

        Raises:
            Exception: the file is damaged.
        """
        page = self._pages[level]
        left, top, right, bottom = box
        with quiet("tifffile", "imagecodecs"):
            if level == 0 and self._rows is not None:
                values = self._rows.read(box)[None, None]
            else:
                planes, samples = page.shaped[0], page.shaped[4]
                shape = (planes, 1, bottom - top, right - left, samples)
                values = np.full(shape, page.nodata, page.dtype)
                for plane, x, y, segment in self._parts(page, level, box):
                    x0, x1 = max(left, x), min(right, x + segment.shape[1])
                    y0, y1 = max(top, y), min(bottom, y + segment.shape[0])
                    values[plane, 0, y0 - top : y1 - top, x0 - left : x1 - left] = segment[
                        y0 - y : y1 - y, x0 - x : x1 - x
                    ]
            return interpret(self._file, page, self._channels, values)

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._stack.close()

    def _parts(
        self, page: tifffile.TiffPage, level: int, box: Box
    ) -> Iterator[tuple[int, int, int, NDArray[Any]]]:
        """Yield plane, left and upper edge, and samples of the segments that a box touches."""
        left, top, right, bottom = box
        width, height = _segment_size(page)
        across, down = -(-page.imagewidth // width), -(-page.imagelength // height)
        for plane in range(page.shaped[0]):
            for row in range(top // height, -(-bottom // height)):
                if _is_raw(page):
                    start, stop = max(top, row * height), min(bottom, (row + 1) * height)
                    yield plane, 0, start, self._raw(page, plane * down + row, start, stop)
                    continue
                for column in range(left // width, -(-right // width)):
                    number = (plane * down + row) * across + column
                    segment = self._decoded(page, level, number)
                    if segment is not None:
                        yield plane, column * width, row * height, segment

    def _decoded(self, page: tifffile.TiffPage, level: int, number: int) -> NDArray[Any] | None:
        """Return the samples of a segment, ``(h, w, c)``; None for one that is not stored."""
        if (level, number) in self._segments:
            self._segments.move_to_end((level, number))
            return self._segments[level, number]
        data = self._bytes(page, number)
        check_segment(page, data)
        tables: dict[str, Any] = {}
        if int(page.compression) in JPEG:  # tables may lie beside the segments
            tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        decoded, _, _ = page.decode(data or None, number, **tables)
        if decoded is None:
            return None
        segment: NDArray[Any] = decoded[0]
        free = CACHE_BYTES - segment.nbytes
        while self._segments and sum(one.nbytes for one in self._segments.values()) > free:
            self._segments.popitem(last=False)
        if free > 0:
            self._segments[level, number] = segment
        return segment

    def _bytes(self, page: tifffile.TiffPage, number: int) -> bytes:
        file = self._file.filehandle
        file.seek(page.dataoffsets[number])
        data = file.read(page.databytecounts[number])
        if len(data) != page.databytecounts[number]:
            raise ValueError("truncated")
        return bytes(data)

    def _raw(self, page: tifffile.TiffPage, number: int, top: int, bottom: int) -> NDArray[Any]:
        """Return rows of a strip that is stored as it is."""
        dtype = np.dtype(page.dtype).newbyteorder(self._file.byteorder)
        row = page.imagewidth * page.shaped[4] * dtype.itemsize
        first = top - number % -(-page.imagelength // page.rowsperstrip) * page.rowsperstrip
        file = self._file.filehandle
        file.seek(page.dataoffsets[number] + first * row)
        data = file.read((bottom - top) * row)
        shape = (bottom - top, page.imagewidth, page.shaped[4])
        return np.frombuffer(data, dtype).reshape(shape)  # ValueError if it is cut short


def _check_gain(page: tifffile.TiffPage) -> None:
    """Refuse tiles or strips that are too short for their pixels, before any is decoded."""
    most = _MOST_GAIN.get(int(page.compression))
    if most is None or page.is_subsampled or not isinstance(page.bitspersample, int):
        return
    width, height = _segment_size(page)
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    least = width * samples * page.bitspersample // 8 * height
    strips = -(-page.imagelength // height)
    for number, count in enumerate(page.databytecounts, start=1):
        shorter = not page.is_tiled and strips > 1 and number % strips == 0  # the last strip
        if count and not shorter and count * most < least:
            raise ValueError("truncated")


def _segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def _alike(page: tifffile.TiffPage, other: tifffile.TiffPage, size: int) -> bool:
    """Return whether a level has samples as the picture has, and can be read."""
    try:
        check_page(page)
        check_segments(page, size)
        _check_gain(page)
    except (ImageError, ValueError):
        return False
    kinds = [
        (one.photometric, one.samplesperpixel, one.bitspersample, one.dtype, one.extrasamples)
        for one in (page, other)
    ]
    return kinds[0] == kinds[1] and segment_bytes(page) <= SEGMENT_BYTES


def _is_raw(page: tifffile.TiffPage) -> bool:
    """Return whether the rows of a strip lie in the file as they are."""
    return (
        not page.is_tiled
        and int(page.compression) == 1
        and int(page.predictor) == 1
        and int(page.fillorder) == 1
        and not page.is_subsampled
        and page.dtype is not None
        and page.bitspersample == 8 * page.dtype.itemsize
    )


def _is_plain(page: tifffile.TiffPage, channels: int) -> bool:
    """Return whether libvips gives the samples of a page as they are stored."""
    return (
        not page.is_tiled
        and int(page.compression) in _ROWS_OF_VIPS
        and int(page.photometric) in (1, 2)
        and page.planarconfig == 1
        and page.samplesperpixel == channels
        and page.bitspersample in (8, 16)
        and page.dtype is not None
        and page.dtype.kind == "u"
    )
