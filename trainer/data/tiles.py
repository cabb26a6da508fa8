"""Tiles of a picture: squares of one size that cover it, and their pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Protocol

from PIL import Image

from geosim.trainer.data.images import decode_small
from geosim.trainer.data.regions import Regions, header_size, is_large
from geosim.trainer.data.upright import Decoded
from geosim.trainer.decoding.account import Decoding
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.decoding.limits import LARGE_PIXELS
from geosim.trainer.decoding.vips_rows import Box
from geosim.trainer.errors import DatasetError, ImageError

LEAST_SIDE = 16
"""Pixels of the side of the smallest tile."""

MAX_TILES = 100_000
"""Tiles of one picture."""

MM_PER_PIXEL = "mm_per_pixel"
"""Name of the fact that tells a picture's scale."""

_SIZE = re.compile(r" *([0-9]{1,7}(?:\.[0-9]{1,6})?) *(mm|px)? *")


@dataclass(frozen=True, slots=True)
class TileSize:
    """The side of tiles: pixels of the upright picture, or millimetres."""

    side: float
    in_mm: bool

    def pixels(self, mm_per_pixel: object) -> int:
        """Return the side in pixels of a picture; ``mm_per_pixel`` is its fact, None without one.

        Raises:
            ImageError: the scale is missing or no positive number, or the side is too small.
        """
        if not self.in_mm:
            return int(self.side)
        if not isinstance(mm_per_pixel, int | float) or not mm_per_pixel > 0:
            received = "no" if mm_per_pixel is None else f"{mm_per_pixel!r} as"
            raise ImageError(
                f"{received} {MM_PER_PIXEL}, which tiles of {self} need; give it as a positive "
                "number in the table, or take tiles in pixels"
            )
        pixels = round(self.side / mm_per_pixel)
        if pixels < LEAST_SIDE:
            raise ImageError(
                f"{self} are {pixels} pixels at {mm_per_pixel} mm a pixel; a tile has at least "
                f"{LEAST_SIDE}"
            )
        return pixels

    def __str__(self) -> str:
        return f"{self.side:g} mm" if self.in_mm else f"{self.side:g} pixels"


def parse_tile_size(text: str) -> TileSize:
    """Return a size from ``512``, ``512px`` or ``5mm``; raise `DatasetError` for another text."""
    found = _SIZE.fullmatch(text)
    in_mm = found is not None and found[2] == "mm"
    side = float(found[1]) if found is not None else 0.0
    if side <= 0 or (not in_mm and (side < LEAST_SIDE or side != int(side))):
        raise DatasetError(
            f"the size of tiles is {LEAST_SIDE} pixels or more, such as 512, or millimetres, such "
            f"as 5mm; received {text!r}"
        )
    return TileSize(side, in_mm)


def tile_boxes(width: int, height: int, side: int) -> list[Box]:
    """Return the tiles that cover a picture: left, top, right and bottom edges.

    A picture that is not larger than ``side`` is one tile. In a picture that is longer than
    ``side`` and not as wide, the side of the tiles is its width. The last tile of a row or column
    begins earlier, so that all have one size.

    Raises:
        ImageError: there are more than `MAX_TILES`.
    """
    if max(width, height) <= side:
        return [(0, 0, width, height)]
    side = min(side, width, height)
    columns, rows = -(-width // side), -(-height // side)
    if columns * rows > MAX_TILES:
        raise ImageError(
            f"{columns * rows:,} tiles of {side} pixels; at most {MAX_TILES:,} are stored of a "
            "picture, so take larger ones"
        )
    tops = (min(row * side, height - side) for row in range(rows))
    lefts = [min(column * side, width - side) for column in range(columns)]
    return [(left, top, left + side, top + side) for top, left in product(tops, lefts)]


class Parts(Protocol):
    """A picture of which parts can be had."""

    size: tuple[int, int]
    decoding: Decoding

    def parts(self, boxes: Sequence[Box]) -> Iterator[tuple[Box, Image.Image]]:
        """Yield parts with their boxes, in any order; raise `ImageError` for a damaged picture."""


@contextmanager
def open_parts(data: Encoded) -> Iterator[Parts]:
    """Open a picture for its parts, by regions if it is large.

    Raises:
        ImageError: it cannot be decoded.
    """
    large = is_large(data)
    size = header_size(data)
    regions: Regions | None = None
    if large or (size is not None and size[0] * size[1] > LARGE_PIXELS):
        try:
            regions = Regions(data)
        except ImageError:  # as of a progressive JPEG, or a damaged file that can be repaired
            if large:
                raise
    if regions is None:
        yield _Whole(decode_small(data, hint=None))
        return
    with regions:
        yield regions


class _Whole:
    """The parts of a picture that is decoded as a whole."""

    def __init__(self, decoded: Decoded) -> None:
        self._image, self.size, self.decoding = decoded.image, decoded.size, decoded.decoding

    def parts(self, boxes: Sequence[Box]) -> Iterator[tuple[Box, Image.Image]]:
        for box in boxes:
            yield box, self._image.crop(box)
