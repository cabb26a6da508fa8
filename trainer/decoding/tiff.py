"""TIFF files, decoded by tifffile and imagecodecs as their tags say."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.decoding.limits import check_file
from geosim.trainer.decoding.samples import Samples, check_bytes
from geosim.trainer.decoding.tiff_directory import MAX_SEGMENTS, main_directory
from geosim.trainer.errors import ImageError
from geosim.trainer.quiet import quiet

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_NONE, _LERC = 1, 34887
_CCITT = (2, 3, 4)
_HEADED = {  # compressions whose segments have a size of their own, and Pillow's name of each
    **dict.fromkeys((6, 7), "JPEG"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG2000"),
    **dict.fromkeys((34927, 50001), "WEBP"),
    34933: "PNG",
}
# CCITT, LZW, Deflate, PackBits, LZMA, ZSTD: their decoders write no more than they are asked for.
_BOUNDED = {_NONE, *_CCITT, 5, 8, 32946, 32773, 34925, 34926, 50000, 50013}
_READ = {*_BOUNDED, *_HEADED, _LERC}

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 4, 5, 6, 8
_CHANNELS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _MASK: 1, _PALETTE: 1, _CMYK: 4}
_RAW = {32803, 34892}  # a sensor's mosaic, and its linear values
JPEG = (6, 7)
_PREMULTIPLIED, _ALPHA = 1, 2  # kinds of ExtraSamples
_PHOTOMETRIC, _ORIENTATION, _PROFILE, _NO_DATA, _INK_SET = 262, 274, 34675, 42113, 332
_MOST, _SIGNED_LEAST, _SIGNED_MOST = 281, 340, 341  # MaxSampleValue, SMin- and SMaxSampleValue


@dataclass(frozen=True, slots=True, eq=False)
class Tiff:
    """The picture of a TIFF file."""

    samples: Samples
    orientation: int  # EXIF's, of the stored samples
    profile: bytes | None  # ICC


def read_tiff(data: bytes, check: Callable[[int, int], object]) -> Tiff:
    """Decode the largest full picture of a TIFF file; YCbCr and palettes become RGB.

    ``check`` is called with its width and height first, and raises if it is too large.

    Raises:
        ImageError: the file says how its pixels are stored, and they are not read.
        Exception: it is damaged; tifffile and imagecodecs raise many kinds.
    """
    directory = main_directory(data)
    check(directory.width, directory.height)
    with (
        quiet("tifffile", "imagecodecs"),
        open_tiff(io.BytesIO(data)) as file,
    ):
        page = open_page(file, directory.offset)
        channels = check_page(page)
        _check_sizes(page, data)
        values = page.asarray(squeeze=False, maxworkers=1)
        return interpret(file, page, channels, values)


def open_tiff(file: BinaryIO) -> TiffFile:
    """Open a file without the loops over all of it that some microscopes' formats need."""
    import tifffile

    return tifffile.TiffFile(file, is_lsm=False, is_ndpi=False, is_scanimage=False)


def open_page(file: TiffFile, offset: int) -> TiffPage:
    """Return the page of a directory, with a colour space."""
    import tifffile

    file.filehandle.seek(offset)
    page = tifffile.TiffPage(file, index=0)
    if _PHOTOMETRIC not in page.tags:
        page.photometric = tifffile.PHOTOMETRIC(_usual_photometric(page))
    return page


def _usual_photometric(page: TiffPage) -> int:
    """Return the colour space of a picture that states none, as libtiff takes it."""
    if page.samplesperpixel >= 3:
        return _RGB
    return _WHITE_IS_ZERO if int(page.compression) in _CCITT else _BLACK_IS_ZERO


def check_page(page: TiffPage) -> int:
    """Return the number of colour channels; raise `ImageError` for what is not read."""
    photometric, compression = int(page.photometric), int(page.compression)
    if photometric in _RAW:
        raise ImageError("a raw photograph; convert it to TIFF or JPEG with a raw converter")
    if compression not in _READ:
        name = getattr(page.compression, "name", compression)
        raise _refusal(f"compressed as {name}, which is not read")
    if page.imagedepth != 1:
        raise _refusal(f"a volume of {page.imagedepth} slices; save the one that counts")
    # Some writers store 24 bits in the file's byte order, some the high bits first.
    odd = page.dtype is not None and page.dtype.kind == "u" and 16 < page.bitspersample < 32
    if page.dtype is None or odd:
        raise _refusal(f"of {page.bitspersample} bits per sample, which are not read")
    if page.is_subsampled and compression not in JPEG:
        raise _refusal("in YCbCr with reduced colour and without JPEG; save it as RGB")
    channels = _CHANNELS.get(photometric, 3)
    if photometric not in {*_CHANNELS, _RGB, _YCBCR, _LAB}:
        name = getattr(page.photometric, "name", photometric)
        raise _refusal(f"in the colour space {name}, which is not read; save it as RGB")
    if photometric == _CMYK and page.tags.valueof(_INK_SET, 1) != 1:
        raise _refusal("in inks that are not CMYK; save it as RGB")
    extra = page.samplesperpixel - channels
    if extra < 0 or (channels == 1 and extra > 1):
        raise _refusal(
            f"of {page.samplesperpixel} bands that are said to be "
            f"{'grey' if channels == 1 else 'colour'}; save one as grey or three as RGB"
        )
    return channels


def _check_sizes(page: TiffPage, data: bytes) -> None:
    """Refuse a picture whose samples are too many, or lie beyond the end of the file."""
    size = page.dtype.itemsize if page.dtype is not None else 1
    check_bytes(max(math.prod(page.shaped) * size, segment_bytes(page)))
    check_segments(page, len(data))
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        check_segment(page, data[start : start + length])
    if page.is_contiguous and page.dataoffsets[0] + math.prod(page.shaped) * size > len(data):
        raise ValueError("truncated")


def segment_bytes(page: TiffPage) -> int:
    """Return the bytes of a decoded tile or strip."""
    size = page.dtype.itemsize if page.dtype is not None else 1
    pixels = (
        page.tilewidth * page.tilelength * page.tiledepth
        if page.is_tiled
        else page.imagewidth * page.rowsperstrip
    )
    return pixels * page.samplesperpixel * size


def check_segments(page: TiffPage, file_size: int) -> None:
    """Refuse a picture whose tiles or strips are too many, overlap, or end beyond the file."""
    size = page.dtype.itemsize if page.dtype is not None else 1
    segments = math.prod(page.chunked)
    if segments > MAX_SEGMENTS or segments != len(page.dataoffsets):
        raise ValueError(f"{len(page.dataoffsets)} segments, expected {segments}")
    if sum(page.databytecounts) > file_size + 2 * math.prod(page.shaped) * size:
        raise ValueError("segments that overlap")
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        if start + length > file_size:
            raise ValueError("truncated")
    if not any(page.databytecounts):
        raise ValueError("truncated: no segment has data")


def check_segment(page: TiffPage, segment: bytes) -> None:
    """Refuse a segment whose own header has another size, before memory is taken for it."""
    compression = int(page.compression)
    if not segment or compression in _BOUNDED:
        return
    if compression == _LERC:
        version = struct.unpack_from("<i", segment, 6)[0]
        height, width = struct.unpack_from("<ii", segment, 14 if version >= 3 else 10)
    else:
        check_file(segment)
        with Image.open(io.BytesIO(segment), formats=[_HEADED[compression]]) as image:
            width, height = image.size
    across, down = (
        (page.tilewidth, page.tilelength)
        if page.is_tiled
        else (page.imagewidth, page.rowsperstrip or page.imagelength)
    )
    if not (0 < width <= across and 0 < height <= max(down, page.imagelength)):
        raise ValueError(f"a segment of {width} x {height}, expected {across} x {down}")


def interpret(file: TiffFile, page: TiffPage, channels: int, values: NDArray[Any]) -> Tiff:
    """Return the samples as colours, with what the tags say of them."""
    planes = values[:, 0]  # (planes, h, w, samples), without the depth
    pixels = planes[0] if page.planarconfig == 1 else np.moveaxis(planes[..., 0], 0, 2)
    tags, photometric = page.tags, int(page.photometric)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8  # 5, 6, 5: rescaled
    colours, alpha, premultiplied = pixels[..., :channels], None, False
    if pixels.shape[2] > channels and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        kinds = [int(kind) for kind in page.extrasamples] or [_ALPHA]
        if kinds[0] in (_PREMULTIPLIED, _ALPHA):
            alpha, premultiplied = pixels[..., channels], kinds[0] == _PREMULTIPLIED
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    if photometric == _PALETTE:
        colours, bits, mode = _looked_up(page, colours[..., 0]), 8, "RGB"
    elif photometric == _LAB:
        colours, bits, mode = _lab_bytes(colours), 8, "LAB"
    elif photometric == _YCBCR and int(page.compression) not in JPEG:
        colours = _ycbcr_to_rgb(colours)
    samples = Samples(
        values=colours,
        mode=mode,
        bits=bits,
        alpha=alpha,
        premultiplied=premultiplied,
        inverted=photometric == _WHITE_IS_ZERO,
        lowest=_number(tags.valueof(_SIGNED_LEAST), min),
        highest=_number(tags.valueof(_SIGNED_MOST, tags.valueof(_MOST)), max),
        no_data=_number(tags.valueof(_NO_DATA), max),
    )
    first = file.pages.first.tags  # of a sub-directory: what holds for the whole file
    orientation = tags.valueof(_ORIENTATION, first.valueof(_ORIENTATION, 1))
    profile = tags.valueof(_PROFILE, first.valueof(_PROFILE))
    return Tiff(samples, int(orientation), profile if isinstance(profile, bytes) else None)


def _looked_up(page: TiffPage, indices: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the 8-bit colours ``(h, w, 3)`` of palette indices."""
    if page.colormap is None:
        raise ValueError("a palette without colours")
    palette = np.asarray(page.colormap, dtype=np.uint16).T
    if palette.max() > 255:  # 16 bits, as the standard asks for; some writers store 8
        palette >>= 8
    colours = palette.astype(np.uint8)
    return np.take(colours, indices, axis=0, mode="clip")


def _lab_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return L*a*b* as 8 bits a channel, the last two signed."""
    if values.dtype.kind != "u" or values.dtype.itemsize > 2:
        raise _refusal(f"as L*a*b* of {values.dtype}; save it as RGB")
    return (values >> 8 * (values.dtype.itemsize - 1)).astype(np.uint8)


def _ycbcr_to_rgb(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert YCbCr of 8 bits to RGB, by the coefficients of JPEG, which are TIFF's default."""
    if values.dtype != np.uint8:
        raise _refusal(f"as YCbCr of {values.dtype}; save it as RGB")
    height, width = values.shape[:2]
    image = Image.frombytes("YCbCr", (width, height), values.tobytes())
    return np.asarray(image.convert("RGB"))


def _number(value: Any, choose: Any) -> float | None:
    """Return the number of a tag, of several the chosen one; None if it is none."""
    try:
        many = value if isinstance(value, tuple | list | np.ndarray) else [value]
        return float(choose(float(str(one).replace(",", ".")) for one in many))
    except ValueError:
        return None


def _refusal(how: str) -> ImageError:
    remedy = "" if ";" in how else "; save it as an 8-bit TIFF or PNG"
    return ImageError(f"this TIFF is stored {how}{remedy}")
