"""Recognises the data sets of a collection, so that they keep their names, paths and classes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from geosim.ingest.schema import Filter, Origin, Payload
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.layout import Decide, Layout, Parts, decide_anew, decide_by, known_layout
from geosim.trainer.data.places import Place, read_places
from geosim.trainer.text import stored_name, stored_path


def known_origins(store: VectorStore, catalog: Path) -> dict[str, Origin]:
    """Return where the data sets of a collection come from, by name.

    Earlier versions noted it in the catalog of a working folder only.
    """
    stored = {stored_name(name) for name in store.values("dataset")}
    noted = {name: Origin.here(place) for name, place in read_places(catalog).items()}
    return {name: one for name, one in noted.items() if name in stored} | store.origins()


def points_of(store: VectorStore, name: str) -> list[Payload]:
    """Return the payloads of a data set's points, in whatever spelling its name is stored."""
    spelled = [one for one in store.values("dataset") if stored_name(one) == name]
    scans = (store.scan(Filter(dataset=one), vectors=False) for one in spelled)
    return [point.payload for scan in scans for batch in scan for point in batch]


def decide_for(store: VectorStore, catalog: Path) -> Decide:
    """Return a function that finds the layout of data as the collection has it.

    A data set is recognised by where it is, otherwise by its name. One of an earlier version is
    named like the folder that holds the class folders, which may be below DATA; it is recognised
    by its paths.
    """
    places = read_places(catalog)
    if store.info() is None:
        return decide_by(places)
    origins = known_origins(store, catalog)
    stored = {stored_name(name) for name in store.values("dataset")}
    local = {name: one.place for name, one in origins.items() if one.local}

    def keep(layout: Layout) -> Layout:
        """Return a layout with the level and the rule of a stored data set's classes."""
        name = layout.name
        place = origins[name].place if name in origins else Place("")  # as in earlier versions
        # A training may have been told another rule since.
        rule = places.get(name, place) if name in local or name not in origins else place
        return replace(layout, level=place.level, class_from=rule.class_from)

    def decide(location: Path, images: Collection[Parts]) -> Layout:
        fresh = decide_anew(location, images)
        known = known_layout(location, images, fresh, places | local)
        if known is not None:
            return keep(known) if known.name in stored else known
        if fresh.name in stored:
            return keep(fresh)
        inner = _inner(fresh, images)
        if inner is not None and inner.name in stored and _holds(store, inner, images):
            return keep(inner)
        return decide_by(places)(location, images)

    return decide


def _inner(fresh: Layout, images: Collection[Parts]) -> Layout | None:
    """Return the layout with the folder that holds the class folders as root, if it is one."""
    above = {parts[: fresh.depth] for parts in images if fresh.label(parts)}
    if len(above) != 1 or above == {()}:
        return None
    (inside,) = above
    return Layout(inside[-1], inside)


def _holds(store: VectorStore, layout: Layout, images: Collection[Parts]) -> bool:
    """Return whether most stored paths of a data set are those of the images."""
    paths = {layout.path(parts) for parts in images}
    found = [stored_path(point.path) in paths for point in points_of(store, layout.name)]
    return 2 * sum(found) > len(found)
