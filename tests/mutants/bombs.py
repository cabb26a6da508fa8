"""Small files that ask for much memory or time."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

from tests.mutants.seeds import bmp, encode, png, png_chunk

SIDE = 13_000
"""Pixels of a side just below what is decoded."""


def bombs() -> dict[str, bytes]:
    """Return the files by name, with their formats' endings."""
    return {
        **_large_sizes(),
        **_metadata(),
        **_repetitions(),
        **bombs_in_tiff(),
    }


def _large_sizes() -> dict[str, bytes]:
    """Return flat or empty pictures of the largest size that is decoded, and of larger ones."""
    flat = encode(Image.new("L", (SIDE, SIDE), 99), "PNG", compress_level=1)
    small = Image.new("RGB", (16, 16), "#806040")
    grey = Image.new("L", (16, 16), 99)
    jpeg = bytearray(encode(small, "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", SIDE, SIDE)
    progressive = bytearray(encode(small, "JPEG", progressive=True))
    start = progressive.index(b"\xff\xc2") + 5
    progressive[start : start + 4] = struct.pack(">HH", SIDE, SIDE)
    gif = bytearray(encode(grey, "GIF"))
    gif[6:10] = struct.pack("<HH", SIDE, SIDE)
    endless = bytearray(gif)
    endless[6:10] = b"\xff" * 4
    frame = gif.index(b",")
    gif[frame + 5 : frame + 9] = struct.pack("<HH", SIDE, SIDE)
    jp2 = bytearray(encode(small, "JPEG2000", no_jp2=True))
    jp2[8:16] = struct.pack(">II", SIDE, SIDE)
    tiles = bytearray(jp2)
    tiles[24:32] = struct.pack(">II", 1, 1)
    rows = (b"\1\0" + b"\0\0") * SIDE
    return {
        "flat.png": flat,
        "larger.png": png(2**31 - 1, 2**31 - 1, b""),
        "claimed.jpg": bytes(jpeg),
        "claimed-progressive.jpg": bytes(progressive),
        "claimed.gif": bytes(gif),
        "claimed-screen.gif": bytes(endless),
        "claimed.j2k": bytes(jp2),
        "claimed-tiles.j2k": bytes(tiles),
        "flat.webp": encode(Image.new("RGB", (16_383, 10_900)), "WEBP", lossless=True, method=0),
        "claimed.bmp": _sized_bmp(bmp(24, 0, b"", bytes(64))),
        "rows.bmp": _sized_bmp(bmp(8, 1, bytes(1024), rows)),
    }


def _sized_bmp(data: bytes) -> bytes:
    return data[:18] + struct.pack("<ii", SIDE, SIDE) + data[26:]


def _metadata() -> dict[str, bytes]:
    """Return pictures whose metadata is huge when it is unpacked or read."""
    much = zlib.compressobj(9)
    packed = b"".join(much.compress(bytes(2**20)) for _ in range(2**8)) + much.flush()
    line = b"\0" + bytes(3 * 16)
    texts = {
        "ztxt": png_chunk(b"zTXt", b"a\0\0" + packed) * 8,
        "itxt": png_chunk(b"iTXt", b"a\0\1\0\0\0" + packed) * 8,
        "iccp": png_chunk(b"iCCP", b"a\0\0" + packed) * 8,
        "many": png_chunk(b"tEXt", b"a\0b") * 300_000,
        "exif": png_chunk(b"eXIf", _overlapping_tags(4 * 2**20)),
    }
    small = encode(Image.new("RGB", (16, 16), "#806040"), "JPEG")
    segments = {
        "exif": b"\xff\xe1\0\x0aExif\0\0ab" * 500_000,
        "comments": b"\xff\xfe\0\x03a" * 1_000_000,
        "icc": b"\xff\xe2\0\x12ICC_PROFILE\0\1\1ab" * 300_000,
        "fill": b"\xff" * 8_000_000,
    }
    files = {f"{name}.png": png(16, 16, line * 16, before=text) for name, text in texts.items()}
    files |= {f"{name}.jpg": small[:2] + part + small[2:] for name, part in segments.items()}
    gif = encode(Image.new("L", (16, 16), 99), "GIF")
    frame = gif.index(b",")
    files["comments.gif"] = gif[:frame] + b"!\xfe\1a\0" * 1_000_000 + gif[frame:]
    return files


def _overlapping_tags(length: int) -> bytes:
    """Return EXIF with 65,535 tags, each of them nearly the whole of it."""
    tags = (
        struct.pack("<HHII", tag, 7, length - 2**20, 8) for tag in range(1, 2**16) if tag != 274
    )
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", 65_534) + b"".join(tags)).ljust(length, b"\0")


def _repetitions() -> dict[str, bytes]:
    """Return pictures of many scans, frames or pieces."""
    frame = encode(Image.new("RGB", (16, 16), "#806040"), "GIF").partition(b",")
    return {
        "scans.jpg": _many_scans(SIDE, 85),
        "more-scans.jpg": _many_scans(SIDE, 20_000),
        "frames.gif": frame[0] + (b"," + frame[2][:-1]) * 20_000 + b";",
        "pieces.png": png(16, 16, (b"\0" + bytes(48)) * 16, before=png_chunk(b"IDAT", b"") * 10**6),
    }


def _many_scans(side: int, count: int) -> bytes:
    """Return a progressive JPEG that claims a size and repeats its last scan."""
    jpeg = bytearray(encode(Image.new("RGB", (16, 16)), "JPEG", progressive=True, subsampling=0))
    start = jpeg.index(b"\xff\xc2") + 5
    jpeg[start : start + 4] = struct.pack(">HH", side, side)
    last = bytes(jpeg[jpeg.rindex(b"\xff\xda") : -2])
    return bytes(jpeg[:-2]) + last * count + b"\xff\xd9"


def bombs_in_tiff() -> dict[str, bytes]:
    """Return TIFFs with absurd directories."""
    buffer = io.BytesIO()
    array = np.zeros((16, 16, 3), np.uint8)
    tifffile.imwrite(buffer, array, photometric="rgb", metadata=None, software=False)
    sound = buffer.getvalue()
    (first,) = struct.unpack_from("<I", sound, 4)
    (tags,) = struct.unpack_from("<H", sound, first)
    link = first + 2 + 12 * tags

    def changed(tag: int, value: int, count: int = 1, kind: int = 4) -> bytes:
        data = bytearray(sound)
        for offset in range(first + 2, link, 12):
            if struct.unpack_from("<H", data, offset)[0] == tag:
                struct.pack_into("<HHII", data, offset, tag, kind, count, value)
        return bytes(data)

    cycle = sound[:link] + struct.pack("<I", first) + sound[link + 4 :]
    wide = changed(256, SIDE)
    both = bytearray(wide)
    for offset in range(first + 2, link, 12):
        if struct.unpack_from("<H", both, offset)[0] == 257:
            struct.pack_into("<HHII", both, offset, 257, 4, 1, SIDE)
    directory = (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 65_535)
        + b"".join(struct.pack("<HHII", tag, 7, 3 * 2**20, 8) for tag in range(65_535))
    )
    chain = bytearray(b"II*\0\x08\0\0\0")
    for number in range(200_000):
        chain += struct.pack("<HHHIII", 1, 254, 4, 1, 0, 8 + 18 * (number + 1))
    return {
        "cycle.tif": cycle,
        "claimed.tif": bytes(both),
        "tags.tif": directory.ljust(4 * 2**20, b"\0"),
        "chain.tif": bytes(chain),
        "offsets.tif": changed(273, 8, 2**30),
        "samples.tif": changed(277, 65_535, 1, 3),
        "rows.tif": changed(278, 0),
        "width.tif": changed(256, 2**32 - 1),
        "overlaps.tif": _tiff(1, 50_000, 1, bytes(8), [2**22] * 50_000).ljust(2**23, b"\0"),
        "scans.tif": _tiff(8000, 8000, 7, (jpeg := _many_scans(8000, 5000)), [len(jpeg)]),
    }


def _tiff(width: int, height: int, compression: int, data: bytes, lengths: list[int]) -> bytes:
    """Return an RGB TIFF of strips that all start with ``data``."""
    count = len(lengths)
    offsets = 8 + len(data)
    tags = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, compression),
        262: (3, 1, 6 if compression == 7 else 2),
        273: (4, count, offsets if count > 1 else 8),
        277: (3, 1, 3),
        278: (4, 1, height // count),
        279: (4, count, offsets + 4 * count if count > 1 else lengths[0]),
    }
    tables = struct.pack(f"<{2 * count}I", *[8] * count, *lengths)
    directory = b"".join(struct.pack("<HHII", tag, *value) for tag, value in tags.items())
    start = offsets + len(tables)
    head = b"II*\0" + struct.pack("<I", start)
    return head + data + tables + struct.pack("<H", len(tags)) + directory + bytes(4)
