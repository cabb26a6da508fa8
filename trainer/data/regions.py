"""Parts of a large picture, decoded by the rules of a whole one, without holding the picture.

TIFF is read tile by tile and strip by strip, and from the levels of its pyramid; PNG and JPEG from
top to bottom. All boxes are in pixels of the upright picture.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from geosim.trainer.data.picture_rows import PNG, PictureRows
from geosim.trainer.data.reasons import reason
from geosim.trainer.data.upright import EXIF_TRANSPOSE, Decoded, Stored, finish
from geosim.trainer.decoding.encoded import (
    MAX_BYTES,
    MAX_PIXELS,
    Encoded,
    head_of,
    mapped,
    open_encoded,
)
from geosim.trainer.decoding.limits import ONE_LARGE, check_file
from geosim.trainer.decoding.samples import (
    Samples,
    Scale,
    is_byte,
    scale_of,
    scale_of_parts,
    to_8_bits,
)
from geosim.trainer.decoding.tiff import Tiff
from geosim.trainer.decoding.tiff_directory import SIGNATURES as TIFF
from geosim.trainer.decoding.tiff_directory import main_directory
from geosim.trainer.decoding.vips_rows import Box
from geosim.trainer.errors import ImageError

MAX_LARGE_PIXELS = 2**32
"""Largest picture that is read by parts, in pixels: 4 gigapixels."""

BLOCK_PIXELS = 2**23
"""Pixels that are decoded at once, or those of a row of tiles; four times as many at most."""

PART_PIXELS = 4 * BLOCK_PIXELS
"""Largest part that is returned, in pixels; a larger one is reduced."""

REDUCING_GAP = 2
"""Times the side that is asked for which a reduced part has at least: the mean of whole blocks of
pixels, and a resize of the rest, come close to a resize of all (Pillow, `Image.resize`)."""

_JPEG = b"\xff\xd8"
_LEAST_JPEG = 2**20  # bytes of a JPEG that is large; its blocks take some bits each

_ToStored = Callable[[Box, int, int], Box]
_STORED: dict[int, _ToStored] = {  # upright boxes in stored pixels, by EXIF orientation
    2: lambda b, w, _: (w - b[2], b[1], w - b[0], b[3]),
    3: lambda b, w, h: (w - b[2], h - b[3], w - b[0], h - b[1]),
    4: lambda b, _, h: (b[0], h - b[3], b[2], h - b[1]),
    5: lambda b, *_: (b[1], b[0], b[3], b[2]),
    6: lambda b, _, h: (b[1], h - b[2], b[3], h - b[0]),
    7: lambda b, w, h: (w - b[3], h - b[2], w - b[1], h - b[0]),
    8: lambda b, w, _: (w - b[3], b[0], w - b[1], b[2]),
}


class _Reader(Protocol):
    """Reads samples of parts, in stored pixels."""

    sizes: list[tuple[int, int]]
    segment: tuple[int, int]

    def read(self, box: Box, level: int = 0) -> Tiff:
        """Return a part of the picture, or of a level of its pyramid."""


def header_size(data: Encoded) -> tuple[int, int] | None:
    """Return the stored width and height of a picture that can be read by parts; else None."""
    head = head_of(data, 24)
    try:
        if head.startswith(TIFF):
            with mapped(data) as view:
                directory = main_directory(view)
            return directory.width, directory.height
        if head.startswith(PNG):
            width, height = struct.unpack_from(">II", head, 16)
            return width, height
        if head.startswith(_JPEG) and not (isinstance(data, bytes) and len(data) < _LEAST_JPEG):
            check_file(data, opening=True)
            with open_encoded(data) as file, JpegImageFile(file) as image:
                return image.size
    except Exception:  # decoding says what is wrong with it
        return None
    return None


def is_large(data: Encoded) -> bool:
    """Return whether a picture is read by parts.

    Raises:
        ImageError: it has more than `MAX_LARGE_PIXELS`.
    """
    if (size := header_size(data)) is None:
        return False
    if size[0] * size[1] > MAX_LARGE_PIXELS:
        raise ImageError(
            f"{size[0]} x {size[1]} pixels; at most {MAX_LARGE_PIXELS:,} are read, so make it "
            "smaller, or cut it into several pictures"
        )
    size_on_disk = 0 if isinstance(data, bytes) else data.stat().st_size
    return size[0] * size[1] > MAX_PIXELS or size_on_disk > MAX_BYTES


class Regions(AbstractContextManager["Regions"]):
    """An open picture; one is open at a time.

    Attributes:
        size: width and height.
        decoding: how its parts are decoded.
        scale: how its samples become 8 bits.
    """

    def __init__(self, data: Encoded, scale: Scale | None = None) -> None:
        """Open a TIFF, PNG or JPEG; see `header_size`.

        ``scale`` is that of an earlier opening. Without it all of a picture of deep samples is
        read, once.

        Raises:
            ImageError: it is damaged, or stored in a way that is not read by parts.
        """
        from geosim.trainer.decoding.tiff_regions import TiffRegions

        self._data = data
        with ExitStack() as stack, self._translated():
            stack.enter_context(ONE_LARGE)
            opened = TiffRegions(data) if head_of(data, 4).startswith(TIFF) else PictureRows(data)
            self._reader: _Reader = opened
            stack.push(opened)
            first = self._reader.read((0, 0, 1, 1))
            self._orientation, self._profile = first.orientation, first.profile
            whole = (0, 0, *self._reader.sizes[0])
            if scale is not None:
                self.scale = scale
            elif is_byte(first.samples) and first.samples.bits == 8:
                self.scale = scale_of(first.samples)
            else:
                self.scale = scale_of_parts(self._reader.sizes[0], self._samples(whole))
            self.decoding = self._finished(first.samples).decoding
            self._stack = stack.pop_all()
        width, height = self._reader.sizes[0]
        self.size = (height, width) if self._orientation >= 5 else (width, height)

    def read(self, box: Box | None = None, side: int | None = None) -> Image.Image:
        """Return a part, or the whole, as sRGB; of more than `PART_PIXELS` reduced.

        ``side`` is that of the picture in pixels that the caller needs: the part may be reduced to
        `REDUCING_GAP` times as much.

        Raises:
            ImageError: the picture is damaged.
        """
        box = box or (0, 0, *self.size)
        width, height = box[2] - box[0], box[3] - box[1]
        factor = math.ceil(math.sqrt(width * height / PART_PIXELS))
        if side is not None:
            factor = max(factor, min(width, height) // (REDUCING_GAP * side))
        with self._translated():
            image = self._reduced(self._stored(box), max(1, factor))
        transpose = EXIF_TRANSPOSE.get(self._orientation)
        return image if transpose is None else image.transpose(transpose)

    def parts(self, boxes: Sequence[Box]) -> Iterator[tuple[Box, Image.Image]]:
        """Yield many parts as `read` returns them, in an order that decodes little twice.

        Raises:
            ImageError: the picture is damaged.
        """
        row: list[Box] = []
        for box in sorted(boxes, key=lambda one: (self._stored(one)[1], self._stored(one)[0])):
            if row and (
                self._stored(row[0])[1::2] != self._stored(box)[1::2]
                or _area(_union([*row, box])) > PART_PIXELS
            ):
                yield from self._row(row)
                row = []
            row.append(box)
        if row:
            yield from self._row(row)

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._stack.close()

    def _row(self, boxes: Sequence[Box]) -> Iterator[tuple[Box, Image.Image]]:
        left, top, right, bottom = _union(boxes)
        image = self.read((left, top, right, bottom))
        for box in boxes:
            if len(boxes) == 1:  # the only one that may be reduced
                yield box, image
            else:
                inside = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
                yield box, image.crop(inside)

    def _stored(self, box: Box) -> Box:
        convert = _STORED.get(self._orientation)
        return box if convert is None else convert(box, *self._reader.sizes[0])

    def _reduced(self, box: Box, factor: int) -> Image.Image:
        """Return a stored part, reduced by a factor, from the smallest level that has as much."""
        sizes = self._reader.sizes
        level = max(i for i, one in enumerate(sizes) if i == 0 or sizes[0][0] <= factor * one[0])
        if level:
            across, down = (one / whole for one, whole in zip(sizes[level], sizes[0], strict=True))
            box = (
                math.floor(box[0] * across),
                math.floor(box[1] * down),
                min(sizes[level][0], math.ceil(box[2] * across)),
                min(sizes[level][1], math.ceil(box[3] * down)),
            )
            factor = max(1, int(factor * across))
        size = (-(-(box[2] - box[0]) // factor), -(-(box[3] - box[1]) // factor))
        canvas = Image.new("RGB", size)
        for left, top, samples in self._samples(box, level, factor):
            image = self._finished(samples).image
            part = image.reduce(factor) if factor > 1 else image
            canvas.paste(part, (left // factor, top // factor))
        return canvas

    def _samples(
        self, box: Box, level: int = 0, factor: int = 1
    ) -> Iterator[tuple[int, int, Samples]]:
        """Yield a stored part in blocks, each with its place in it; all are factors in size."""
        left, top, right, bottom = box
        width = right - left
        rows = max(self._reader.segment[1], BLOCK_PIXELS // width)
        rows = -(-rows // factor) * factor
        columns = width
        if rows * width > 4 * BLOCK_PIXELS:
            columns = max(1, 4 * BLOCK_PIXELS // rows // factor) * factor
        for y in range(top, bottom, rows):
            for x in range(left, right, columns):
                block = (x, y, min(x + columns, right), min(y + rows, bottom))
                yield x - left, y - top, self._reader.read(block, level).samples

    def _finished(self, samples: Samples) -> Decoded:
        scaled = to_8_bits(samples, self.scale)
        plain = isinstance(self._reader, PictureRows) and samples.bits == 8
        what = scaled.scaled_from
        return finish(Stored(scaled.image, scaled.image.size, 1, self._profile, what, plain))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MemoryError as error:
            raise ImageError("too little memory to decode it; make it smaller") from error
        except ImageError:
            raise
        except Exception as error:  # the decoders raise many kinds for damaged files
            raise ImageError(reason(head_of(self._data, 1024), error)) from error


def _union(boxes: Iterable[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
