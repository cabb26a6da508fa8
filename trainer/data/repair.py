"""Repairs of image files whose pixels are intact: damaged metadata, a missing end mark."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")  # eXIf: the orientation

_JPEG = b"\xff\xd8"
_JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_END = b"\xff\xd9"  # of both
_JPEG_METADATA = {*range(0xE2, 0xEE), 0xEF, 0xFE}  # not APP1: the orientation; APP14: the colours
_JPEG_NAMED = {0xE0: (b"JFIF\0", 16), 0xEE: (b"Adobe", 14)}  # needed, and their shortest length
_JPEG_FILL = tuple(bytes((n * 167 + start) % 255 for n in range(2**14)) for start in (91, 164, 238))
# Any bytes but 255, in place of lost ones; libjpeg takes zeros for what is missing before the end.


def repairs(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield what may be decoded in place of a damaged file, the smallest change first.

    Each is a tuple of files that must decode to the same pixels: those of a JPEG without its end
    mark are complete if they do not depend on what follows.
    """
    start = data.lstrip(b" \t\r\n")
    if start != data:
        yield (start,)
    if start.startswith(_PNG):
        yield (_png_without_metadata(start),)
    if start.startswith(_JPEG):
        core = _jpeg_without_metadata(start)
        yield (core,)
        scans = core.rstrip(b"\xff")  # half an end mark
        yield scans + _END, *(scans + fill + _END for fill in _JPEG_FILL)
    if start.startswith(_JPEG_2000):
        yield (start.rstrip(b"\xff") + _END,)


def _png_without_metadata(data: bytes) -> bytes:
    """Keep the chunks that the pixels and the orientation depend on."""
    kept, offset = [_PNG], len(_PNG)
    while offset < len(data):
        end = offset + 12 + int.from_bytes(data[offset : offset + 4], "big")
        chunk, name = data[offset:end], data[offset + 4 : offset + 8]
        intact = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        if name in _PNG_CHUNKS and (intact or name != b"eXIf"):
            kept.append(chunk)
        offset = end
    return b"".join(kept)


def _jpeg_without_metadata(data: bytes) -> bytes:
    """Drop the segments before the first scan that hold metadata or are damaged."""
    kept, offset = [_JPEG], len(_JPEG)
    while data[offset : offset + 1] == b"\xff" and data[offset + 1 : offset + 2] != b"\xda":
        marker = data[offset + 1] if offset + 1 < len(data) else 0
        length = 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
        segment = data[offset : offset + length]
        name, shortest = _JPEG_NAMED.get(marker, (b"", 4))
        if marker == 0xFF:  # padding before a marker
            length = 1
        elif (
            marker not in _JPEG_METADATA
            and segment[4:].startswith(name)
            and len(segment) >= shortest
        ):
            kept.append(segment)
        offset += length
    return b"".join([*kept, data[offset:]])
