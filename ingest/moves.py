"""Finds the points of images whose files were moved, within a data set or from another one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geosim.ingest.changes import facts_of
from geosim.ingest.known import points_of
from geosim.ingest.schema import Origin, Payload, Point
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.dataset import Dataset, HashedRecord, blocks
from geosim.trainer.data.places import Place, real_path
from geosim.trainer.errors import StoreError
from geosim.trainer.text import on_disk

REUSED_BATCH = 1024
"""Points fetched at once to take their vectors."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Points of another data set whose images are in the one at hand, and how many it has left."""

    dataset: str
    points: tuple[Payload, ...]
    left: int

    @property
    def images(self) -> int:
        """The number of images, of which each may have several tiles."""
        return len({point.path for point in self.points})


def find_moved(
    dataset: Dataset,
    hashed: Collection[HashedRecord],
    origins: Mapping[str, Origin],
    store: VectorStore,
    *,
    allowed: bool,
) -> list[Moved]:
    """Return what was moved to ``dataset`` from data sets of this machine that are gone.

    If ``allowed``, also what it shares with data sets above or below its folder.

    Raises:
        StoreError: it shares files with one of those, and that is not ``allowed``.
    """
    contents: set[str] = set()
    found = []
    for name, origin in origins.items():
        if name == dataset.name or not origin.local:
            continue
        place, gone = origin.place, origin.place.gone
        if not gone and not _nested(place, dataset.place):
            continue
        points, contents = points_of(store, name), contents or {one.sha256 for one in hashed}
        same = [one for one in points if one.sha256 in contents]
        if not gone:
            files = {_real(dataset.place, one.record.source) for one in hashed}
            same = [one for one in same if _real(place, _file(place, one.path)) in files]
        if same and not gone and not allowed:
            raise StoreError(
                f"{len({one.path for one in same}):,} images of {dataset.place} are in data set "
                f"{name!r} of {place} already; ingest that one, or add --replace to move them to "
                f"{dataset.name!r}"
            )
        if same or (gone and not points):  # a killed move left its origin
            left = {one.path for one in points} - {one.path for one in same}
            found.append(Moved(name, tuple(same), len(left)))
    return found


def stored_vectors(
    items: Collection[HashedRecord], points: Collection[Payload], store: VectorStore
) -> Iterator[list[tuple[HashedRecord, Point]]]:
    """Yield the images of ``items`` that are among ``points``, with the point of equal content."""
    wanted = {item.sha256 for item in items}
    ids = {point.sha256: point.id for point in points if point.sha256 in wanted}
    known = [item for item in items if item.sha256 in ids]
    for block in blocks(known, REUSED_BATCH):
        fetched = store.fetch(sorted({ids[item.sha256] for item in block}))
        found = {point.payload.sha256: point for point in fetched}  # one may be replaced by now
        yield [(item, found[item.sha256]) for item in block if item.sha256 in found]


def reuse_vectors(
    known: Sequence[tuple[HashedRecord, Point]],
    store: VectorStore,
    dataset: Dataset,
    image_url: Callable[[str], str],
) -> list[str]:
    """Upsert images with the vectors of stored ones; return their stored paths.

    Where the data set has no facts, a new one has those of the image of the same content.
    """
    payloads, vectors = [], []
    facts = facts_of([item.record.path for item, _ in known], dataset, store)
    for item, point in known:
        path, label, url = item.record.path, item.record.label, image_url(item.record.path)
        payload = replace(point.payload, path=path, label=label, image_url=url)
        own = facts.get(path, point.payload.facts)
        payloads.append(replace(payload, dataset=dataset.name, facts=own))
        vectors.append(point.vector)
    if payloads:
        store.upsert(payloads, np.array(vectors, dtype=np.float32))
    return [payload.path for payload in payloads]


def _nested(one: Place, other: Place) -> bool:
    """Return whether one of two folders is in the other, or both are in one archive."""
    if one.inside is not None or other.inside is not None:
        return one.path == other.path
    first, second = real_path(Path(one.path)), real_path(Path(other.path))
    return first.is_relative_to(second) or second.is_relative_to(first)


def _real(place: Place, source: str) -> str:
    """Return what a file of a place is in any spelling of its folder."""
    return source if place.inside is not None else str(real_path(Path(source)))


def _file(place: Place, path: str) -> str:
    """Return the file of a stored path, as `Record.source`."""
    relative = path.partition("/")[2]
    if place.inside is not None:
        return f"{place.inside}{relative}"
    return str(on_disk(Path(place.path, relative)))
