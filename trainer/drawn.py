"""The mark of the pictures that geosim draws, by which they are not taken for a user's.

It stands in the first `HEAD_BYTES` of the file: a text chunk of a PNG, a comment of a JPEG.
"""

from __future__ import annotations

from typing import Any

MARK = "Drawn by geosim"

PNG_METADATA = {"Comment": MARK}
"""Text chunks of a PNG, as Matplotlib takes them."""

HEAD_BYTES = 4096

SMALLEST = 2048
"""Smallest file, in bytes, that is looked into: a sheet or a plot is larger, a tile is not."""

ENDINGS = frozenset({".png", ".jpg", ".jpeg"})
"""File name suffixes, in lower case, of the formats that are drawn."""

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def is_drawn(head: bytes) -> bool:
    """Return whether geosim drew the picture whose file begins with ``head``."""
    return head.startswith(_SIGNATURES) and MARK.encode() in head[:HEAD_BYTES]


def save_options(kind: str) -> dict[str, Any]:
    """Return the options with which Pillow's ``save`` writes the mark to a PNG or JPEG."""
    if kind != "PNG":
        return {"comment": MARK.encode()}
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in PNG_METADATA.items():
        info.add_text(key, text)
    return {"pnginfo": info}
