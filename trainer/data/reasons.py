"""Reasons why bytes cannot be decoded, in a user's words and with a remedy."""

from __future__ import annotations

import re

FORMAT_NAMES = "JPEG, PNG, WebP, BMP, TIFF, GIF, JPEG 2000, HEIC or AVIF"
"""The formats that are read, for messages."""

_RAW = "a raw photograph; convert it to TIFF or JPEG"
_EXPORT = "; export it as TIFF or PNG"

_OTHER_FILES = {
    rb"%PDF": f"a PDF document{_EXPORT}",
    rb"%!PS|\xc5\xd0\xd3\xc6": f"a PostScript file{_EXPORT}",
    rb"8BPS": f"a Photoshop file{_EXPORT}",
    rb"gimp xcf": f"a GIMP file{_EXPORT}",
    rb"P[1-7]\s": f"a PNM file{_EXPORT}",
    rb"\xff\n|\0\0\0\x0cJXL ": f"a JPEG XL file{_EXPORT}",
    rb"\s*(<\?xml.{,512})?<svg": f"an SVG drawing{_EXPORT}",
    rb"(\xef\xbb\xbf)?\s*(<!DOCTYPE html|<html)": "a web page; download the picture itself",
    rb"PK\x03\x04": "a zip archive or an Office document; take the pictures out of it",
    rb".{4}ftyp(isom|mp4|M4V|qt|3gp|avc1)": "a video; save its frames as JPEG",
    rb"(II\*\0|MM\0\*).{4}CR|IIU\0|IIR[OS]|FUJIFILMCCD-RAW|FOVb|\0MRM|.{4}ftypcrx": _RAW,
}
_FORMATS = {
    rb"\xff\xd8": "JPEG",
    rb"\x89PNG": "PNG",
    rb"RIFF.{4}WEBP": "WebP",
    rb"BM": "BMP",
    rb"II[*+]\0|MM\0[*+]": "TIFF",
    rb"GIF8": "GIF",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "JPEG 2000",
    rb".{4}ftyp(he|mif|msf)": "HEIC",
    rb".{4}ftypavi[fs]": "AVIF",
}

_INCOMPLETE = re.compile(r"truncated|end of file|only got|outside of file", re.IGNORECASE)


def reason(data: bytes, error: Exception) -> str:
    """Return why an image file, which made a decoder raise ``error``, is not read."""
    start = data[:1024]
    if what := _first(_OTHER_FILES, start):
        return f"not a {FORMAT_NAMES} picture but {what}"
    kind = _first(_FORMATS, start)
    if kind is None:
        what = " but text" if _is_text(start) else ""
        return f"not a {FORMAT_NAMES} picture{what}; replace or remove it"
    if _INCOMPLETE.search(str(error)):
        return f"this {kind} is cut short or damaged, pixels are missing; copy it again"
    return (
        f"this {kind} is damaged, or its pixels are stored in a way that is not read; copy it "
        "again, or save it as an 8-bit TIFF or PNG"
    )


def _is_text(start: bytes) -> bool:
    """Return whether bytes are UTF-8, which may be cut off, without control characters."""
    text = start.decode(errors="replace").rstrip("\ufffd")
    readable = (one != "\ufffd" and (one.isspace() or one.isprintable()) for one in text)
    return text != "" and all(readable)


def _first(table: dict[bytes, str], start: bytes) -> str | None:
    found = (name for mark, name in table.items() if re.match(mark, start, re.DOTALL | re.I))
    return next(found, None)
