"""Pictures in memory, and parts of pictures: to the bytes of a file, decoded like any other."""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from geosim.search.crop import Crop, CropBox
from geosim.trainer.data.images import decode_small, samples_to_rgb, to_rgb
from geosim.trainer.data.regions import Regions, is_large
from geosim.trainer.decoding.encoded import MAX_BYTES, MAX_PIXELS, Encoded
from geosim.trainer.decoding.samples import Samples
from geosim.trainer.errors import QueryError

Picture = bytes | bytearray | memoryview | Image.Image | NDArray[Any] | IO[bytes]
"""The bytes of an image file, a file open for reading bytes, a Pillow image, or pixels: an array of
shape ``(h, w)``, ``(h, w, 1)``, ``(h, w, 3)`` or ``(h, w, 4)`` (the last with opacity), of unsigned
integers, which are scaled as those of a file are, or of floats from 0 to 1."""

_SHAPES = "(height, width), or (height, width, channels) with 1, 3 or 4 channels"


def picture_bytes(query: object) -> bytes:
    """Return the bytes of an image file that has the pixels of a `Picture`.

    Raises:
        QueryError: it is no `Picture`.
        ImageError: a Pillow image cannot be loaded, or is empty or too large.
    """
    if isinstance(query, bytes | bytearray | memoryview):
        return bytes(query)
    if isinstance(query, Image.Image):
        return _file_of(query) or _as_png(to_rgb(query), compress_level=1)
    if isinstance(query, np.ndarray):
        return _as_png(samples_to_rgb(_samples(query)), compress_level=1)
    if hasattr(query, "read"):
        return _read(query)
    raise QueryError(
        f"a query is a path, an embedding or a picture, received {type(query).__name__}; give the "
        "path or the bytes of a file, an open file, a Pillow image or a NumPy array"
    )


def cut_out(data: Encoded, crop: Crop) -> tuple[bytes, CropBox] | None:
    """Return a part of a picture as a PNG file, at its full resolution; None if it is the whole.

    The part is cut from the upright picture. One of more than `PART_PIXELS` of a large picture is
    reduced. The file is the one that Pillow writes by default,
    since some views of a picture depend on its bytes (`trainer/data/views.py`).

    Raises:
        ImageError: the picture cannot be decoded.
        QueryError: the part is not inside of the picture, or is too small.
    """
    with ExitStack() as stack:
        regions = stack.enter_context(Regions(data)) if is_large(data) else None
        picture = decode_small(data, hint=None) if regions is None else regions
        box = crop.box(*picture.size)
        if box.is_whole:
            return None
        edges = (box.x, box.y, box.x + box.width, box.y + box.height)
        part = picture.read(edges) if isinstance(picture, Regions) else picture.image.crop(edges)
    return _as_png(part), box


def _as_png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def _file_of(image: Image.Image) -> bytes | None:
    """Return the file of an image that Pillow opened and did not load; None if it is loaded."""
    file = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or not file or image.tell():
        return None
    try:
        position = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(position)
    except (OSError, ValueError):  # loading it says what is wrong
        return None
    return data if isinstance(data, bytes) else None


def _read(file: Any) -> bytes:
    """Read an open file from its start."""
    if isinstance(file, io.TextIOBase):
        raise QueryError("received a file opened as text; open it for bytes: open(path, 'rb')")
    if getattr(file, "closed", False):
        raise QueryError("received a closed file; give it while it is open")
    try:
        if file.seekable():
            file.seek(0)
        data = file.read(MAX_BYTES + 1)
    except Exception as error:  # any object may have a method of this name
        raise QueryError(f"the open file cannot be read: {error}; give its path") from error
    if not isinstance(data, bytes):
        raise QueryError(
            f"an open file gives bytes, received {type(data).__name__}; open it for bytes"
        )
    if len(data) > MAX_BYTES:
        raise QueryError(f"the open file has more than {MAX_BYTES:,} bytes; make it smaller")
    return data


def _samples(pixels: NDArray[Any]) -> Samples:
    """Check the pixels of an array."""
    shape, kind = pixels.shape, pixels.dtype.kind
    if len(shape) not in (2, 3) or 0 in shape or shape[2:] not in ((), (1,), (3,), (4,)):
        raise QueryError(f"a picture is an array of shape {_SHAPES}, received {shape}")
    if shape[0] * shape[1] > MAX_PIXELS:
        raise QueryError(
            f"an array of {shape[1]} x {shape[0]} pixels; at most {MAX_PIXELS:,} are taken, so "
            "make it smaller"
        )
    if kind not in "uif":
        raise QueryError(
            f"the pixels of an array are integers or floats, received {pixels.dtype}; convert them "
            "with astype('uint8')"
        )
    least, most = pixels.min(), pixels.max()
    if kind == "f" and not (least >= 0 and most <= 1):  # NaN as well
        raise QueryError(
            f"floats of a picture are 0 to 1, received {least:g} to {most:g}; replace NaN, and "
            "divide by the value of white"
        )
    if least < 0:
        raise QueryError(
            f"integers of a picture are 0 or more, received {least} to {most}; add what makes "
            "black 0"
        )
    channels = pixels.reshape(*shape[:2], -1)
    alpha = channels[..., 3] if channels.shape[2] == 4 else None
    colours = channels[..., :3]
    mode = "L" if colours.shape[2] == 1 else "RGB"
    return Samples(colours, mode, 8 * pixels.dtype.itemsize, alpha=alpha)
