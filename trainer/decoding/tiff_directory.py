"""The directories of a TIFF, read without a decoder: their sizes, and which one holds the picture.

Bounds what a damaged or hostile file makes a decoder read: chains with cycles, absurd counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF files, little- and big-endian."""

MAX_DIRECTORIES = 1024
"""Directories that are looked at; a stack may have more, of which the first ones count."""

MAX_SEGMENTS = 2**18
"""Strips or tiles of a picture; more than a row each of any picture that is decoded."""

_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _SUBDIRECTORIES = 254, 255, 256, 257, 330
_COUNTED = {258, 273, 279, 324, 325, 330, 338, 339}  # tags that have a value per sample or segment
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # of integers, by type of a tag
_REDUCED, _MASK = 1, 4  # flags of NewSubfileType


@dataclass(frozen=True, slots=True)
class Directory:
    """An image file directory."""

    offset: int
    width: int
    height: int
    reduced: bool  # a thumbnail or a level of a pyramid
    mask: bool


def main_directory(data: bytes | mmap) -> Directory:
    """Return the directory of the largest picture that is neither reduced nor a mask.

    The first of several equal ones counts; reduced pictures and masks count if there is no other.

    Raises:
        ValueError: there is no picture, or a number of values is absurd.
    """
    return _main(_pictures(data))


def level_directories(data: bytes | mmap) -> list[Directory]:
    """Return the main directory and those of its pyramid's levels, the largest first.

    A level is marked as reduced, and has the sides' ratio of the picture up to a pixel.

    Raises:
        ValueError: as by `main_directory`.
    """
    found = _pictures(data)
    main = _main(found)
    levels = [
        one
        for one in found
        if one.reduced
        and not one.mask
        and one.width < main.width
        and abs(one.width * main.height - one.height * main.width) <= max(main.width, main.height)
    ]
    return [main, *sorted(levels, key=lambda one: -one.width)]


def _pictures(data: bytes | mmap) -> list[Directory]:
    found = [one for one in _directories(data) if one.width > 0 and one.height > 0]
    if not found:
        raise ValueError("no picture in it")
    return found


def _main(found: Sequence[Directory]) -> Directory:
    full = [one for one in found if not one.reduced and not one.mask]
    unmasked = [one for one in found if not one.mask]
    return max(full or unmasked or found, key=lambda one: one.width * one.height)


def _directories(data: bytes | mmap) -> Iterator[Directory]:
    """Yield the directories of the chain, each followed by its sub-directories."""
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    seen: set[int] = set()
    pending = [_unpack(data, 8 if big else 4, order + ("Q" if big else "I"))]
    while pending and len(seen) < MAX_DIRECTORIES:
        offset = pending.pop()
        if offset == 0 or offset in seen:
            continue
        seen.add(offset)
        try:
            directory, following, below = _read(data, offset, order, big=big)
        except (struct.error, OverflowError, ValueError):  # beyond the end of the file, or absurd
            if len(seen) == 1:
                raise
            continue
        yield directory
        pending += [following, *reversed(below)]


def _read(
    data: bytes | mmap, offset: int, order: str, *, big: bool
) -> tuple[Directory, int, list[int]]:
    """Return a directory, the offset of the next one and those of its sub-directories."""
    number, entry, word = ("Q", 20, "Q") if big else ("H", 12, "I")
    count = _unpack(data, offset, order + number)
    start = offset + struct.calcsize(order + number)
    if count > 0xFFFF:
        raise ValueError(f"{count} tags")
    values: dict[int, list[int]] = {}
    for position in range(start, start + count * entry, entry):
        code, kind = struct.unpack_from(order + "HH", data, position)
        length = _unpack(data, position + 4, order + word)
        if code in _COUNTED and length > MAX_SEGMENTS:
            raise ValueError(f"{length} values of tag {code}")
        if code in (_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _SUBDIRECTORIES) and kind in _FORMATS:
            where, length = position + 4 + struct.calcsize(word), min(length, MAX_DIRECTORIES)
            form = f"{order}{length}{_FORMATS[kind]}"
            if struct.calcsize(form) > struct.calcsize(word):
                where = _unpack(data, where, order + word)
            values[code] = list(struct.unpack_from(form, data, where))

    def first(code: int) -> int:
        return next(iter(values.get(code, [])), 0)

    subfile = first(_SUBFILE)
    reduced = bool(subfile & _REDUCED) or first(_OLD_SUBFILE) == 2
    directory = Directory(
        offset, first(_WIDTH), first(_HEIGHT), reduced, mask=bool(subfile & _MASK)
    )
    following = start + count * entry
    inside = following + struct.calcsize(word) <= len(data)  # some writers leave the last one out
    after = _unpack(data, following, order + word) if inside else 0
    return directory, after, values.get(_SUBDIRECTORIES, [])


def _unpack(data: bytes | mmap, offset: int, form: str) -> int:
    return int(struct.unpack_from(form, data, offset)[0])
