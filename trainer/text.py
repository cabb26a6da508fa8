"""Text that names and messages are shown in."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped: a file name must not control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def encodable(text: str) -> str:
    """Return ``text`` with ``?`` for what a path has that is not valid UTF-8."""
    return text.encode("utf-8", "replace").decode()
