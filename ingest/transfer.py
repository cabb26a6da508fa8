"""Copies a collection to another engine: points, payload indexes, where the data sets come from.

The collection that is made holds all state: to resume an interrupted copy, run it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geosim.ingest.guard import note_origin
from geosim.ingest.schema import CollectionInfo, Point
from geosim.ingest.store.base import VectorStore
from geosim.ingest.work import Work
from geosim.trainer.errors import ModelMismatchError, StoreError
from geosim.trainer.progress import progress_bar

_ANOTHER = "name another collection for the copy, or add --replace"


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Result of a copy, in points.

    Attributes:
        points: in both collections.
        copied: written; the others were there already.
        deleted: removed from the copy, as the source has none of them.
    """

    points: int
    copied: int
    deleted: int


def copy_collection(
    source: VectorStore, target: VectorStore, *, replace: bool = False
) -> CopyReport:
    """Make a collection equal to another one, with each vector bit for bit.

    Points that are there are not written again. ``replace`` also overwrites those that differ, and
    deletes those that ``source`` lacks. A collection of another model, or one that is damaged, is
    then built anew (`VectorStore.rebuilt`).

    Raises:
        ModelMismatchError: another model made the collection that is there, and ``replace`` is not
            set.
        StoreBusyError: another process writes to the collection that is there.
        StoreError: there is no source; the collection that is there holds other points, and
            ``replace`` is not set; or both differ at the end.
    """
    with source.reading():
        info = require_collection(source)
        if not replace or _is_of_model(info, target):
            if target.info() is None:
                target.create(info.model)
            with target.lease(Work()):
                return _make_equal(source, info, target, replace=replace)
        with target.lease(Work()), target.rebuilt(info.model) as new:
            if new.info() is None:
                new.create(info.model)
            return _make_equal(source, info, new, replace=replace)


def _is_of_model(info: CollectionInfo, target: VectorStore) -> bool:
    """Return whether a collection is sound and of the same model, or missing."""
    try:
        there = target.info()
    except StoreError:  # damaged; what has another reason fails again
        return False
    return there is None or there.model.fingerprint == info.model.fingerprint


def _make_equal(
    source: VectorStore, info: CollectionInfo, target: VectorStore, *, replace: bool
) -> CopyReport:
    deleted, there = 0, require_collection(target)
    if there.model.fingerprint != info.model.fingerprint:
        raise ModelMismatchError(
            f"collection {_place(target)} was made by the model {there.model}, but "
            f"{_place(source)} by {info.model}; {_ANOTHER}, which builds it anew"
        )
    if replace:
        deleted = _delete_others(source, target, there.points)
    else:
        _require_same(source, target, there.points)
    target.index_facts(source.fact_indexes())
    points = copied = 0
    for batch in _pairs(source, target, "copying", info.points):
        missing = [point for point, other in batch if not _same(point, other)]
        if missing:
            vectors = [point.vector for point in missing if point.vector is not None]
            target.upsert([point.payload for point in missing], np.stack(vectors))
        points += len(batch)
        copied += len(missing)
    for dataset, origin in source.origins().items():
        note_origin(dataset, origin, target)
    found = different = 0
    for batch in _pairs(target, source, "verifying", points):
        found += len(batch)
        different += sum(not _same(point, other) for point, other in batch)
    if found != points or different:
        raise StoreError(
            f"the copy {_place(target)} holds {found:,} points, expected {points:,}, and "
            f"{different:,} differ from those of {_place(source)}; does another command change "
            "one of them? Run this one again with --replace"
        )
    return CopyReport(points, copied, deleted)


def require_collection(store: VectorStore) -> CollectionInfo:
    """Describe a collection; raise `StoreError` if there is none."""
    if (info := store.info()) is None:
        raise StoreError(
            f"there is no collection {_place(store)}; see what is there with `geosim status`"
        )
    return info


def _require_same(source: VectorStore, target: VectorStore, count: int) -> None:
    """Raise `StoreError` if the target has anything that the source lacks or has otherwise."""
    others = [
        point.payload.path
        for batch in _pairs(target, source, "comparing", count)
        for point, other in batch
        if not _same(point, other)
    ]
    if others:
        raise StoreError(
            f"collection {_place(target)} holds {len(others):,} points that {_place(source)} lacks "
            f"or has otherwise, such as {others[0]}; {_ANOTHER}, which overwrites and deletes them"
        )
    origins = source.origins()
    for dataset, origin in target.origins().items():
        if dataset not in origins or origins[dataset] != origin:
            raise StoreError(
                f"collection {_place(target)} holds data set {dataset!r} of {origin}, which "
                f"{_place(source)} lacks or has from elsewhere; {_ANOTHER}"
            )


def _delete_others(source: VectorStore, target: VectorStore, count: int) -> int:
    """Delete what the target has and the source lacks; return the number of points."""
    others = [
        point.payload.id
        for batch in _pairs(target, source, "comparing", count)
        for point, other in batch
        if other is None
    ]
    target.delete(others)
    for dataset in target.origins().keys() - source.origins().keys():
        target.set_origin(dataset, None)
    return len(others)


def _pairs(
    store: VectorStore, other: VectorStore, what: str, count: int
) -> Iterator[list[tuple[Point, Point | None]]]:
    """Yield all points of a store, each with that of the other store which has the same id."""
    with progress_bar(what, count, unit="point") as bar:
        for batch in store.scan(vectors=True):
            ids = [point.payload.id for point in batch]
            found = {point.payload.id: point for point in other.fetch(ids)}
            yield [(point, found.get(id_)) for point, id_ in zip(batch, ids, strict=True)]
            bar.update(len(batch))


def _same(point: Point, other: Point | None) -> bool:
    """Return whether both points have the same payload, and the same bits in the vector."""
    if other is None or point.vector is None or other.vector is None:
        return False
    return point.payload == other.payload and point.vector.tobytes() == other.vector.tobytes()


def _place(store: VectorStore) -> str:
    return f"{store.name!r} at {store.location}"
