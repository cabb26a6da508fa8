"""Removes one data set from a collection; its images stay on disk."""

from __future__ import annotations

from pathlib import Path

from geosim.ingest.known import points_of
from geosim.ingest.schema import Payload
from geosim.ingest.store.base import VectorStore
from geosim.ingest.work import Work
from geosim.trainer.data.places import unregister_place
from geosim.trainer.errors import StoreError
from geosim.trainer.text import stored_name


def find_points(store: VectorStore, name: str) -> list[Payload]:
    """Return the payloads of a data set's points in a collection.

    Raises:
        StoreError: there is no collection, or no such data set in it.
    """
    if store.info() is None:
        raise StoreError(
            f"there is no collection {store.name!r} at {store.location}; see `geosim status`"
        )
    found = points_of(store, stored_name(name))
    if not found and stored_name(name) not in store.origins():
        known = ", ".join(store.values("dataset")) or "none"
        raise StoreError(f"no data set {name!r} in collection {store.name!r}; expected: {known}")
    return found


def remove(store: VectorStore, name: str, catalog: Path) -> None:
    """Delete the points of a data set, then what is noted of it; can be run again.

    Raises:
        StoreError: there is no collection, or no such data set in it, or another process ingests
            it.
    """
    find_points(store, name)
    with store.lease(Work(stored_name(name))):
        store.delete([point.id for point in find_points(store, name)])
        store.drop_unused_indexes(())
        store.set_origin(stored_name(name), None)
    unregister_place(catalog, stored_name(name))
