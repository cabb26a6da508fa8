"""Data sets: a folder of class folders, or a .zip of one, as sorted records.

Owns which files belong to a data set.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from geosim.trainer import drawn
from geosim.trainer.data.layout import Layout, Parts, known_layout, new_layout
from geosim.trainer.data.passed_over import PassedOver, count_passed_over, is_image, own_folder
from geosim.trainer.data.places import Place
from geosim.trainer.data.reasons import FORMAT_NAMES
from geosim.trainer.data.sources import Archive, Files, Record, Source
from geosim.trainer.data.walk import counts, output_folders, walk
from geosim.trainer.errors import DatasetError, ImageError
from geosim.trainer.text import encodable

READ_THREADS = 4
"""Threads that read files."""

_BLOCK = 256  # records read ahead at once

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An image that was left out, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class HashedRecord:
    """A record and the SHA-256 (hex) of its bytes."""

    record: Record
    sha256: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images of a folder or archive."""

    name: str  # the first part of every stored path
    location: Path  # absolute path of the folder or archive
    records: tuple[Record, ...]  # sorted by stored path
    rejected: tuple[Rejected, ...]  # images left out
    source: Source  # reads the records' bytes
    place: Place  # of its root, and the level of its class folders
    passed_over: tuple[PassedOver, ...] = ()  # other files, by class and ending

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted({record.label for record in self.records}))


Decide = Callable[[Path, Collection[Parts]], Layout]
"""Returns the layout of the data set at a location, whose images have these paths below it."""


def decide_anew(location: Path, images: Collection[Parts]) -> Layout:
    """Return the layout of a data set that is not known yet."""
    return new_layout(location.name if location.is_dir() else location.stem, images)


def decide_by(places: Mapping[str, Place]) -> Decide:
    """Return a function that keeps the layout of a data set in ``places``, by name.

    A data set that was moved keeps the level of its classes.
    """

    def decide(location: Path, images: Collection[Parts]) -> Layout:
        fresh = decide_anew(location, images)
        known = known_layout(location, images, fresh, places)
        if known is None and fresh.name in places and places[fresh.name].gone:
            return replace(fresh, level=places[fresh.name].level)
        return known or fresh

    return decide


def open_dataset(
    location: Path, exclude: Sequence[str] = (), decide: Decide = decide_anew
) -> Dataset:
    """List the images of ``location``, a folder or a .zip archive of one.

    ``decide`` finds the data set's name and the folders that are its classes
    (`trainer/data/layout.py`). Hidden files, `SYSTEM_FOLDERS` and what the patterns of ``exclude``
    match are ignored (`counts`). Other files without an image's ending, folders that geosim wrote
    and pictures that it drew are counted in ``passed_over``.

    Raises:
        DatasetError: the data set is missing, unreadable, unsafe or has no image in a class folder.
    """
    location = Path(os.path.abspath(location))  # noqa: PTH100 - keeps symbolic links as named
    own: list[Parts] = []
    if location.is_dir():
        found = [
            (parts, os.fspath(location.joinpath(*parts)))
            for parts in walk(location, exclude, report=own.append)
        ]
        return _assemble(location, found, Files(), own, decide)
    if location.is_file():
        archive = Archive(location)
        every = {tuple(name.split("/")): name for name in archive.names()}
        own = sorted(output_folders(every))
        entries = [
            (parts, name)
            for parts, name in every.items()
            if counts(parts, exclude) and not any(parts[: len(one)] == one for one in own)
        ]
        return _assemble(location, entries, archive, own, decide)
    raise DatasetError(
        f"{location} does not exist; expected a folder of class folders or a .zip of one. "
        "Without data at hand, try `geosim demo`"
    )


def _assemble(
    location: Path,
    found: Iterable[tuple[Parts, str]],
    source: Files | Archive,
    own: Iterable[Parts],
    decide: Decide,
) -> Dataset:
    """Find the layout from all paths and sort the images into records and rejects."""
    images: dict[Parts, str] = {}
    others: list[Parts] = []
    for parts, where in found:
        if is_image(parts):
            images[parts] = where
        else:
            others.append(parts)
    sheets = drawn_images(images, source)
    for parts in sheets:
        del images[parts]
    layout = decide(location, images.keys())
    name, depth = layout.name, layout.depth
    passed_over = (
        *map(own_folder, own),
        *count_passed_over(sheets, depth, name, own=True),
        *count_passed_over(others, depth, name),
    )
    records, rejected = [], []
    for parts, where in images.items():
        label = layout.label(parts)
        path = "/".join((name, *parts[len(layout.inside) if layout.covers(parts) else 0 :]))
        printable = encodable(path)
        if printable != path:
            rejected.append(Rejected(printable, "the file name is not valid UTF-8; rename it"))
        elif not layout.covers(parts):
            root = "/".join(layout.inside)
            rejected.append(Rejected(path, f"outside of {root}, the folder of data set {name}"))
        elif label is None:
            rejected.append(Rejected(path, "not inside a class folder"))
        elif isinstance(source, Files) and not _regular(where):
            rejected.append(Rejected(path, "not a regular file"))
        else:
            records.append(Record(path, label, where))
    if not records:
        reasons = [f"{len(rejected)} rejected: {rejected[0].reason}"] if rejected else []
        reasons += [str(one) for one in passed_over if one.picture or one.own][:1]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        expected = "/".join((name, *["<folder>"] * layout.level, "<class>", "<image>"))
        raise DatasetError(
            f"{location} holds no images in class folders{why}; "
            f"expected {expected}, where an image is a {FORMAT_NAMES} file"
        )
    records.sort(key=lambda record: record.path)
    rejected.sort(key=lambda reject: reject.path)
    place = _place(location, layout, source)
    return Dataset(name, location, tuple(records), tuple(rejected), source, place, passed_over)


def drawn_images(images: Mapping[Parts, str], source: Files | Archive) -> list[Parts]:
    """Return the images that geosim drew."""
    asked = [parts for parts in images if Path(parts[-1]).suffix.lower() in drawn.ENDINGS]

    def look(parts: Parts) -> bool:
        return drawn.is_drawn(source.head(images[parts], drawn.SMALLEST, drawn.HEAD_BYTES))

    with ThreadPoolExecutor(READ_THREADS) as pool:
        return [parts for parts, own in zip(asked, pool.map(look, asked), strict=True) if own]


def _place(location: Path, layout: Layout, source: Files | Archive) -> Place:
    if isinstance(source, Files):
        return Place(os.fspath(location.joinpath(*layout.inside)), None, layout.level)
    return Place(os.fspath(location), "".join(f"{one}/" for one in layout.inside), layout.level)


def _regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - a third of Path's cost
    except OSError:
        return False


def hash_records(
    source: Source,
    records: Sequence[Record],
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[list[HashedRecord], list[Rejected]]:
    """Compute the SHA-256 of every record that can be read; return the others with reasons.

    ``progress`` is called with the number of records just done.
    """
    outcomes = read_records(
        source, records, lambda data: hashlib.sha256(data).hexdigest(), progress=progress
    )
    found = list(zip(records, outcomes, strict=True))
    hashed = [HashedRecord(record, one) for record, one in found if not isinstance(one, Rejected)]
    return hashed, [one for _, one in found if isinstance(one, Rejected)]


def read_records(
    source: Source,
    records: Iterable[Record],
    decode: Callable[[bytes], R],
    *,
    threads: int | None = READ_THREADS,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[R | Rejected]:
    """Read records in threads and yield, in order, each one's decoded bytes or why there are none.

    ``decode`` is called in a thread and may raise `ImageError`. ``threads`` None is the default of
    `ThreadPoolExecutor`. ``progress`` is called with the number of records just done.
    """

    def read(record: Record) -> R | Rejected:
        try:
            return decode(source.read(record))
        except ImageError as error:
            return Rejected(record.path, str(error))

    with ThreadPoolExecutor(threads) as pool:
        for block in blocks(records, _BLOCK):
            yield from pool.map(read, block)
            progress(len(block))


def blocks(items: Iterable[R], size: int) -> Iterator[list[R]]:
    """Yield the items in lists of ``size``; the last one may be shorter."""
    remaining = iter(items)
    while block := list(islice(remaining, size)):
        yield block
