"""What a decoder is kept from: files that take minutes or end the process, and too much memory."""

from __future__ import annotations

import re
import struct
import threading
from mmap import mmap

from geosim.trainer.decoding.encoded import Encoded, mapped
from geosim.trainer.errors import ImageError

MAX_SCANS = 100
"""Scans of a JPEG. Encoders write up to 14; each one visits the whole picture, and may take a few
bytes."""

MAX_SEGMENTS = 5000
"""Segments of a JPEG. Colour profiles take up to 255, thermal pictures and extended XMP some
hundreds."""

MAX_EXIF_SEGMENTS = 100
"""Exif segments of a JPEG; Pillow copies what it has for each one."""

MAX_RUN_LENGTH_PIXELS = 2**24
"""Pixels of a run-length encoded BMP, which Pillow decodes in Python: a few seconds."""

LARGE_PIXELS = 64_000_000
"""Pixels above which one picture is decoded at a time, as each may take up to 3 GB."""

ONE_LARGE = threading.Lock()
"""Held while a picture of more than `LARGE_PIXELS` is decoded."""

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # ends a scan; not a stuffed byte or a restart
_ITEM = re.compile(rb"(....)infe(.)...", re.DOTALL)
_DIB = re.compile(rb"[(48@l|]\0\0\0")  # a BMP without the file's header: the next header's length


def check_file(data: Encoded, *, opening: bool = False) -> None:
    """Check that decoding a file takes time in proportion to its size, and returns.

    ``opening`` looks only at what is read to open it, which is fast also for a large one.

    Raises:
        ImageError: it would take much longer, or a decoder would crash.
    """
    with mapped(data) as view:
        if view[:2] == b"\xff\xd8":
            _check_jpeg(view, up_to=_START_OF_SCAN if opening else _END_OF_IMAGE)
        elif view[4:8] == b"ftyp":
            _check_heif(view)
        elif view[:2] == b"BM":
            _check_bmp(view[14:34])
        elif _DIB.match(view):
            _check_bmp(view[:20])


def _check_jpeg(data: bytes | mmap, up_to: int) -> None:
    """Walk over the segments up to a marker."""
    scans = exif = segments = 0
    offset = 2
    while offset + 4 <= len(data):
        marker = data[offset + 1] if data[offset] == 0xFF else 0
        if marker in (up_to, _END_OF_IMAGE):  # what follows is another picture, or a film
            return
        segments += 1
        exif += data[offset + 4 : offset + 10] == b"Exif\0\0"
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS or exif > MAX_EXIF_SEGMENTS or segments > MAX_SEGMENTS:
            raise ImageError(
                f"a JPEG of more than {MAX_SCANS} scans, {MAX_EXIF_SEGMENTS} Exif segments or "
                f"{MAX_SEGMENTS:,} segments, which takes too long; save it again"
            )
        if marker in (0, 0xFF):  # bytes between segments
            offset += 1
            continue
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
        if marker == _START_OF_SCAN:
            found = _MARKER.search(data, offset)
            offset = len(data) if found is None else found.start()


def _check_heif(data: bytes | mmap) -> None:
    """Check the kinds of a file's items, which pi_heif takes for UTF-8 without looking.

    Source of the layout: ISO/IEC 14496-12, 8.11.6, the box ``infe``.
    """
    for found in _ITEM.finditer(data):
        length, version = int.from_bytes(found[1], "big"), found[2][0]
        start = found.end() + (6 if version == 3 else 4)
        kind, *names = data[start : found.start() + length].split(b"\0")
        try:
            b"".join([kind[:4], *names[1:]]).decode()
        except UnicodeDecodeError:
            length = 0
        if length < 2:  # up to the end, or of 64 bits
            raise ImageError("this HEIC or AVIF has a damaged list of its parts; copy it again")


def _check_bmp(header: bytes) -> None:
    if len(header) < 20 or not _DIB.match(header):
        return
    width, height, _, _, compression = struct.unpack_from("<iiHHI", header, 4)
    if compression in (1, 2) and abs(width * height) > MAX_RUN_LENGTH_PIXELS:
        raise ImageError(
            f"this BMP is run-length encoded and has {abs(width):,} x {abs(height):,} pixels; at "
            f"most {MAX_RUN_LENGTH_PIXELS:,} are decoded, so save it as PNG"
        )
