"""Fonts for names of any script on contact sheets and plots.

Pillow and Matplotlib bring fonts of the European scripts. For other scripts a font of the system is
found. Characters that no font has are escaped, so that two names never look alike, and a line on
stderr says which package has a font.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from geosim.trainer.console import say
from geosim.trainer.text import printable

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

_PACKAGES = (
    (
        r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef"
        r"\U00020000-\U0003ffff]",
        "fonts-noto-cjk (Debian, Ubuntu) or google-noto-sans-cjk-fonts (Fedora)",
    ),
    (
        r"[\u2300-\u2bff\U0001f000-\U0001faff]",
        "fonts-symbola (Debian, Ubuntu) or gdouros-symbola-fonts (Fedora)",
    ),
    (r".", "fonts-noto-core (Debian, Ubuntu) or google-noto-sans-fonts (Fedora)"),
)
"""Patterns of characters, and the packages with a font for them."""

_SHAPED = re.compile(r"[\u0590-\u08ff\u0900-\u109f\u1780-\u17ff\ufb1d-\ufdff\ufe70-\ufeff]")
"""Characters of scripts that are written from right to left, or whose letters are joined."""

_NOT_A_FONT = re.compile(r"last ?resort|adobe ?blank|emoji", re.IGNORECASE)
"""Fonts that have every character as a box or a blank, or as pictures of one size."""

_PLAIN = re.compile(r"noto.*sans|source.*sans|sans", re.IGNORECASE)
_STYLED = re.compile(r"bold|black|heavy|light|thin|italic|oblique|mono|serif", re.IGNORECASE)


def drawable(text: str, *, shaping: bool) -> str:
    """Return ``text`` on one line, with escapes for what cannot be drawn.

    ``shaping`` is whether what draws it lays out scripts that are written from right to left, or
    whose letters are joined.
    """
    text = printable(unicodedata.normalize("NFC", text))
    if text.isascii():
        return text
    return "".join(c if c.isascii() or _can_draw(c, shaping) else _escaped(c) for c in text)


def runs(text: str) -> Iterator[tuple[str, Path]]:
    """Yield the parts of a text that is `drawable`, each with the file of the font for it."""
    start, current = 0, _own()
    for end, character in enumerate(text):
        if not _has(current, character):
            if start < end:
                yield text[start:end], current
            start, current = end, _file(character) or current
    yield text[start:], current


def families(texts: Iterable[str]) -> list[str]:
    """Return the names of the fonts of texts that are `drawable`, known to Matplotlib."""
    from matplotlib.font_manager import fontManager

    files = dict.fromkeys([_own(), *(file for text in texts for _, file in runs(text))])
    known = {entry.fname for entry in fontManager.ttflist}
    for file in files:
        if str(file) not in known:
            fontManager.addfont(file)
    return [_open(file).family_name for file in files]


def _can_draw(character: str, shaping: bool) -> bool:
    if not shaping and _SHAPED.match(character):
        return False
    if _file(character) is not None:
        return True
    _tell(next(package for pattern, package in _PACKAGES if re.match(pattern, character)))
    return False


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


@cache
def _tell(package: str) -> None:
    say(
        "no font on this machine has all characters of the names, so they are drawn as codes such "
        f"as \\u82b1; install {package} and draw again",
        err=True,
    )


@cache
def _file(character: str) -> Path | None:
    """Return the file of the first font that has a character."""
    if _has(_own(), character):
        return _own()
    return next((file for file in _system() if _has(file, character)), None)


@cache
def _has(file: Path, character: str) -> bool:
    return _open(file).get_char_index(ord(character)) != 0


@cache
def _own() -> Path:
    """Return DejaVu Sans, which Matplotlib brings: a sheet looks the same on every machine."""
    import matplotlib

    return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@cache
def _system() -> tuple[Path, ...]:
    """Return the outline fonts of the system, plain ones first."""
    from matplotlib.font_manager import findSystemFonts

    files = []
    for file in map(Path, findSystemFonts()):
        try:
            usable = _open(file).scalable and not _NOT_A_FONT.search(_open(file).family_name)
        except (OSError, RuntimeError, ValueError):  # damaged, or in an unknown format
            usable = False
        if usable:
            files.append(file)
    return tuple(sorted(files, key=_preference))


def _preference(file: Path) -> tuple[bool, bool, str]:
    name = file.stem
    return bool(_STYLED.search(name)), not _PLAIN.search(name), name


@cache
def _open(file: Path) -> FT2Font:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(file))
