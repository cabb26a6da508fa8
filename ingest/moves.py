"""Finds the points of images whose files were moved, within a data set or from another one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from geosim.ingest.schema import Filter, Origin, Payload, Point
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.dataset import Dataset, HashedRecord, blocks
from geosim.trainer.data.places import Place
from geosim.trainer.errors import StoreError

REUSED_BATCH = 1024
"""Points fetched at once to take their vectors."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Points of another data set whose images are in the one at hand, and how many it has left."""

    dataset: str
    points: tuple[Payload, ...]
    left: int


def find_moved(
    dataset: Dataset,
    hashed: Collection[HashedRecord],
    origins: Mapping[str, Origin],
    store: VectorStore,
    *,
    replace: bool,
) -> list[Moved]:
    """Return what was moved to ``dataset`` from data sets of this machine that are gone.

    With ``replace``, also what it shares with data sets above or below its folder.

    Raises:
        StoreError: it shares files with one of those, and ``replace`` is not set.
    """
    contents, files = {one.sha256 for one in hashed}, {one.record.source for one in hashed}
    found = []
    for name, origin in origins.items():
        if name == dataset.name or not origin.local:
            continue
        place, gone = origin.place, origin.place.gone
        if not gone and not _nested(place, dataset.place):
            continue
        scan = store.scan(Filter(dataset=name), vectors=False)
        points = [point.payload for point in chain.from_iterable(scan)]
        same = [one for one in points if one.sha256 in contents]
        if not gone:
            same = [one for one in same if _file(place, one.path) in files]
        if same and not gone and not replace:
            raise StoreError(
                f"{len(same):,} images of {dataset.place} are in data set {name!r} of {place} "
                f"already; ingest that one, or add --replace to move them to {dataset.name!r}"
            )
        if same or (gone and not points):  # a killed move left its origin
            found.append(Moved(name, tuple(same), len(points) - len(same)))
    return found


def stored_vectors(
    items: Collection[HashedRecord], points: Collection[Payload], store: VectorStore
) -> Iterator[list[tuple[HashedRecord, Point]]]:
    """Yield the images of ``items`` that are among ``points``, with the point of equal content."""
    ids = {point.sha256: point.id for point in points}
    known = [item for item in items if item.sha256 in ids]
    for block in blocks(known, REUSED_BATCH):
        fetched = store.fetch(sorted({ids[item.sha256] for item in block}))
        found = {point.payload.sha256: point for point in fetched}  # one may be replaced by now
        yield [(item, found[item.sha256]) for item in block if item.sha256 in found]


def _nested(one: Place, other: Place) -> bool:
    """Return whether one of two folders is in the other."""
    if one.inside is not None or other.inside is not None:
        return False
    first, second = Path(one.path), Path(other.path)
    return first.is_relative_to(second) or second.is_relative_to(first)


def _file(place: Place, path: str) -> str:
    return str(Path(place.path, path.partition("/")[2]))
