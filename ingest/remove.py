"""Removes one data set from a collection; its images stay on disk."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from geosim.ingest.schema import Filter
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.places import unregister_place
from geosim.trainer.errors import StoreError


def count_images(store: VectorStore, name: str) -> int:
    """Return the number of images of a data set in a collection.

    Raises:
        StoreError: there is no collection, or no such data set in it.
    """
    if store.info() is None:
        raise StoreError(
            f"there is no collection {store.name!r} at {store.location}; see `geosim status`"
        )
    stored = store.values("dataset")
    if name not in stored and name not in store.origins():
        known = ", ".join(stored) or "none"
        raise StoreError(f"no data set {name!r} in collection {store.name!r}; expected: {known}")
    return stored.get(name, 0)


def remove(store: VectorStore, name: str, catalog: Path) -> None:
    """Delete the points of a data set, then what is noted of it; can be run again.

    Raises:
        StoreError: there is no collection, or no such data set in it.
    """
    count_images(store, name)
    scan = chain.from_iterable(store.scan(Filter(dataset=name), vectors=False))
    store.delete([point.payload.id for point in scan])
    store.set_origin(name, None)
    unregister_place(catalog, name)
