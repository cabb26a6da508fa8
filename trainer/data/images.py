"""Decoding and resizing: from an image file's bytes to the pixels that a backbone takes.

Training, ingest and search all call `prepare`.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image

from geosim.trainer.data.limits import check_effort
from geosim.trainer.data.reasons import reason
from geosim.trainer.data.repair import repairs
from geosim.trainer.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "HEIF", "AVIF")
"""Pillow decoders that may run, independent of the file name."""

# Loading decoders on demand is not thread-safe. The decoder of JPEG hands over to that of MPO.
for _name in ("Jpeg", "Mpo", "Png", "WebP", "Bmp", "Tiff", "Gif", "Jpeg2K", "Avif"):
    import_module(f"PIL.{_name}ImagePlugin")
pillow_heif.register_heif_opener()

ENDINGS = frozenset(
    {ending for ending, kind in Image.EXTENSION.items() if kind in {*FORMATS, "MPO"}}
    | {".jfi", ".jif", ".btf", ".gtif"}
)
"""File name suffixes of images, in lower case: Pillow's of `FORMATS`, and other names of JPEG and
TIFF files."""

MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels; Pillow's limit against decompression bombs."""

MAX_BYTES = 512 * 2**20
"""Largest file that is read, in bytes; about an uncompressed RGB image of `MAX_PIXELS`."""

EXIF_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that undoes each EXIF orientation (CIPA DC-008, tag 274); 5 to 8 swap the sides."""

BACKGROUND = (255, 255, 255)
"""RGB behind transparent pixels: white."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded and resized image."""

    pixels: NDArray[np.uint8]  # (size, size, 3), RGB
    width: int  # of the original in pixels, after EXIF orientation
    height: int


def prepare(data: bytes, size: int) -> Prepared:
    """Decode an image and resize it to ``size`` x ``size`` pixels.

    The whole image is resized (bilinear, antialiased), as by Keras' ``load_img(target_size=...)``,
    without cropping.

    Raises:
        ImageError: the bytes are not an image, or it is damaged or too large.
    """
    image, (width, height) = _decode(data, hint=2 * size)
    resized = image.resize((size, size), Image.Resampling.BILINEAR)
    return Prepared(np.asarray(resized, dtype=np.uint8), width, height)


def open_rgb(data: bytes, *, hint: int | None = None) -> Image.Image:
    """Decode an image to RGB with the EXIF orientation applied.

    ``hint`` is the side in pixels that the caller needs: a larger JPEG may be decoded at a half, a
    quarter or an eighth of its size, which is faster.

    Raises:
        ImageError: the bytes are not an image, or it is damaged or too large.
    """
    return _decode(data, hint=hint)[0]


class _DamagedError(ImageError):
    """The file may be repaired."""


def _decode(data: bytes, *, hint: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return the upright RGB image and the original's width and height; repair the file."""
    if not data:
        raise ImageError("the file is empty")
    try:
        return _decode_intact(data, hint=hint)
    except _DamagedError:
        for versions in repairs(data):
            with suppress(_DamagedError):
                if len(versions) == 1:
                    return _decode_intact(versions[0], hint=hint)
                first = _decode_intact(versions[0], hint=None)
                if all(_decode_intact(other, hint=None) == first for other in versions[1:]):
                    return first
        raise


def _decode_intact(data: bytes, *, hint: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return the upright RGB image and the original's width and height."""
    check_effort(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(_too_large(f"{image.width} x {image.height} pixels"))
            original = image.size
            if hint is not None and image.format in ("JPEG", "MPO"):  # HEIC: another picture
                image.draft(None, (hint, hint))
            image.load()  # before EXIF is read: a PNG may have it last, Pillow rotates a TIFF
            orientation = _orientation(image)
            transpose = EXIF_TRANSPOSE.get(orientation)
            upright = image if transpose is None else image.transpose(transpose)
            return _to_rgb(upright), original[::-1] if orientation >= 5 else original
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large("too many pixels")) from error
    except MemoryError as error:
        raise ImageError("too little memory to decode it; make it smaller") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise _DamagedError(reason(data, error)) from error


def _too_large(received: str) -> str:
    return f"{received}; at most {MAX_PIXELS:,} are decoded, so make it smaller"


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) where it is absent, invalid or unreadable."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the pixels are good even where the metadata is damaged
        return 1
    return orientation if orientation in EXIF_TRANSPOSE else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: scale deep greys, put transparency over `BACKGROUND`."""
    if image.mode.startswith("I"):  # 16 bits, or 16 bits held in 32
        grey = np.array(image, dtype=np.float32)
        grey /= 257.0
        np.clip(grey, 0, 255, out=grey)
        return Image.fromarray(np.rint(grey, out=grey).astype(np.uint8)).convert("RGB")
    if image.mode == "F":  # floats have no defined range
        return Image.fromarray(_stretched(np.array(image))).convert("RGB")
    if image.has_transparency_data:
        layered = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        layered.alpha_composite(image.convert("RGBA"))
        return layered.convert("RGB")
    return image.convert("RGB")


def _stretched(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map, in place, the lowest finite value and NaN to 0, the highest to 255, inf to the ends."""
    values *= 0.5  # so that no difference overflows
    finite = np.isfinite(values)
    low = float(np.min(values, initial=np.inf, where=finite))
    high = float(np.max(values, initial=-np.inf, where=finite))
    if not low <= high:
        low = high = 0.0
    np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    values -= low
    values /= (high - low) or 1.0
    values *= 255.0
    return np.rint(values, out=values).astype(np.uint8)
