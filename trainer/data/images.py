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
from PIL import Image

from geosim.trainer.data.reasons import reason
from geosim.trainer.data.regions import Regions, header_size, is_large
from geosim.trainer.data.repair import repairs
from geosim.trainer.data.upright import Decoded, Stored, finish, orientation_of
from geosim.trainer.decoding.account import Decoding
from geosim.trainer.decoding.deep import jp2_profile, read_deep
from geosim.trainer.decoding.encoded import MAX_PIXELS, Encoded, all_of, open_encoded
from geosim.trainer.decoding.limits import LARGE_PIXELS, ONE_LARGE, check_file
from geosim.trainer.decoding.samples import (
    Samples,
    Scaled,
    TooManySamplesError,
    to_8_bits,
)
from geosim.trainer.decoding.tiff import read_tiff
from geosim.trainer.decoding.tiff_directory import SIGNATURES as TIFF
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

_PILLOW_FORMATS = tuple(name for name in FORMATS if name != "TIFF")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded and resized image."""

    pixels: NDArray[np.uint8]  # (size, size, 3), RGB; or (views, size, size, 3)
    width: int  # of the original in pixels, after EXIF orientation
    height: int
    decoding: Decoding


def prepare(data: Encoded, size: int) -> Prepared:
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


def open_rgb(data: Encoded, *, hint: int | None = None) -> Image.Image:
    """Decode an image to sRGB with the EXIF orientation applied, without its metadata.

    ``hint`` is the side in pixels that the caller needs: a larger JPEG may be decoded at a half, a
    quarter or an eighth of its size, which is faster. A picture that is read by parts
    (`trainer/data/regions.py`) is always reduced.

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
        return finish(_stored(image, image.size)).image
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
    return finish(Stored(image, image.size, 1, None)).image


def size_of(data: Encoded) -> tuple[int, int] | None:
    """Return the width and height in a picture's header; None if it has none that can be read.

    Raises:
        ImageError: the picture is too large to be decoded.
    """
    is_large(data)  # raises
    if (size := header_size(data)) is not None:
        return size
    try:
        check_file(data, opening=True)
        with open_encoded(data) as file, Image.open(file, formats=_PILLOW_FORMATS) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large("too many pixels")) from error
    except Exception:  # decoding says what is wrong with it
        return None


class _DamagedError(ImageError):
    """The file may be repaired."""


_NO_MEMORY = "too little memory to decode it; make it smaller"


def decode(data: Encoded, *, hint: int | None) -> Decoded:
    """Decode a file as `open_rgb` does; repair it if it is damaged."""
    return _decode_by_parts(data, hint) if is_large(data) else decode_small(data, hint=hint)


def decode_small(data: Encoded, *, hint: int | None) -> Decoded:
    """Decode a file that is not `is_large` as `decode` does."""
    if not data:
        raise ImageError("the file is empty")
    try:
        return _decode_whole(all_of(data), hint=hint)
    except TooManySamplesError:
        if header_size(data) is None:
            raise
    return _decode_by_parts(data, hint)


def _decode_by_parts(data: Encoded, hint: int | None) -> Decoded:
    with Regions(data) as regions:
        return Decoded(regions.read(side=hint), regions.size, regions.decoding)


def _decode_whole(data: bytes, *, hint: int | None) -> Decoded:
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
                return finish(_read_tiff(data, turn))
            return finish(_read_other(data, hint, turn))
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large("too many pixels")) from error
    except MemoryError as error:
        raise ImageError(_NO_MEMORY) from error
    except ImageError:
        raise
    except Exception as error:  # the decoders raise many kinds for damaged files
        raise _DamagedError(reason(data, error)) from error


def _read_tiff(data: bytes, turn: ExitStack) -> Stored:
    tiff = read_tiff(data, partial(_check_size, turn=turn))
    scaled = to_8_bits(tiff.samples)
    size, orientation = scaled.image.size, tiff.orientation
    return Stored(scaled.image, size, orientation, tiff.profile, scaled.scaled_from, plain=False)


def _read_other(data: bytes, hint: int | None, turn: ExitStack) -> Stored:
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


def _stored(image: Image.Image, size: tuple[int, int], deep: Samples | None = None) -> Stored:
    """Return an opened image with its metadata; ``deep`` are its samples if it has no 8 bits."""
    if deep is None and image.mode[0] in "IF":
        values = np.asarray(image)[..., None]
        deep = Samples(values, "L", 8 * values.dtype.itemsize)
    bits = image.info.get("bit_depth", 8)  # of HEIC, which comes scaled
    scaled = Scaled(image, f"{bits} bits" if bits > 8 else "")
    if deep is not None:
        scaled = to_8_bits(deep)
    profile, orientation, plain = image.info.get("icc_profile"), orientation_of(image), deep is None
    return Stored(scaled.image, size, orientation, profile, scaled.scaled_from, plain=plain)


def _check_size(width: int, height: int, turn: ExitStack | None = None) -> None:
    """Refuse a picture that is too large; hold the lock of large ones until the end of ``turn``."""
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{width} x {height} pixels"))
    if turn is not None and width * height > LARGE_PIXELS:
        turn.enter_context(ONE_LARGE)


def _too_large(received: str) -> str:
    return (
        f"{received}; at most {MAX_PIXELS:,} are decoded of a picture of this kind, so make it "
        "smaller, or save it as TIFF"
    )
