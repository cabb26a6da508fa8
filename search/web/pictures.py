"""Stored pictures and thumbnails of them, previews of uploads, and the limits of uploads."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

from fastapi import HTTPException
from PIL import Image

from geosim.ingest.catalog import ImageReader
from geosim.ingest.schema import Payload
from geosim.trainer.data.images import open_rgb, size_of
from geosim.trainer.decoding.encoded import Encoded, sha256_of
from geosim.trainer.errors import ImageError
from geosim.trainer.working import Working

UPLOAD_BYTES = 32 * 2**20
"""Largest upload."""

MAX_UPLOAD_PIXELS = 64_000_000
"""Pixels of an upload. Decoding takes 8 to 16 bytes per pixel, so 1 GB, and 2 GB at most for deep
samples, which `MAX_SAMPLE_BYTES` limits."""

CACHE_BYTES = 32 * 2**20
"""Bytes of the thumbnails in memory: a few thousand photographs."""

NOT_HERE = "the picture is not on this machine"
"""What is told of a file that cannot be read."""

QUALITY = 88
"""JPEG quality of a thumbnail."""

FULL_COLOUR_SIDE = 96
"""Longer side in pixels up to which a thumbnail keeps its full colour resolution, since it is shown
enlarged."""


def check_pixels(data: bytes) -> None:
    """Check the size in a picture's header, before anything is decoded.

    Raises:
        HTTPException: 413, there are more than `MAX_UPLOAD_PIXELS`.
    """
    try:
        size = size_of(data)
        if size is None or size[0] * size[1] <= MAX_UPLOAD_PIXELS:
            return
        received = f"{size[0]:,} x {size[1]:,} pixels"
    except ImageError:  # the limit of decoding is higher
        received = "the picture"
    text = f"{received}: at most {MAX_UPLOAD_PIXELS:,} pixels are taken; make it smaller"
    raise HTTPException(413, text)


def as_jpeg(image: Image.Image) -> bytes:
    """Return an RGB image as JPEG; a small one keeps its full colour resolution."""
    full_colour = max(image.size) <= FULL_COLOUR_SIDE
    options = {"quality": 95, "subsampling": 0} if full_colour else {"quality": QUALITY}
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def preview(data: bytes, side: int) -> bytes:
    """Return an uploaded picture as JPEG, its longer side at most ``side`` pixels.

    Raises:
        HTTPException: too many pixels.
        ImageError: the bytes are not a picture.
    """
    check_pixels(data)
    image = open_rgb(data, hint=side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return as_jpeg(image)


class Thumbnails:
    """Small JPEGs of stored pictures; the most recently used ones stay in memory."""

    def __init__(self, working: Working, cache_bytes: int = CACHE_BYTES) -> None:
        self._pictures = ImageReader(working.datasets)
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._free_bytes = cache_bytes

    def read(self, payload: Payload) -> Encoded:
        """Return the file of a stored picture, the path of a large one.

        Raises:
            HTTPException: 404, it is not on this machine, or has other bytes than were indexed.
        """
        try:
            with self._lock:
                data = self._pictures.read(payload.path)
        except ImageError:  # its text names local folders
            raise HTTPException(404, NOT_HERE) from None
        if sha256_of(data) != payload.sha256:
            raise HTTPException(
                404, "the picture was changed since it was indexed; ingest the data set again"
            )
        return data

    def get(self, payload: Payload, side: int) -> bytes:
        """Return a stored picture as JPEG, its longer side at most ``side`` pixels.

        It is never enlarged, and always encoded again, without the file's metadata.

        Raises:
            ImageError: the file is damaged.
            HTTPException: as by `read`.
        """
        key = (payload.sha256, side)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        image = open_rgb(self.read(payload), hint=side)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        small = as_jpeg(image)
        with self._lock:
            self._free_bytes -= len(small) - len(self._cache.pop(key, b""))
            self._cache[key] = small
            while self._free_bytes < 0:
                self._free_bytes += len(self._cache.popitem(last=False)[1])
        return small
