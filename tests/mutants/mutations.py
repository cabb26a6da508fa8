"""Damage to picture files, each reproducible from its number alone."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from tests.mutants.seeds import sound_files

SEED = 14

MARKS = {
    b"\x89PNG": rb"(?<=....)(?=[A-Za-z]{4})",
    b"RIFF": rb"(?=VP8|ALPH|ANIM|ANMF|ICCP|EXIF|XMP )",
    b"\xff\xd8": rb"(?=\xff[\xc0-\xfe])",
    b"\xff\x4f": rb"(?=\xff[\x4f-\xd9])",
    b"GIF8": rb"(?=[,!;])",
    b"P6": rb"(?=\s)",
}
"""Start of a file -> where its chunks begin. TIFF: `_entries`; the others have boxes."""

_BOXES = rb"(?<=\0\0..)(?=[a-z][a-zA-Z0-9]{2}[a-zA-Z0-9 ])|(?=\xff[\x4f-\x93])"

EXTREMES = (0, 1, 2, 3, 7, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 10**6, 2**31 - 1, 2**31)
_WORDS = tuple(
    struct.pack(f"{end}{code}", value)
    for value in (*EXTREMES, 2**32 - 1, 2**63 - 1, 2**64 - 1)
    for end in "<>"
    for code, limit in (("H", 2**16), ("I", 2**32), ("Q", 2**64))
    if value < limit
)

Mutation = Callable[[bytearray, list[int], np.random.Generator], object]


def mutants(count: int, *, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` damaged files by name, of all sound files in turn, from a number on."""
    seeds = list(sound_files().items())
    for number in range(first, first + count):
        name, sound = seeds[number % len(seeds)]
        stem, _, ending = name.partition(".")
        generator = np.random.default_rng((SEED, number))
        other = seeds[int(generator.integers(len(seeds)))][1]
        yield f"{number:06d}-{stem}.{ending}", mutate(sound, other, generator)


def write_mutants(folder: Path, count: int, *, first: int = 0) -> Path:
    """Write mutants as a data set: one class folder for each format."""
    for name, data in mutants(count, first=first):
        path = folder / name.split("-")[1] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def mutate(sound: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """Damage a file in one way or three; ``other`` may give the end of it."""
    data = bytearray(sound)
    for _ in range(1 if generator.random() < 0.75 else 3):
        if generator.random() < 0.04:
            _splice(data, other, generator)
        else:
            mutation = MUTATIONS[int(generator.integers(len(MUTATIONS)))]
            mutation(data, _chunks(data), generator)
    if data.startswith(b"\x89PNG") and generator.random() < 0.7:  # past the checksums
        return _with_checksums(bytes(data))
    return bytes(data)


def _chunks(data: bytearray) -> list[int]:
    """Return where the parts of a file begin, with its start and its end."""
    if data[:4] in (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+"):
        inner: Iterable[int] = _entries(data)
    else:
        pattern = next((p for start, p in MARKS.items() if data.startswith(start)), _BOXES)
        inner = (found.start() for found in re.finditer(pattern, bytes(data), re.DOTALL))
    return sorted({0, len(data), *inner})


def _entries(data: bytearray) -> Iterator[int]:
    """Yield the offsets of the tags in a TIFF's first directory."""
    end = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    offset, count, length, step = ("Q", "Q", 8, 20) if big else ("I", "H", 2, 12)
    try:
        (start,) = struct.unpack_from(end + offset, data, 8 if big else 4)
        (tags,) = struct.unpack_from(end + count, data, start)
    except (struct.error, OverflowError):
        return
    yield from range(start + length, min(start + length + tags * step, len(data)), step)


def _place(data: bytearray, chunks: list[int], generator: np.random.Generator) -> int:
    """Return an offset: near the start of a chunk, near the start of the file, or any."""
    choice = generator.random()
    if choice < 0.4:
        place = chunks[int(generator.integers(len(chunks)))] + int(generator.integers(-8, 24))
    else:
        place = int(generator.integers(max(len(data), 1) if choice < 0.9 else 64))
    return max(0, min(place, len(data) - 1))


def _span(chunks: list[int], generator: np.random.Generator) -> slice:
    if len(chunks) < 2:
        return slice(0, 0)
    first = int(generator.integers(len(chunks) - 1))
    return slice(chunks[first], chunks[first + 1])


def _change_bytes(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    for _ in range(int(generator.integers(1, 5)) if data else 0):
        data[_place(data, chunks, generator)] = int(generator.integers(256))


def _flip_bits(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    for _ in range(int(generator.integers(1, 5)) if data else 0):
        data[_place(data, chunks, generator)] ^= 1 << int(generator.integers(8))


def _write_extreme(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    word = _WORDS[int(generator.integers(len(_WORDS)))]
    place = _place(data, chunks, generator)
    data[place : place + len(word)] = word


def _cut(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    del data[_place(data, chunks, generator) :]


def _zero(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    place = _place(data, chunks, generator)
    end = min(len(data), place + int(generator.integers(1, 200)))
    data[place:end] = bytes(end - place)


def _insert(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    place = _place(data, chunks, generator)
    data[place:place] = generator.bytes(int(generator.integers(1, 40)))


def _drop_chunk(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    del data[_span(chunks, generator)]


def _zero_chunk(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    span = _span(chunks, generator)
    data[span] = bytes(span.stop - span.start)


def _repeat_chunk(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    span = _span(chunks, generator)
    data[span] = data[span] * int(generator.integers(2, 40))


def _swap_chunks(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    one, two = sorted((_span(chunks, generator), _span(chunks, generator)), key=lambda s: s.start)
    if one != two:
        data[one.start : two.stop] = data[two] + data[one.stop : two.start] + data[one]


def _copy_chunk(data: bytearray, chunks: list[int], generator: np.random.Generator) -> None:
    source = data[_span(chunks, generator)]
    place = chunks[int(generator.integers(len(chunks)))]
    data[place:place] = source


MUTATIONS: tuple[Mutation, ...] = (
    _change_bytes,
    _change_bytes,
    _flip_bits,
    _flip_bits,
    _write_extreme,
    _write_extreme,
    _write_extreme,
    _cut,
    _zero,
    _insert,
    _drop_chunk,
    _zero_chunk,
    _repeat_chunk,
    _swap_chunks,
    _copy_chunk,
)


def _splice(data: bytearray, other: bytes, generator: np.random.Generator) -> None:
    """Replace the end by the end of another file."""
    data[int(generator.integers(len(data) + 1)) :] = other[int(generator.integers(len(other))) :]


def _with_checksums(data: bytes) -> bytes:
    """Return a PNG with the right checksum after every chunk."""
    parts, offset = [data[:8]], 8
    while offset + 12 <= len(data):
        end = offset + 8 + int.from_bytes(data[offset : offset + 4], "big")
        if end + 4 > len(data):
            break
        checksum = struct.pack(">I", zlib.crc32(data[offset + 4 : end]))
        parts += [data[offset:end], checksum]
        offset = end + 4
    return b"".join([*parts, data[offset:]])
