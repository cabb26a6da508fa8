"""The policy for text: how names are stored, compared, looked up and shown.

- **Stored** names of data sets and classes, and stored paths, have one spelling on every system
  (`stored_name`): Unicode's normal form C. macOS writes form D. Bytes of a name that are not valid
  UTF-8 are stored as ``%E9``.
- **Arguments** are spelled the same way before they are compared. Points of earlier versions may
  have another form, which is looked up too (`spellings`), until the next ingest stores theirs.
- **Files** keep their own names. `on_disk` finds the file that has a stored spelling.
- **Shown** names are free of what controls a terminal or hides (`printable`). JSON has the exact
  stored name, and null where a picture has no class, which is shown as `NO_CLASS`
  (`printable_class`). `geosim.trainer.console` writes all text of the commands.
- **Drawn** names are in a font that has their characters, or escaped (`geosim.trainer.fonts`).
- **Names in archives** are decoded by `geosim.trainer.data.zip_names`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

NO_CLASS = "no class"
"""Shown in place of the class of a picture that has none."""

_LONE = re.compile("[\ud800-\udfff]")
"""Surrogates. Python has one for each byte of a name that is not valid UTF-8."""

_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters without a shape: Unicode's property Default_Ignorable_Code_Point, and the blank
pattern of Braille."""


def stored_name(name: str) -> str:
    """Return the stored spelling of a name: in normal form C, bytes that are no UTF-8 as ``%E9``.

    In a name with such bytes ``%`` is ``%25``, so that its spelling can be reversed.
    """
    if name.isascii():
        return name
    name = _as_utf8(name)
    if _LONE.search(name):
        name = _LONE.sub(_percent, name.replace("%", "%25"))
    return unicodedata.normalize("NFC", name)


def _as_utf8(name: str) -> str:
    """Return a name read as UTF-8; in the locale C, Python may have read it as ASCII."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeError:  # half a pair of Windows
        return name


def stored_path(path: str) -> str:
    """Return the stored spelling of each part of a POSIX path."""
    return path if path.isascii() else "/".join(map(stored_name, path.split("/")))


def encodable(text: str) -> str:
    """Return ``text``, or its stored spelling where it has bytes that are not valid UTF-8."""
    return stored_path(text) if _LONE.search(text) else text


def spellings(path: str) -> list[str]:
    """Return the stored paths that a typed one may mean: also one of Windows, or in form D."""
    found = [stored_path(path)]
    if "\\" in path:
        found.append(PurePosixPath(stored_path(path.replace("\\", "/"))).as_posix())
    found += [unicodedata.normalize("NFD", one) for one in found]
    return list(dict.fromkeys(found))


def on_disk(path: Path) -> Path:
    """Return the existing file or folder with the stored spelling of ``path``; else ``path``.

    A file of exactly this name comes first.
    """
    if os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[1 if path.anchor else 0 :]:
        step = found / part
        if not os.path.lexists(step):
            try:
                names = [
                    p.name for p in found.iterdir() if stored_name(p.name) == stored_name(part)
                ]
            except OSError:
                names = []
            if not names:
                return path
            step = found / min(names)
        found = step
    return found


def printable(text: str) -> str:
    r"""Return ``text`` on one line, without anything that controls a terminal or is invisible.

    Such characters are escaped as in Python and JSON (``\n``, ``\x1b``, ``\u202e``), bytes that
    are not valid UTF-8 as in `stored_name`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, _as_utf8(text)))


def printable_class(label: str) -> str:
    """Return a class as `printable`, and `NO_CLASS` for an empty one."""
    return printable(label) or NO_CLASS


def _shown(character: str) -> str:
    if _LONE.match(character):
        return _percent(character)
    if character.isprintable() and not _HIDDEN.match(character):
        return character
    return character.encode("unicode_escape").decode()


def _percent(found: str | re.Match[str]) -> str:
    character = found if isinstance(found, str) else found[0]
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", errors))


def is_encoding(name: str) -> bool:
    """Return whether Python has an encoding of text of this name."""
    try:
        return bool("a".encode(name))
    except (LookupError, UnicodeError):  # none, none of text, or "undefined"
        return False


def listed(items: Sequence[str], shown: int = 10) -> str:
    """Return the first items and how many more there are."""
    more = f" and {len(items) - shown:,} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more
