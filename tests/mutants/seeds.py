"""Sound picture files of every format that is read, several variants of each."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

WIDTH, HEIGHT = 44, 36

pillow_heif.register_heif_opener()


@cache
def sound_files() -> dict[str, bytes]:
    """Return files by name, with their formats' endings; the same ones at every call."""
    files = dict(_pillow_files())
    files |= {f"tiff-{name}.tif": data for name, data in _tifffile_files()}
    files |= _files_by_hand()
    return files


def pixels(channels: int = 3, dtype: str = "uint8") -> NDArray[Any]:
    """Return a smooth picture with noise, ``(HEIGHT, WIDTH, channels)``."""
    noise = np.random.default_rng(7).random((HEIGHT, WIDTH, channels)) / 4
    ramp = np.linspace(0, 0.75, WIDTH)[None, :, None] * np.linspace(1, 0.3, HEIGHT)[:, None, None]
    values = noise + ramp
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _pillow_files() -> Iterator[tuple[str, bytes]]:
    rgb = Image.fromarray(pixels())
    grey, palette = rgb.convert("L"), rgb.quantize(32)
    rgba, deep = Image.fromarray(pixels(4)), Image.fromarray(pixels(1, "uint16")[..., 0])
    turned = rgb.rotate(90, expand=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "camera"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngInfo()
    text.add_text("a", "b" * 300, zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x/>", zip=True)
    frames = {"save_all": True, "append_images": [rgb.rotate(180)]}
    described = {"exif": exif, "icc_profile": icc}
    variants: dict[str, list[tuple[Image.Image, str, dict[str, Any]]]] = {
        "jpg": [
            (rgb, "JPEG", {}),
            (rgb, "JPEG", {"progressive": True, "subsampling": 0, **described}),
            (rgb, "JPEG", {"restart_marker_rows": 1, "comment": b"rock"}),
            (grey, "JPEG", {}),
            (rgb.convert("CMYK"), "JPEG", {"progressive": True}),
            (rgb, "MPO", frames),
        ],
        "png": [
            (rgb, "PNG", {"pnginfo": text, **described}),
            (rgba, "PNG", {}),
            (deep, "PNG", {}),
            (palette, "PNG", {"transparency": 3}),
            (grey.convert("1"), "PNG", {}),
            (grey.convert("LA"), "PNG", {}),
            (rgb, "PNG", {**frames, "blend": 1}),
        ],
        "webp": [
            (rgb, "WEBP", described),
            (rgba, "WEBP", {"lossless": True}),
            (rgba, "WEBP", {}),
            (rgb, "WEBP", frames),
        ],
        "gif": [
            (palette, "GIF", {}),
            (rgb, "GIF", {**frames, "duration": 40, "loop": 0}),
            (palette, "GIF", {"transparency": 2, "interlace": 0, "comment": b"rock"}),
        ],
        "bmp": [
            (rgb, "BMP", {}),
            (palette, "BMP", {}),
            (grey.convert("1"), "BMP", {}),
            (rgba, "BMP", {}),
        ],
        "dib": [(rgb, "DIB", {})],
        "tif": [
            (grey.convert("1"), "TIFF", {"compression": "group4"}),
            (rgb.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
            (palette, "TIFF", {"compression": "packbits"}),
            (rgb.convert("YCbCr"), "TIFF", {"compression": "jpeg"}),
            (rgba, "TIFF", {"compression": "tiff_adobe_deflate", **described}),
        ],
        "heic": [
            (rgb, "HEIF", {"exif": exif.tobytes()}),
            (rgba, "HEIF", {"chroma": 444}),
            (turned, "HEIF", frames),
        ],
        "avif": [(rgb, "AVIF", described), (rgba, "AVIF", {}), (rgb, "AVIF", frames)],
        "jp2": [
            (rgb, "JPEG2000", {"irreversible": True}),
            (rgba, "JPEG2000", {"tile_size": (16, 16)}),
            (deep, "JPEG2000", {}),
            (grey, "JPEG2000", {"no_jp2": True, "quality_layers": [20, 5]}),
        ],
        "ppm": [(rgb, "PPM", {})],
    }
    for ending, all_options in variants.items():
        for number, (image, kind, options) in enumerate(all_options):
            yield f"{kind.lower()}-{number}.{ending}", encode(image, kind, **options)


def _tifffile_files() -> Iterator[tuple[str, bytes]]:
    rgb, grey = pixels(), pixels(1)[..., 0]
    tile = {"tile": (16, 16)}
    variants: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "plain": (rgb, {"photometric": "rgb"}),
        "tiles": (rgb, {"photometric": "rgb", "compression": "zlib", "predictor": True, **tile}),
        "lzw": (rgb, {"photometric": "rgb", "compression": "lzw", "rowsperstrip": 5}),
        "deep": (pixels(1, "uint16")[..., 0], {"photometric": "minisblack"}),
        "deep-rgb": (pixels(3, "uint16"), {"photometric": "rgb", "compression": "zlib"}),
        "planes": (np.moveaxis(rgb, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        "signed": (pixels(1, "int16")[..., 0], {"photometric": "minisblack"}),
        "wide": (pixels(1, "uint32")[..., 0], {"photometric": "minisblack"}),
        "float": (pixels(1, "float32")[..., 0], {"compression": "zlib", "predictor": 3, **tile}),
        "double": (pixels(1, "float64")[..., 0], {"photometric": "minisblack"}),
        "white": (grey, {"photometric": "miniswhite", "compression": "packbits"}),
        "big": (rgb, {"photometric": "rgb", "bigtiff": True}),
        "other-end": (rgb, {"photometric": "rgb", "byteorder": ">"}),
        "pages": (np.stack([grey, grey]), {"photometric": "minisblack", "metadata": None}),
        "jpeg": (rgb, {"photometric": "ycbcr", "compression": "jpeg", **tile}),
        "jpeg2000": (rgb, {"photometric": "rgb", "compression": "jpeg2000"}),
        "zstd": (rgb, {"photometric": "rgb", "compression": "zstd"}),
        "webp": (rgb, {"photometric": "rgb", "compression": "webp"}),
        "lzma": (grey, {"photometric": "minisblack", "compression": "lzma"}),
        "jpegxl": (rgb, {"photometric": "rgb", "compression": "jpegxl"}),
    }
    for name, (array, options) in variants.items():
        buffer = io.BytesIO()
        always = {"bigtiff": False, "byteorder": "<", "datetime": False, "software": False}
        tifffile.imwrite(buffer, array, **{**always, **options})
        yield name, buffer.getvalue()


def _files_by_hand() -> dict[str, bytes]:
    """Return variants that no library here writes."""
    deep = pixels(3, "uint16").astype(">u2")
    rgb = pixels()
    passes = [rgb[y::dy, x::dx] for x, y, dx, dy in ADAM7]
    half = (rgb[::-1].astype(np.uint16) >> np.array([3, 2, 3], np.uint16)) << np.array(
        [11, 5, 0], np.uint16
    )
    runs = bytes([WIDTH, 3, 0, 0]) * HEIGHT + b"\0\1"
    colours = bytes(1024)
    return {
        "png-deep.png": png(WIDTH, HEIGHT, _scanlines(deep), depth=16),
        "png-adam7.png": png(WIDTH, HEIGHT, b"".join(map(_scanlines, passes)), interlace=1),
        "bmp-565.bmp": bmp(
            16, 3, struct.pack("<3I", 0xF800, 0x7E0, 0x1F), half.sum(2, np.uint16).tobytes()
        ),
        "bmp-runs.bmp": bmp(8, 1, colours, runs),
    }


ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Start and step, x and y, of the seven passes of an interlaced PNG (PNG specification, 8.2)."""


def _scanlines(array: NDArray[Any]) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in array)


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG."""
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(
    width: int,
    height: int,
    scanlines: bytes,
    *,
    depth: int = 8,
    interlace: int = 0,
    before: bytes = b"",
) -> bytes:
    """Return an RGB PNG; ``before`` stands between its header and its pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, interlace)
    content = png_chunk(b"IDAT", zlib.compress(scanlines, 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + content


def bmp(bits: int, compression: int, table: bytes, body: bytes) -> bytes:
    """Return a BMP of `WIDTH` x `HEIGHT`."""
    info = struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, compression, len(body), 0, 0, 0, 0
    )
    start = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + table + body
