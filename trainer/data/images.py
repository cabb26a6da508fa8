"""From a picture's bytes to the pixels a backbone sees: the one place that decodes and resizes.

Training, ingest and search all call `prepare`, so a picture looks the same to all three. Files are
read elsewhere (`trainer/data/dataset.py`); a backbone's own scaling of the pixel values is part of its
graph (`trainer/backbones/registry.py`).
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from geosim.trainer.errors import ImageError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""File name endings that are taken for pictures, in lower case."""

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        GifImagePlugin.GifImageFile,
    )
)
"""Pillow decoders that may run, whatever the file is called.

They are imported here because Pillow's own loading on demand is not safe with several threads.
"""

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded; Pillow's own bound against decompression bombs."""

MAX_BYTES = 512 * 2**20
"""Largest file that is read: above an uncompressed RGB picture of nearly `MAX_PIXELS`."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (CIPA DC-008, tag 274); from 5 on sides are swapped."""

BACKGROUND = (255, 255, 255)
"""What shows through transparent pixels: the white of a cut-out on a page."""

# Pillow warns at half of MAX_PIXELS and refuses above it, and warns of metadata that is not used;
# the refusal is enough.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture, ready for a backbone.

    Attributes:
        pixels: ``(size, size, 3) uint8``, RGB.
        width: of the original in pixels, after EXIF orientation.
        height: of the original in pixels, after EXIF orientation.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def prepare(data: bytes, size: int) -> Prepared:
    """Decode a picture and resize it to a square.

    The whole picture is squeezed to ``size`` x ``size`` (bilinear, antialiased when shrinking), as
    Keras' ``load_img(target_size=...)`` does; nothing is cropped away.

    Args:
        data: the file's bytes.
        size: side of the square in pixels.

    Raises:
        ImageError: the bytes are no picture, or one that is damaged or too large.
    """
    image, (width, height) = _decode(data, hint=2 * size)
    resized = image.resize((size, size), Image.Resampling.BILINEAR)
    return Prepared(np.asarray(resized, dtype=np.uint8), width, height)


def open_rgb(data: bytes, *, hint: int | None = None) -> Image.Image:
    """Decode a picture to RGB, upright.

    Args:
        data: the file's bytes.
        hint: the caller needs no more than about this many pixels a side; a JPEG may then come at
            a half, a quarter or an eighth of its size, which is much faster.

    Raises:
        ImageError: the bytes are no picture, or one that is damaged or too large.
    """
    return _decode(data, hint=hint)[0]


def _decode(data: bytes, *, hint: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return the upright RGB picture and the original's width and height."""
    if not data:
        raise ImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(_too_large(f"{image.width} x {image.height} pixels"))
            original = image.size
            if hint is not None:
                image.draft(None, (hint, hint))
            image.load()  # before asking for EXIF: a PNG may have it last, a TIFF turns itself
            orientation = _orientation(image)
            upright = image.transpose(TURNS[orientation]) if orientation in TURNS else image
            return _to_rgb(upright), original[::-1] if orientation >= 5 else original
    except UnidentifiedImageError as error:
        raise ImageError("not a JPEG, PNG, WebP, BMP, TIFF or GIF picture") from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large("too many pixels")) from error
    except ImageError:
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        raise ImageError(f"damaged picture: {error}".splitlines()[0]) from error


def _too_large(received: str) -> str:
    return f"{received}; at most {MAX_PIXELS:,} are decoded, so make it smaller"


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where it is absent, invalid or unreadable."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata is no reason to refuse good pixels
        return 1
    return orientation if orientation in TURNS else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: deep greys are scaled, transparency shows `BACKGROUND`."""
    if image.mode.startswith("I"):  # 16 bits, or 16 bits held in 32
        grey = np.array(image, dtype=np.float32)
        grey /= 257.0
        np.clip(grey, 0, 255, out=grey)
        return Image.fromarray(np.rint(grey, out=grey).astype(np.uint8)).convert("RGB")
    if image.mode == "F":  # no agreed range: stretch what is there
        return Image.fromarray(_stretched(np.array(image))).convert("RGB")
    if image.has_transparency_data:
        layered = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        layered.alpha_composite(image.convert("RGBA"))
        return layered.convert("RGB")
    return image.convert("RGB")


def _stretched(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map the lowest finite value to 0 and the highest to 255; NaN to 0, infinities to the ends.

    Works in ``values`` itself: a picture of 64 megapixels has 256 MB of them.
    """
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
