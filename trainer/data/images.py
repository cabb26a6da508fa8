"""Decoding and resizing: from an image file's bytes to upright RGB pixels.

Training, ingest and search all call `prepare`, or `prepare_views` (`trainer/data/views.py`).
"""

from __future__ import annotations

import io
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image

from geosim.trainer.data.reasons import reason
from geosim.trainer.data.repair import repairs
from geosim.trainer.decoding.account import CONVERTED, PLAIN, Decoding
from geosim.trainer.decoding.deep import jp2_profile, read_deep
from geosim.trainer.decoding.limits import LARGE_PIXELS, ONE_LARGE, check_file
from geosim.trainer.decoding.profiles import lab_to_srgb, to_srgb
from geosim.trainer.decoding.samples import Samples, Scaled, to_8_bits
from geosim.trainer.decoding.tiff import read_tiff
from geosim.trainer.decoding.tiff_directory import SIGNATURES as TIFF
from geosim.trainer.decoding.tiff_directory import main_directory
from geosim.trainer.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "HEIF", "AVIF")
"""Formats that are read, by Pillow's names, independent of the file name; TIFF by tifffile."""

# Loading decoders on demand is not thread-safe. The decoder of JPEG hands over to that of MPO.
for _name in ("Jpeg", "Mpo", "Png", "WebP", "Bmp", "Tiff", "Gif", "Jpeg2K", "Avif"):
    import_module(f"PIL.{_name}ImagePlugin")
pi_heif.register_heif_opener()

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

_PILLOW_FORMATS = tuple(name for name in FORMATS if name != "TIFF")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded and resized image."""

    pixels: NDArray[np.uint8]  # (size, size, 3), RGB; or (views, size, size, 3)
    width: int  # of the original in pixels, after EXIF orientation
    height: int
    decoding: Decoding


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """An image as a file holds it, in 8 bits."""

    image: Image.Image  # of any mode
    size: tuple[int, int]  # of the original
    orientation: int
    profile: bytes | None  # ICC
    scaled_from: str = ""
    plain: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """An upright RGB image in sRGB."""

    image: Image.Image
    size: tuple[int, int]  # of the original
    decoding: Decoding


def prepare(data: bytes, size: int) -> Prepared:
    """Decode an image and resize it to ``size`` x ``size`` pixels.

    The whole image is resized (bilinear, antialiased), as by Keras' ``load_img(target_size=...)``,
    without cropping.

    Raises:
        ImageError: the bytes are not an image, or it is damaged or too large.
    """
    decoded = decode(data, hint=2 * size)
    resized = decoded.image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, dtype=np.uint8)
    return Prepared(pixels, *decoded.size, decoded.decoding)


def open_rgb(data: bytes, *, hint: int | None = None) -> Image.Image:
    """Decode an image to sRGB with the EXIF orientation applied, without its metadata.

    ``hint`` is the side in pixels that the caller needs: a larger JPEG may be decoded at a half, a
    quarter or an eighth of its size, which is faster.

    Raises:
        ImageError: the bytes are not an image, or it is damaged or too large.
    """
    return decode(data, hint=hint).image


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a Pillow image as `open_rgb` returns its file.

    Raises:
        ImageError: it cannot be loaded, is empty or too large, or none of its pixels has a value.
    """
    if 0 in image.size:
        raise ImageError(f"{image.width} x {image.height} pixels; a picture has at least one")
    try:
        _check_size(*image.size)
        image.load()
        return _finish(_stored(image, image.size)).image
    except MemoryError as error:
        raise ImageError(_NO_MEMORY) from error
    except ImageError:
        raise
    except Exception as error:  # of a file that Pillow opened and did not read yet
        raise ImageError(
            "a Pillow image that cannot be loaded: its file is closed or damaged; open it anew"
        ) from error


def samples_to_rgb(samples: Samples) -> Image.Image:
    """Return samples as `open_rgb` returns a file of them.

    Raises:
        ImageError: none of them has a value.
    """
    image = to_8_bits(samples).image
    return _finish(_Stored(image, image.size, 1, None)).image


def size_of(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in a picture's header; None if it has none that can be read.

    Raises:
        ImageError: the picture is too large to be decoded.
    """
    try:
        if data.startswith(TIFF):
            directory = main_directory(data)
            return directory.width, directory.height
        with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large("too many pixels")) from error
    except Exception:  # decoding says what is wrong with it
        return None


class _DamagedError(ImageError):
    """The file may be repaired."""


_NO_MEMORY = "too little memory to decode it; make it smaller"


def decode(data: bytes, *, hint: int | None) -> Decoded:
    """Decode a file as `open_rgb` does; repair it if it is damaged."""
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
                others = (_decode_intact(other, hint=None) for other in versions[1:])
                if all(other.image == first.image for other in others):
                    return first
        raise


def _decode_intact(data: bytes, *, hint: int | None) -> Decoded:
    check_file(data)
    try:
        with ExitStack() as turn:
            if data.startswith(TIFF):
                return _finish(_read_tiff(data, turn))
            return _finish(_read_other(data, hint, turn))
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large("too many pixels")) from error
    except MemoryError as error:
        raise ImageError(_NO_MEMORY) from error
    except ImageError:
        raise
    except Exception as error:  # the decoders raise many kinds for damaged files
        raise _DamagedError(reason(data, error)) from error


def _read_tiff(data: bytes, turn: ExitStack) -> _Stored:
    tiff = read_tiff(data, partial(_check_size, turn=turn))
    scaled = to_8_bits(tiff.samples)
    size, orientation = scaled.image.size, tiff.orientation
    return _Stored(scaled.image, size, orientation, tiff.profile, scaled.scaled_from, plain=False)


def _read_other(data: bytes, hint: int | None, turn: ExitStack) -> _Stored:
    with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
        _check_size(*image.size)
        size = image.size
        if hint is not None and image.format in ("JPEG", "MPO"):  # HEIC: another picture
            image.draft(None, (hint, hint))
        _check_size(*image.size, turn)
        deep = read_deep(data, image)
        if deep is None:
            image.load()  # before EXIF is read: a PNG may have it last
        if image.format == "JPEG2000":
            image.info["icc_profile"] = jp2_profile(data)
        return _stored(image, size, deep)


def _stored(image: Image.Image, size: tuple[int, int], deep: Samples | None = None) -> _Stored:
    """Return an opened image with its metadata; ``deep`` are its samples if it has no 8 bits."""
    if deep is None and image.mode[0] in "IF":
        values = np.asarray(image)[..., None]
        deep = Samples(values, "L", 8 * values.dtype.itemsize)
    bits = image.info.get("bit_depth", 8)  # of HEIC, which comes scaled
    scaled = Scaled(image, f"{bits} bits" if bits > 8 else "")
    if deep is not None:
        scaled = to_8_bits(deep)
    profile, orientation, plain = image.info.get("icc_profile"), _orientation(image), deep is None
    return _Stored(scaled.image, size, orientation, profile, scaled.scaled_from, plain=plain)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) where it is absent or unreadable."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the pixels are good even where the metadata is damaged
        return 1


def _check_size(width: int, height: int, turn: ExitStack | None = None) -> None:
    """Refuse a picture that is too large; hold the lock of large ones until the end of ``turn``."""
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{width} x {height} pixels"))
    if turn is not None and width * height > LARGE_PIXELS:
        turn.enter_context(ONE_LARGE)


def _too_large(received: str) -> str:
    return f"{received}; at most {MAX_PIXELS:,} are decoded, so make it smaller"


def _finish(stored: _Stored) -> Decoded:
    """Turn an image upright and convert it to sRGB; put transparency over `BACKGROUND`."""
    image, size = stored.image, stored.size
    if (transpose := EXIF_TRANSPOSE.get(stored.orientation)) is not None:
        image = image.transpose(transpose)
        size = size[::-1] if stored.orientation >= 5 else size
    opacity = None
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        opacity = layered.getchannel("A")
        image = image.convert("L") if image.mode in ("L", "LA") else layered.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "LAB":
        image = lab_to_srgb(image)
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    converted = to_srgb(image, stored.profile)
    rgb = image.convert("RGB") if converted is None else converted
    if opacity is not None:
        rgb.putalpha(opacity)
        layered = Image.new("RGBA", rgb.size, (*BACKGROUND, 255))
        layered.alpha_composite(rgb)
        rgb = layered.convert("RGB")
    rgb.info = {}  # no writer is to store a profile, a comment or an orientation again
    decoder = PLAIN if stored.plain and converted is None else CONVERTED
    return Decoded(rgb, size, Decoding(decoder, stored.scaled_from))
