"""Parts of stored pictures at the scale that is asked for, into which the page zooms.

Owns what is kept in memory for the next part: the latest pictures, reduced.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from geosim.ingest.schema import Payload
from geosim.search.web.pictures import as_jpeg
from geosim.trainer.data.images import open_rgb, size_of
from geosim.trainer.data.regions import Regions, header_size, is_large
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.decoding.limits import LARGE_PIXELS
from geosim.trainer.decoding.samples import Scale
from geosim.trainer.decoding.vips_rows import Box
from geosim.trainer.errors import ImageError, QueryError

OVERVIEW_PIXELS = 2**24
"""Pixels of the overview of a picture that is read by parts. A part of 2,048 pixels that shows
more than the overview reads up to 268 million pixels of a picture of one gigapixel; of a pyramid,
the level that shows as much."""

KEPT_BYTES = 256 * 2**20
"""Bytes of the overviews and files that are kept; the latest one is kept whatever its size is."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A picture from which parts were read."""

    data: Encoded
    state: tuple[int, int, int] | None  # of a file, to tell a change
    size: tuple[int, int]
    overview: Image.Image  # all of the picture, which may be reduced
    scale: Scale | None  # of a picture that is read by parts; None for others

    @property
    def bytes(self) -> int:
        held = len(self.data) if isinstance(self.data, bytes) else 0
        return held + 3 * self.overview.width * self.overview.height


class RegionReader:
    """Reads parts of stored pictures, one at a time."""

    def __init__(self, read: Callable[[Payload], Encoded], kept_bytes: int = KEPT_BYTES) -> None:
        """Take the function that returns a picture's file; it may raise."""
        self._read = read
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, _Opened] = OrderedDict()  # by hash of the file

    def get(self, payload: Payload, box: tuple[int, int, int, int], side: int) -> bytes:
        """Return a part as JPEG, its longer side at most ``side`` pixels; it is never enlarged.

        ``box`` is its left and upper edge, width and height in pixels of the upright picture; what
        lies outside of the picture is left out.

        Raises:
            QueryError: nothing of it lies in the picture.
            ImageError: the file is damaged.
            HTTPException: it is not on this machine, or was changed.
        """
        left, top, across, down = box
        right, bottom = min(payload.width, left + across), min(payload.height, top + down)
        if left >= right or top >= bottom:
            raise QueryError(
                f"the part {left},{top},{across},{down} does not lie inside of the picture, which "
                f"has {payload.width} x {payload.height} pixels"
            )
        with self._lock:
            opened = self._open(payload)
            part = _part(opened, (left, top, right, bottom), side)
        return as_jpeg(part)

    def _open(self, payload: Payload) -> _Opened:
        opened = self._opened.pop(payload.sha256, None)
        if opened is None or opened.state != _state(opened.data):
            opened = _open(self._read(payload))
        self._opened[payload.sha256] = opened
        while len(self._opened) > 1 and self._kept() > self._kept_bytes:
            self._opened.popitem(last=False)
        return opened

    def _kept(self) -> int:
        return sum(one.bytes for one in self._opened.values())


def _open(data: Encoded) -> _Opened:
    """Read the overview of a picture."""
    state, size = _state(data), size_of(data)
    if size is not None and size[0] * size[1] > OVERVIEW_PIXELS and header_size(data) is not None:
        try:
            with Regions(data) as regions:
                image = regions.read(side=math.isqrt(OVERVIEW_PIXELS))
                overview = _reduced(image, OVERVIEW_PIXELS)
                return _Opened(data, state, regions.size, overview, regions.scale)
        except ImageError:  # stored for gradual display, or in CMYK
            if is_large(data):
                raise
    image = open_rgb(data)
    return _Opened(data, state, image.size, _reduced(image, LARGE_PIXELS), None)


def _part(opened: _Opened, box: Box, side: int) -> Image.Image:
    """Return a part from the overview, where that shows as much, or from the file."""
    width, height = box[2] - box[0], box[3] - box[1]
    overview, scale = opened.overview, min(1.0, side / max(width, height))
    across = overview.width / opened.size[0]
    if opened.scale is None:
        scale = min(scale, across)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if across >= scale:
        down = overview.height / opened.size[1]
        right, bottom = (
            min(box[2] * across, overview.width),
            min(box[3] * down, overview.height),
        )
        inside = (box[0] * across, box[1] * down, right, bottom)
        return overview.resize(size, Image.Resampling.LANCZOS, inside, reducing_gap=3)
    with Regions(opened.data, opened.scale) as regions:
        part = regions.read(box, side=min(size))
    return part.resize(size, Image.Resampling.LANCZOS)


def _reduced(image: Image.Image, pixels: int) -> Image.Image:
    factor = math.sqrt(pixels / (image.width * image.height))
    if factor >= 1:
        return image
    size = (max(1, int(image.width * factor)), max(1, int(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)


def _state(data: Encoded) -> tuple[int, int, int] | None:
    """Return what differs after a file was written; None of bytes."""
    if isinstance(data, bytes):
        return None
    try:
        status = data.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
