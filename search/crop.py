"""A part of a picture to search by: ``X,Y,W,H`` as a user names it, and its pixels in a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from geosim.trainer.errors import QueryError

LEAST_SIDE = 8
"""Pixels of the shorter side of a part, unless it is a whole side of the picture: networks see the
mean colour of anything smaller, not its texture."""

_PIXELS, _PERCENT = r" *[0-9]{1,9} *", r" *[0-9]{1,3}(\.[0-9]{1,9})? *% *"
PATTERN = "^(" + "|".join(rf"({one},){{3}}{one}" for one in (_PIXELS, _PERCENT)) + ")$"
"""What `parse_crop` reads, as a regular expression of JSON Schema."""

_NUMBER = re.compile(r" *-?[0-9]{1,9}(\.[0-9]{1,9})? *%? *")
_EXPECTED = "X,Y,W,H in pixels or per cent, such as 100,50,400,300 or 10%,20%,50%,50%"


@dataclass(frozen=True, slots=True)
class CropBox:
    """A part of a picture, and the size of the picture, in pixels after EXIF orientation."""

    x: int  # of the left edge
    y: int  # of the upper edge
    width: int
    height: int
    picture_width: int
    picture_height: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the picture."""
        return (self.width, self.height) == (self.picture_width, self.picture_height)

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of any picture: pixels of the upright picture, or shares of its sides from 0 to 1."""

    text: str  # as it was given
    x: Fraction
    y: Fraction
    width: Fraction
    height: Fraction
    in_pixels: bool

    def box(self, width: int, height: int) -> CropBox:
        """Return the part of a picture of a size; the edges of shares are rounded to pixels.

        Raises:
            QueryError: it does not lie inside of the picture, or is too small.
        """
        across, down = (1, 1) if self.in_pixels else (width, height)
        left, right = round(self.x * across), round((self.x + self.width) * across)
        top, bottom = round(self.y * down), round((self.y + self.height) * down)
        box = CropBox(left, top, right - left, bottom - top, width, height)
        if right > width or bottom > height:
            raise QueryError(
                f"the part {self.text} does not lie inside of the picture, which has {width} x "
                f"{height} pixels; X + W is at most {width}, Y + H at most {height}"
            )
        if box.width < min(LEAST_SIDE, width) or box.height < min(LEAST_SIDE, height):
            raise QueryError(
                f"the part {self.text} has {box.width} x {box.height} pixels of the picture's "
                f"{width} x {height}; a part has at least {LEAST_SIDE} x {LEAST_SIDE}"
            )
        return box


CropLike = Crop | str | Sequence[int]
"""A part of a picture: ``"10,20,300,200"`` in pixels, ``"10%,20%,50%,50%"``, or four pixels."""


def parse_crop(given: CropLike) -> Crop:
    """Return a part from ``X,Y,W,H``, all in pixels or all in per cent, or from four pixels.

    Raises:
        QueryError: these are not four numbers of one unit, or the part is empty or outside.
    """
    if isinstance(given, Crop):
        return given
    text = given if isinstance(given, str) else ",".join(map(str, given))
    fields = text.split(",")
    if len(fields) != 4 or not all(map(_NUMBER.fullmatch, fields)):
        raise QueryError(f"a part of a picture is {_EXPECTED}; received {text[:60]!r}")
    if len({"%" in field for field in fields}) > 1:
        raise QueryError(f"a part is in pixels or in per cent, not in both; received {text!r}")
    in_pixels = "%" not in text
    if in_pixels and "." in text:
        raise QueryError(f"a part in pixels is of whole numbers; received {text!r}")
    unit = 1 if in_pixels else 100
    x, y, width, height = (Fraction(field.strip(" %")) / unit for field in fields)
    if "-" in text or (not in_pixels and max(x + width, y + height) > 1):
        most = "" if in_pixels else ", X + W and Y + H at most 100%"
        raise QueryError(f"the part {text} lies outside of a picture; X and Y are from 0{most}")
    if 0 in (width, height):
        raise QueryError(f"the part {text} is empty; W and H are above 0")
    return Crop(text.replace(" ", ""), x, y, width, height, in_pixels)
