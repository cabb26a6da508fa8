"""Data sets: a folder of class folders or pictures, or a .zip of one, as sorted records.

Owns which files belong to a data set.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from geosim.trainer.data.drawings import drawn_images
from geosim.trainer.data.facts import Facts
from geosim.trainer.data.hashes import HashCache
from geosim.trainer.data.layout import (
    Decide,
    Layout,
    Parts,
    decide_anew,
    file_name,
    stored_parts,
)
from geosim.trainer.data.names import SAME_NAME, Found, merged_classes, unify
from geosim.trainer.data.passed_over import PassedOver, count_passed_over, is_image, own_folder
from geosim.trainer.data.places import FOLDER, Place
from geosim.trainer.data.reasons import FORMAT_NAMES
from geosim.trainer.data.sources import Archive, Files, Record, Source
from geosim.trainer.data.walk import counts, output_folders, walk
from geosim.trainer.decoding.encoded import Encoded, sha256_of
from geosim.trainer.errors import DatasetError, ImageError
from geosim.trainer.progress import progress_bar
from geosim.trainer.text import on_disk

READ_THREADS = 4
"""Threads that read files."""

_BLOCK = 256  # records read ahead at once

_LOOKED_UP = 2048  # records whose hashes are looked up at once

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

    name: str  # stored name, the first part of every stored path
    location: Path  # absolute path of the folder or archive
    records: tuple[Record, ...]  # sorted by stored path
    rejected: tuple[Rejected, ...]  # images left out
    source: Source  # reads the records' bytes
    place: Place  # of its root, and the level of its class folders
    passed_over: tuple[PassedOver, ...] = ()  # other files, by class and ending
    notes: tuple[str, ...] = ()  # what to tell about names and facts, a line each
    facts: Facts | None = None  # None if none were asked for
    sampled_from: int = 0  # pictures that this is a sample of (`trainer/data/subset.py`); 0 if none

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted; none of pictures without a class."""
        return tuple(sorted({record.label for record in self.records} - {""}))

    @property
    def unlabelled(self) -> int:
        """Number of pictures without a class."""
        return sum(not record.label for record in self.records)


def open_dataset(
    location: Path,
    exclude: Sequence[str] = (),
    decide: Decide = decide_anew,
    *,
    hashes: Path | None = None,
) -> Dataset:
    """List the images of ``location``, a folder or a .zip archive of one.

    ``decide`` finds the data set's name and the folders that are its classes
    (`trainer/data/layout.py`). Hidden files, `SYSTEM_FOLDERS` and what the patterns of ``exclude``
    match are ignored (`counts`). Other files without an image's ending, folders that geosim wrote
    and pictures that it drew are counted in ``passed_over``. What was read before, as the hashes in
    the folder ``hashes`` tell, is not looked into.

    Raises:
        DatasetError: the data set is missing, unreadable, unsafe or has no image.
    """
    location = on_disk(Path(os.path.abspath(location)))  # noqa: PTH100 - keeps links as named
    if location.is_dir():
        own: list[Parts] = []
        found = [
            Found(stored_parts(parts), parts, os.path.join(location, *parts))  # noqa: PTH118
            for parts in walk(location, exclude, report=own.append)
        ]
        return _assemble(location, found, Files(), map(stored_parts, own), decide, hashes)
    if location.is_file():
        archive = Archive(location)
        every = list(archive.found())
        output = output_folders([one.parts for one in every])
        entries = [
            one
            for one in every
            if counts(one.parts, exclude)
            and not any(one.parts[: len(folder)] == folder for folder in output)
        ]
        own = sorted(output)
        return _assemble(location, entries, archive, own, decide, hashes, archive.notes)
    raise DatasetError(
        f"{location} does not exist; expected a folder of class folders or of pictures, or a .zip "
        "of one. Without data at hand, try `geosim demo`"
    )


def _assemble(
    location: Path,
    found: Iterable[Found],
    source: Files | Archive,
    own: Iterable[Parts],
    decide: Decide,
    hashes: Path | None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Find the layout from all paths and sort the images into records and rejects."""
    files, same = unify(found)
    pictures, others = list[Found](), list[Found]()
    for one in files:
        (pictures if is_image(one.parts) else others).append(one)
    del files
    new = _unknown(pictures, source, None if hashes is None else HashCache(hashes, location))
    sheets = drawn_images(new, source)
    images = [one for one in pictures if one.where not in sheets] if sheets else pictures
    layout = decide(location, [one.parts for one in images])
    name, depth = layout.name, layout.depth
    drawn_parts = (one.parts for one in pictures if one.where in sheets)
    passed_over = (
        *map(own_folder, own),
        *count_passed_over(drawn_parts, depth, name, own=True),
        *count_passed_over((one.parts for one in others), depth, name),
    )
    if layout.class_from == FOLDER:
        notes = (*notes, *merged_classes(images, depth))
    rejected = [Rejected(layout.path(one.parts), SAME_NAME) for one in same if is_image(one.parts)]
    records, folder = [], file_name(location)
    for one in images:
        path = layout.path(one.parts)
        if not layout.covers(one.parts):
            root = "/".join(layout.inside)
            rejected.append(Rejected(path, f"outside of {root}, the folder of data set {name}"))
        elif one.where in new and isinstance(source, Files) and not _regular(one.where):
            rejected.append(Rejected(path, "not a regular file"))
        else:
            former = "/".join((folder, *one.former)[len(layout.inside) :])
            former = path if former == path else former  # held once
            records.append(Record(path, layout.label(one.parts), one.where, former))
    if not records:
        reasons = [f"{len(rejected)} rejected: {rejected[0].reason}"] if rejected else []
        reasons += [str(one) for one in passed_over if one.picture or one.own][:1]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise DatasetError(
            f"{location} holds no images{why}; expected {name}/<class>/<image>, or "
            f"{name}/<image> without a class, where an image is a {FORMAT_NAMES} file"
        )
    records.sort(key=lambda record: record.path)
    rejected.sort(key=lambda reject: reject.path)
    place = _place(location, layout, source)
    return Dataset(
        name, location, tuple(records), tuple(rejected), source, place, passed_over, notes
    )


def _unknown(
    pictures: Sequence[Found], source: Files | Archive, cache: HashCache | None
) -> set[str]:
    """Return the files that are not known to be as they were when they were hashed."""
    if cache is None:
        return {one.where for one in pictures}
    known = cache.known(source, (one.where for one in pictures))
    cache.close()
    return {pictures[row].where for row in np.flatnonzero(~known).tolist()}


def _place(location: Path, layout: Layout, source: Files | Archive) -> Place:
    if isinstance(source, Files):
        root = on_disk(location.joinpath(*layout.inside))
        return Place(os.fspath(root), None, layout.level, layout.class_from)
    inside = "".join(f"{one}/" for one in layout.inside)
    return Place(os.fspath(location), inside, layout.level, layout.class_from)


def _regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - a third of Path's cost
    except OSError:
        return False


def hash_records(
    source: Source,
    records: Sequence[Record],
    *,
    cache: HashCache | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[list[HashedRecord], list[Rejected]]:
    """Return the SHA-256 of every record that can be read, and the others with reasons.

    Records that ``cache`` knows to be unchanged are not read. ``progress`` is called with the
    number of records just done.
    """
    hashed: list[HashedRecord] = []
    rejected: list[Rejected] = []

    def compute(missing: Sequence[Record]) -> Iterator[str | None]:
        for outcome in read_records(source, missing, sha256_of, progress=progress):
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
            yield None if isinstance(outcome, Rejected) else outcome

    for block in blocks(records, _LOOKED_UP):
        hashes: Iterable[str | None] = compute(block)
        if cache is not None:
            hashes = cache.hashes(source, block, compute, progress)
        found = zip(block, hashes, strict=True)
        hashed += [HashedRecord(record, one) for record, one in found if one is not None]
    return hashed, rejected


def hash_dataset(
    dataset: Dataset, folder: Path, *, rehash: bool = False, partial: bool = False
) -> tuple[list[HashedRecord], list[Rejected]]:
    """Hash a data set's records with progress and the cache in ``folder``; see `hash_records`.

    ``rehash`` reads the records that seem unchanged as well. ``partial`` tells that there are more
    records at the data set's location, whose hashes are kept.
    """
    source, records = dataset.source, dataset.records
    with (
        HashCache(folder, dataset.location, rehash=rehash, partial=partial) as cache,
        progress_bar("reading", len(records)) as bar,
    ):
        return hash_records(source, records, cache=cache, progress=bar.update)


def read_records(
    source: Source,
    records: Iterable[Record],
    decode: Callable[[Encoded], R],
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
