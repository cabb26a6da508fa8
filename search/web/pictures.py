"""Pictures that leave and enter through the web page.

Owns thumbnails of stored pictures, made anew from their pixels, and the bound on the pixels of
pictures that strangers send. How a picture is decoded is `trainer/data/images.py`.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

from geosim.ingest.catalog import ImageReader
from geosim.ingest.schema import Payload
from geosim.trainer.data.images import FORMATS, open_rgb
from geosim.trainer.errors import ImageError
from geosim.trainer.working import Working
from PIL import Image

MOST_PIXELS = 64_000_000
"""Largest picture that is taken from a stranger. Decoding takes up to 16 bytes a pixel, so 1 GB: 8
for RGB, 16 with transparency, 14 for floating point."""

CACHE_BYTES = 32 * 2**20
"""Thumbnails kept in memory: some thousand photographs, all tiles of a small collection."""

QUALITY = 88
"""Of a thumbnail, as JPEG counts."""

TINY = 96
"""Pixels up to which a thumbnail keeps its full colour resolution: it will be shown enlarged."""


class TooManyPixelsError(ImageError):
    """A picture is larger than what is taken from a stranger."""


def check_pixels(data: bytes) -> None:
    """Refuse a picture by what its header says, before anything is decoded.

    Raises:
        TooManyPixelsError: it has more than `MOST_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # both above the bound
        raise TooManyPixelsError(_too_many("the picture")) from None
    except Exception:  # decoding will say what is wrong with it
        return
    if width * height > MOST_PIXELS:
        raise TooManyPixelsError(_too_many(f"{width:,} x {height:,} pixels"))


def _too_many(received: str) -> str:
    return f"{received}: at most {MOST_PIXELS:,} pixels are taken; make it smaller"


class Thumbnails:
    """Small JPEGs of stored pictures; the latest ones are kept in memory."""

    def __init__(self, working: Working, cache_bytes: int = CACHE_BYTES) -> None:
        self._pictures = ImageReader(working.datasets)
        self._reading = threading.Lock()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._left = cache_bytes

    @staticmethod
    def key(payload: Payload, side: int) -> str:
        """Return what names a thumbnail for good: content and size."""
        return f"{payload.sha256}-{side}"

    def get(self, payload: Payload, side: int) -> bytes:
        """Return a stored picture as JPEG, its longer side at most ``side`` pixels.

        It is never enlarged, and never the file's own bytes.

        Raises:
            ImageError: it is not on this machine, or damaged.
        """
        key = self.key(payload, side)
        with self._reading:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            data = self._pictures.read(payload.path)
        small = _thumbnail(data, side)
        with self._reading:
            self._keep(key, small)
        return small

    def _keep(self, key: str, small: bytes) -> None:
        if key in self._cache:
            return
        self._cache[key] = small
        self._left -= len(small)
        while self._left < 0:
            _, dropped = self._cache.popitem(last=False)
            self._left += len(dropped)


def _thumbnail(data: bytes, side: int) -> bytes:
    image = open_rgb(data, hint=side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.info.clear()  # Pillow would copy the file's comment
    buffer = io.BytesIO()
    if max(image.size) <= TINY:
        image.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
