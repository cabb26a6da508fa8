"""Refuses an ingest that would cost a data set its points by mistake.

A data set has one origin: a machine, and a folder or archive there. From its origin, or from where
it was moved to, a run may delete or replace up to half of its points, and any `FEW`. From another
place of the same name it may delete or replace none: all that is stored must be there, too.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace as replace_fields
from pathlib import Path

from geosim.ingest.known import known_origins
from geosim.ingest.plan import Plan
from geosim.ingest.schema import Origin
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.errors import StoreDeniedError, StoreError

FEW = 2
"""Images of a data set that may be edited or deleted whatever share of it they are."""


def origin_after(
    dataset: Dataset, plan: Plan, origin: Origin | None, store: VectorStore, *, replace: bool
) -> Origin:
    """Return the origin of a data set after its ingest; ``origin`` is the one before.

    ``replace`` allows that images are deleted and replaced.

    Raises:
        StoreError: too many would be, or some of another place.
    """
    here = Origin.here(dataset.place)
    stored, lost = len(plan.stored), len(plan.lost)
    local = origin is not None and origin.local
    same = origin is not None and local and origin.place.same_as(here.place)
    moved = origin is not None and local and origin.place.gone and 2 * lost < stored
    if replace or not stored:
        allowed = stored
    elif same or moved:
        allowed = max(stored // 2, FEW)
    else:
        allowed = stored // 2 if origin is None else 0
    if lost <= allowed:
        keep = same or not (moved or replace or not stored)
        if origin is None or not keep:
            return here
        return replace_fields(
            origin, place=replace_fields(origin.place, class_from=here.place.class_from)
        )
    whose = "" if origin is None else f" of {origin}"
    remedy = (
        f"check {here}, and add --replace if that is wanted"
        if same
        else f"if those of {here} are other ones, rename one of the two folders, name another "
        "--collection, or add --replace"
    )
    raise StoreError(
        f"collection {store.name!r} holds data set {dataset.name!r}{whose}: {lost:,} of its "
        f"{stored:,} images would be deleted or replaced; {remedy}"
    )


def dropped_with(store: VectorStore, name: str, catalog: Path, *, replace: bool) -> dict[str, int]:
    """Return the images of each data set but ``name`` that are lost with the collection.

    Raises:
        StoreError: it holds data sets of other machines, and ``replace`` is not set.
    """
    others: dict[str, int] = {}
    origins: dict[str, Origin] = {}
    with suppress(StoreError):  # one that cannot be used, or not reached: that fails again
        if store.info() is not None:
            others = store.values("dataset")
            origins = known_origins(store, catalog)
    others.pop(name, None)
    if others and not replace:
        _refuse_to_drop(origins, name, store)
    return others


def note_origin(name: str, origin: Origin, store: VectorStore) -> None:
    """Note where a data set comes from, if the server lets this key change a collection."""
    if store.origins().get(name) == origin:
        return
    try:
        store.set_origin(name, origin)
    except StoreDeniedError as error:
        logging.getLogger(__name__).warning(
            "the collection does not keep where %s comes from: %s", name, error
        )


def _refuse_to_drop(origins: dict[str, Origin], name: str, store: VectorStore) -> None:
    """Raise `StoreError` if a collection to drop holds data sets of other machines."""
    others = {one: origin for one, origin in origins.items() if one != name and not origin.local}
    if others:
        listed = ", ".join(f"{one} of {origin}" for one, origin in others.items())
        raise StoreError(
            f"--recreate would drop the data sets of other machines from collection "
            f"{store.name!r}: {listed}; name another --collection, or add --replace"
        )
