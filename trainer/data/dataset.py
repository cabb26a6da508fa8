"""Data sets: a folder of class folders, or a .zip of one, as sorted records.

Owns which files belong to a data set, their classes and their stored paths.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from geosim.trainer.data.hashes import HashCache
from geosim.trainer.data.names import SAME_NAME, Found, merged_classes, unify
from geosim.trainer.data.passed_over import PassedOver, count_passed_over, is_image
from geosim.trainer.data.reasons import FORMAT_NAMES
from geosim.trainer.data.sources import Archive, Files, Record, Source
from geosim.trainer.data.walk import counts, walk
from geosim.trainer.errors import DatasetError, ImageError
from geosim.trainer.progress import progress_bar
from geosim.trainer.text import on_disk, stored_name

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
    """The images below one root folder."""

    name: str  # stored name of the root folder; the first part of every stored path
    location: Path  # absolute path of the folder or archive
    records: tuple[Record, ...]  # sorted by stored path
    rejected: tuple[Rejected, ...]  # images left out
    source: Source  # reads the records' bytes
    passed_over: tuple[PassedOver, ...] = ()  # other files, by class and ending
    notes: tuple[str, ...] = ()  # what to tell about names, a line each

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted({record.label for record in self.records}))


def open_dataset(location: Path, exclude: Sequence[str] = ()) -> Dataset:
    """List the images of ``location``, a folder or a .zip archive of one.

    The root is the folder that holds the class folders. It may lie below ``location``, or inside
    the archive, under folders that hold nothing else. Hidden files, `SYSTEM_FOLDERS`
    and what the patterns of ``exclude`` match are ignored (`counts`); other files without an
    image's ending are counted in ``passed_over``.

    Raises:
        DatasetError: the data set is missing, unreadable, unsafe or has no image in a class folder.
    """
    location = on_disk(Path(os.path.abspath(location)))  # noqa: PTH100 - keeps links as named
    if location.is_dir():
        found = [
            Found(tuple(map(stored_name, parts)), parts, os.fspath(location.joinpath(*parts)))
            for parts in walk(location, exclude)
        ]
        return _assemble(location, location.name, found, Files())
    if location.is_file():
        archive = Archive(location)
        entries = [one for one in archive.found() if counts(one.parts, exclude)]
        return _assemble(location, location.stem, entries, archive, archive.notes)
    raise DatasetError(
        f"{location} does not exist; expected a folder of class folders or a .zip of one. "
        "Without data at hand, try `geosim demo`"
    )


def _assemble(
    location: Path, name: str, found: Iterable[Found], source: Source, notes: Sequence[str] = ()
) -> Dataset:
    """Find the root among all paths and sort the images below it into records and rejects."""
    files, same = unify(found)
    images = [one for one in files if is_image(one.parts)]
    prefix = _root(one.parts for one in images)
    former = images[0].former[len(prefix) - 1] if prefix else name
    name = prefix[-1] if prefix else stored_name(name)
    others = (one.parts for one in files if not is_image(one.parts))
    passed_over = count_passed_over(others, prefix, name)
    notes = (*notes, *merged_classes(images, len(prefix)))
    rejected = [
        Rejected("/".join((name, *one.parts[len(prefix) :])), SAME_NAME)
        for one in same
        if is_image(one.parts)
    ]
    records = []
    for one in images:
        parts = one.parts[len(prefix) :]
        path = "/".join((name, *parts))
        if len(parts) < 2:
            rejected.append(Rejected(path, "not inside a class folder"))
        elif isinstance(source, Files) and not _regular(one.where):
            rejected.append(Rejected(path, "not a regular file"))
        else:
            before = "/".join((former, *one.former[len(prefix) :]))
            records.append(Record(path, parts[0], one.where, before))
    if not records:
        reasons = [f"{len(rejected)} rejected: {rejected[0].reason}"] if rejected else []
        reasons += [str(one) for one in passed_over if one.picture][:1]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise DatasetError(
            f"{location} holds no images in class folders{why}; "
            f"expected {name}/<class>/<image>, where an image is a {FORMAT_NAMES} file"
        )
    records.sort(key=lambda record: record.path)
    rejected.sort(key=lambda reject: reject.path)
    return Dataset(name, location, tuple(records), tuple(rejected), source, passed_over, notes)


def _root(images: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the path of the root: the folders that all images share, without the class."""
    paths = list(images)
    prefix: list[str] = []
    while paths and len({parts[0] for parts in paths}) == 1:
        below = [parts[1:] for parts in paths if len(parts) > 1]
        classes = {parts[0] for parts in below if len(parts) > 1}
        nested = all(len(parts) > 1 for parts in below)
        if len(below) < len(paths) or not classes or not (nested or len(classes) > 1):
            break
        prefix.append(paths[0][0])
        paths = below
    return tuple(prefix)


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
        for outcome in read_records(source, missing, _sha256, progress=progress):
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
            yield None if isinstance(outcome, Rejected) else outcome

    for block in blocks(records, _BLOCK):
        hashes: Iterable[str | None] = compute(block)
        if cache is not None:
            hashes = cache.hashes(source, block, compute, progress)
        found = zip(block, hashes, strict=True)
        hashed += [HashedRecord(record, one) for record, one in found if one is not None]
    return hashed, rejected


def hash_dataset(
    dataset: Dataset, folder: Path, *, rehash: bool = False
) -> tuple[list[HashedRecord], list[Rejected]]:
    """Hash a data set's records with progress and the cache in ``folder``; see `hash_records`.

    ``rehash`` reads the records that seem unchanged as well.
    """
    source, records = dataset.source, dataset.records
    with (
        HashCache(folder, dataset.location, rehash=rehash) as cache,
        progress_bar("reading", len(records)) as bar,
    ):
        return hash_records(source, records, cache=cache, progress=bar.update)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
