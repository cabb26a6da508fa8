"""Makes a collection equal to a data set: plan, embed, upsert, delete, check.

The collection and the feature cache hold all state: to resume an interrupted run, run it again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import Any

from geosim.ingest.check import Checked, check
from geosim.ingest.finish import require_stored
from geosim.ingest.guard import dropped_with, note_origin
from geosim.ingest.models import kept_for, require_same_model
from geosim.ingest.plan import Plan, delete_former_spellings, image_url_prefix
from geosim.ingest.schema import INDEX_KINDS, Filter, ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.ingest.tile_writing import write_tiles
from geosim.ingest.work import Part, Work
from geosim.ingest.writing import Written, write_images
from geosim.trainer.data.dataset import Dataset, Rejected
from geosim.trainer.data.places import register_place, unregister_place
from geosim.trainer.data.tiles import TileSize
from geosim.trainer.decoding.account import count_scaled
from geosim.trainer.errors import (
    StoreBusyError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from geosim.trainer.model import Model
from geosim.trainer.working import Working


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Result of an ingest, in images.

    Attributes:
        changed: stored again: other content, another image URL, or decoded otherwise since.
        updated: of the unchanged content, those with another class or other facts; nothing of them
            was embedded. ``relabelled`` are those of them with another class.
        deleted: removed, because their files are gone.
        computed: embedded by the backbone, not read from the feature cache.
        rejected: left out, with reasons; points stored earlier under these paths stay.
        scaled: of those added or changed, the ones scaled to 8 bits, by what their samples were.
        points: in the whole collection, all data sets.
        moved: number of images that came from each data set that they were moved from.
        left: number of images that are left in each of those.
        dropped: number of images of each other data set that ``recreate`` dropped.
    """

    dataset: str
    added: int
    changed: int
    updated: int
    relabelled: int
    deleted: int
    unchanged: int
    computed: int
    rejected: tuple[Rejected, ...]
    scaled: Mapping[str, int]
    points: int
    seconds: float
    moved: dict[str, int]
    left: dict[str, int]
    dropped: dict[str, int]

    @property
    def images_per_second(self) -> float:
        """Images of the data set per second of wall time."""
        images = self.added + self.changed + self.updated + self.unchanged + len(self.rejected)
        return images / self.seconds if self.seconds else 0.0


def sync(
    dataset: Dataset,
    model: Model,
    store: VectorStore,
    working: Working,
    *,
    recreate: bool = False,
    replace: bool = False,
    image_url: str | None = None,
    rehash: bool = False,
    tiles: TileSize | None = None,
    part: Part | None = None,
    finish: bool = False,
) -> SyncReport:
    """Make the points of ``dataset`` in a collection equal to it.

    Points of other data sets are not touched, except those of images that were moved here. New
    images are added before old ones are deleted. ``recreate`` puts a new collection in the place of
    this one, with all its data sets (`VectorStore.rebuilt`). ``replace`` allows what `check`
    refuses. ``image_url`` is the base URL of `geosim serve` for the points' image URLs; None keeps
    those that are stored. ``rehash`` reads the files that seem unchanged as well. ``tiles`` stores
    an embedding of each tile of that size in place of one of the whole image. ``part`` adds and
    changes the images of that part only, and deletes nothing; ``finish`` does what remains after
    all parts, and embeds nothing.

    Raises:
        ModelMismatchError: another model made the collection.
        ModelError: another training replaced ``model`` meanwhile.
        StoreError: ``image_url`` is not a base URL, the run would cost a data set points by
            mistake, the store failed, or it has a wrong number of points at the end; or ``finish``
            finds images that are not stored.
        StoreBusyError: another process ingests the same.
    """
    started = time.perf_counter()
    url_prefix = None if image_url is None else image_url_prefix(image_url)
    made_by = ModelRef(model.fingerprint, model.spec.name)
    options: dict[str, Any] = {"replace": replace, "rehash": rehash, "url_prefix": url_prefix}
    options |= {"tiles": tiles, "part": part, "finish": finish}
    if [recreate, part is not None, finish].count(True) > 1:
        raise StoreError(
            "--recreate, --part and --finish are of different runs; give one of them. For another "
            "collection in parts, name it with --collection"
        )
    if part is not None:
        dataset = _only(dataset, part)
    with kept_for(store, model, working):
        if not (recreate and _exists(store)):
            _open(store, made_by, model, create=not finish)
            with store.lease(Work(dataset.name, part)):
                report = _make_equal(dataset, model, made_by, store, working, options)
        else:
            with store.lease(Work()):
                lost = dropped_with(store, dataset.name, working.datasets, replace=replace)
                with store.rebuilt(made_by) as new:
                    report = _make_equal(dataset, model, made_by, new, working, options)
            report = replace_fields(report, dropped=lost)
    return replace_fields(report, seconds=time.perf_counter() - started)


def _exists(store: VectorStore) -> bool:
    """Return whether there is a collection, be it one that cannot be used."""
    try:
        return store.info() is not None
    except (StoreBusyError, StoreDeniedError, StoreUnreachableError):
        raise
    except StoreError:
        return True


def _only(dataset: Dataset, part: Part) -> Dataset:
    """Return the part of a data set."""
    records = tuple(one for one in dataset.records if part.has(one.path))
    rejected = tuple(one for one in dataset.rejected if part.has(one.path))
    return replace_fields(dataset, records=records, rejected=rejected)


def _open(store: VectorStore, made_by: ModelRef, model: Model, *, create: bool = True) -> None:
    """Create the collection if there is none; raise `ModelMismatchError` if it is of another."""
    info = store.info()
    if info is None:
        if not create:
            raise StoreError(
                f"there is no collection {store.name!r} at {store.location} to finish; ingest the "
                "parts first"
            )
        try:
            store.create(made_by)
        except StoreError:
            info = store.info()  # another process may have made it meanwhile
            if info is None:
                raise
    if info is not None:
        place = {"name": store.name, "location": store.location}
        require_same_model(info.model, made_by, model.folder, **place)


def _make_equal(
    dataset: Dataset,
    model: Model,
    made_by: ModelRef,
    store: VectorStore,
    working: Working,
    options: Mapping[str, Any],
) -> SyncReport:
    """Make the points of a data set equal to it."""
    _open(store, made_by, model)  # it may be another one since this process waited
    finish, part = options["finish"], options["part"]
    checked = check(
        dataset, store, working, **{key: one for key, one in options.items() if key != "finish"}
    )
    written = None
    if finish:
        noted = store.origins().get(dataset.name)
        left = require_stored(
            dataset, checked.plan, model, working.features, 0 if noted is None else noted.parts
        )
        written = Written(set(), 0, 0, left, [])
    with ExitStack() as stack:
        for one in checked.moved if part is None else []:
            stack.enter_context(store.lease(Work(one.dataset)))
        return _write(dataset, model, store, working, checked, part, written)


def _write(
    dataset: Dataset,
    model: Model,
    store: VectorStore,
    working: Working,
    checked: Checked,
    part: Part | None,
    written: Written | None,
) -> SyncReport:
    """Write what was ``checked``; images only if none are ``written`` before."""
    plan = checked.plan
    note_origin(dataset.name, checked.origin, store)
    register_place(working.datasets, dataset.name, dataset.place)

    if dataset.facts is not None:
        kinds = {name: INDEX_KINDS[kind] for name, kind in dataset.facts.types.items()}
        store.index_facts(kinds)
    if written is None:
        done = checked.moved, model, store, working.features
        written = (
            write_images(dataset, checked.hashed, plan, *done)
            if plan.tiling is None
            else write_tiles(dataset, plan, plan.tiling, *done)
        )
    for path in written.paths:
        plan.changes.discard(path)
    plan.changes.write(store, plan.ids)
    added = len(written.paths - plan.stored.keys())
    if part is None:
        _delete_gone(checked, store, working)
        if dataset.facts is not None:
            store.drop_unused_indexes(dataset.facts.types)
        if plan.tiling is None:
            expected = len(plan.stored) - len(plan.removed) + added
        else:
            kept = plan.stored.keys() - written.points.keys() - {*plan.removed}
            expected = sum(len(plan.boxes[path]) for path in kept) + sum(written.points.values())
        _check_count(dataset.name, plan, store, expected)
    moved = [] if part is not None else checked.moved
    rejected = [*dataset.rejected, *checked.unreadable, *written.rejected]
    return SyncReport(
        dataset=dataset.name,
        added=added,
        changed=len(written.paths) - added,
        updated=len(plan.changes),
        relabelled=len(plan.changes.relabelled),
        deleted=len(plan.removed),
        unchanged=len(checked.hashed)
        - len(plan.pending)
        - written.decoded_anew
        - len(plan.changes),
        computed=written.computed,
        rejected=tuple(sorted(rejected, key=lambda one: one.path)),
        scaled=count_scaled(written.decodings),
        points=store.count(),
        seconds=0.0,
        moved={one.dataset: one.images for one in moved if one.points},
        left={one.dataset: one.left for one in moved if one.left},
        dropped={},
    )


def _delete_gone(checked: Checked, store: VectorStore, working: Working) -> None:
    """Delete the points of images that are gone, or are stored under another path or name.

    What is noted of a data set that is empty then is forgotten.
    """
    plan = checked.plan
    store.delete([id_ for path in plan.removed for id_ in plan.ids(path)])
    if plan.respelled:
        delete_former_spellings(plan, store)
    for moved in checked.moved:
        store.delete([point.id for point in moved.points])
        if not moved.left:
            store.set_origin(moved.dataset, None)
            unregister_place(working.datasets, moved.dataset)


def _check_count(name: str, plan: Plan, store: VectorStore, expected: int) -> None:
    """Raise `StoreError` unless the collection has as many points of a data set as expected."""
    count = sum(store.count(Filter(dataset=one)) for one in plan.names)
    if count != expected:
        raise StoreError(
            f"collection {store.name!r} at {store.location} holds {count:,} points of "
            f"{name}, expected {expected:,}; does another ingest run? Run this one again"
        )
