"""Names of the entries of a .zip archive: which encoding they have, where the archive does not say.

The ZIP specification (APPNOTE.TXT 4.4.4 and 4.6.9) has a flag for UTF-8 and an extra field with
the name in UTF-8. macOS and older tools for Linux write UTF-8 without the flag, those for Windows
the code page of the system.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from zipfile import ZipInfo

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075

ZIPFILE_ENCODING = "cp437"
"""What `zipfile` decodes names with, and thereby what earlier versions stored."""

_LONE_WIDE = re.compile(r"[A-Za-z][^\0-\x7f](?![^\0-\x7f])|(?<![^\0-\x7f])[^\0-\x7f][A-Za-z]")
_NOT_JAPANESE = re.compile("[^\0-\x7f\u3005\u3040-\u30ff\u4e00-\u9fff]")
_RARE = "ÞþÐðÝýŸÿ"
_TOLD_LENGTH = 8  # different characters


def decode_names(entries: Sequence[ZipInfo]) -> tuple[list[str], str | None]:
    """Return the names of entries, and the note to print if their encoding cannot be told.

    The encoding is one for all names of an archive that do not state theirs: UTF-8, or the only
    code page in which they are words. Otherwise they are read as `zipfile` reads them.
    """
    stated = [_stated(entry) for entry in entries]
    raw = [
        e.orig_filename.encode(ZIPFILE_ENCODING)
        for e, s in zip(entries, stated, strict=True)
        if s is None
    ]
    encoding = _encoding({name for name in raw if not name.isascii()})
    note = None
    if encoding is None:
        example = next(name for name in raw if not name.isascii()).decode(ZIPFILE_ENCODING)
        note = (
            f"the encoding of its names cannot be told, so they may be garbled, such as {example}; "
            "pack it again with names in UTF-8, or unpack it and name the folder"
        )
    rest = (name.decode(encoding or ZIPFILE_ENCODING) for name in raw)
    return [next(rest) if name is None else name for name in stated], note


def _stated(entry: ZipInfo) -> str | None:
    """Return the name of an entry that states its encoding; None for others."""
    if entry.flag_bits & UTF8_FLAG:
        return entry.orig_filename
    raw, extra = entry.orig_filename.encode(ZIPFILE_ENCODING), entry.extra
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        data, extra = extra[4 : 4 + length], extra[4 + length :]
        # A version, the checksum of the name that the field belongs to, and the name.
        if kind == UNICODE_PATH and data[:5] == b"\1" + struct.pack("<L", zlib.crc32(raw)):
            try:
                return data[5:].decode()
            except UnicodeDecodeError:
                return None
    return None


def _encoding(names: set[bytes]) -> str | None:
    """Return the encoding of names with bytes beyond ASCII; None if it cannot be told."""
    if _decoded(names, "utf-8") is not None:
        return "utf-8"
    readings: dict[tuple[str, ...], str] = {}
    for encoding, is_text in _CODE_PAGES.items():
        words = _decoded(names, encoding)
        if words is not None and all(is_text(word, encoding) for word in words):
            readings.setdefault(words, encoding)
    if len(readings) > 1:
        common = {w: e for w, e in readings.items() if not set("".join(w)) & set(_RARE)}
        readings = common or readings
    if set(readings.values()) == {"gbk", "cp949"}:
        # Chinese uses the upper half of its table as often; a text of the lower one is Korean.
        korean, chinese = (next(w for w, e in readings.items() if e == x) for x in ("cp949", "gbk"))
        if len({c for c in "".join(korean) if not c.isascii()}) >= _TOLD_LENGTH:
            readings.pop(chinese)
    return next(iter(readings.values())) if len(readings) == 1 else None


def _decoded(names: set[bytes], encoding: str) -> tuple[str, ...] | None:
    try:
        return tuple(name.decode(encoding) for name in sorted(names))
    except UnicodeDecodeError:
        return None


def _is_latin(name: str, _: str) -> bool:
    """Return whether a name is of Latin letters, most of them of ASCII, in plausible case."""
    letters = [c for c in name if c.isalpha()]
    if 2 * sum(c.isascii() for c in letters) < len(letters):
        return False
    for word in _words(name):
        accented = [c for c in word if not c.isascii()]
        if any(not unicodedata.name(c, "").startswith("LATIN") for c in accented):
            return False
        if any(c.isupper() and b.islower() for b, c in pairwise(word) if not (b + c).isascii()):
            return False
    return True


def _is_cyrillic(name: str, _: str) -> bool:
    """Return whether all words with letters beyond ASCII are Cyrillic, in plausible case."""
    for word in _words(name):
        if any(not "\u0400" <= c <= "\u045f" for c in word):
            return False
        if any(c.isupper() and b.islower() for b, c in pairwise(word)):
            return False
    return True


def _is_frequent(first: int, last: int, trails: int) -> Callable[[str, str], bool]:
    """Return a test for names of two-byte characters of the frequent part of a table."""

    def test(name: str, encoding: str) -> bool:
        pairs = [c.encode(encoding) for c in name if not c.isascii()]
        inside = all(len(p) == 2 and first <= p[0] <= last and p[1] >= trails for p in pairs)
        return inside and not _LONE_WIDE.search(name)

    return test


def _is_japanese(name: str, _: str) -> bool:
    """Return whether a name has kana and kanji alone beyond ASCII."""
    return not _NOT_JAPANESE.search(name) and not _LONE_WIDE.search(name)


def _words(name: str) -> list[str]:
    """Return the words of a name that have characters beyond ASCII."""
    words = "".join(" " if c.isascii() and not c.isalpha() else c for c in name).split()
    return [word for word in words if not word.isascii()]


_CODE_PAGES: dict[str, Callable[[str, str], bool]] = {
    "cp437": _is_latin,
    "cp850": _is_latin,
    "cp1252": _is_latin,
    "cp866": _is_cyrillic,
    "cp1251": _is_cyrillic,
    "gbk": _is_frequent(0xB0, 0xD7, 0xA1),  # level 1 of GB 2312
    "cp949": _is_frequent(0xB0, 0xC8, 0xA1),  # the syllables of KS X 1001
    "big5": _is_frequent(0xA4, 0xC6, 0x40),  # level 1
    "cp932": _is_japanese,
}
"""The code pages that Windows and DOS give names, and a test of a name for each."""
