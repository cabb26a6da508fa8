"""Read a whole collection into arrays, for the map and the export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.conditions import Condition
from geosim.ingest.schema import Filter, point_id
from geosim.ingest.store.base import VectorStore
from geosim.ingest.tiling import is_tiled
from geosim.search.consistent import consistently
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.progress import progress_bar

TILE_MARK = "#xywh="
"""What the name of a tile has between the path and the box; see `point_name`."""

LEAST_NORM = 1e-6
"""Norm of a sum of unit vectors below which its direction is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """All images of a collection, sorted by path, or all tiles, sorted by their names.

    Images that are stored in tiles have the mean of their tiles' vectors (`whole_images`).
    """

    paths: list[str]  # stored paths; of tiles the names of the points (`point_name`)
    labels: list[str]  # equal labels share one string object
    hashes: list[str]  # hex SHA-256 of the files; none if they were not read
    vectors: NDArray[np.float32]  # (n, 32), L2 norm 1; (0, 32) if they were not read
    facts: tuple[Mapping[str, Any], ...] = ()  # facts of some images, together with all names
    tiled: bool = False  # whether these are the images of a collection of tiles

    @property
    def ids(self) -> list[str]:
        """Point ids, derived from the paths."""
        return [point_id(path) for path in self.paths]


def read_collection(
    store: VectorStore,
    *,
    vectors: bool = True,
    hashes: bool = True,
    where: Condition | None = None,
) -> Collection:
    """Read the points of a store for which ``where`` holds.

    Their vectors are read if ``vectors``, and the hashes of their files, which take as much memory,
    if ``hashes``.

    If the collection changes meanwhile, the result is what the scan yielded, or that of the
    collection that replaced it. Two copies of the vectors are held while they are sorted.

    Raises:
        StoreError: there is no such collection.
    """
    return consistently(store, lambda _: _read(store, vectors, hashes, where))


def _read(
    store: VectorStore, vectors: bool, with_hashes: bool, where: Condition | None
) -> Collection:
    paths: list[str] = []
    labels: list[str] = []
    hashes: list[str] = []
    interned: dict[str, str] = {}
    facts: list[Mapping[str, Any]] = []
    names: set[str] = set()
    only = Filter(where=where)
    count = store.count(only)
    read = np.empty((count if vectors else 0, EMBEDDING_DIM), dtype=np.float32)
    with progress_bar("loading", count) as bar:
        for batch in store.scan(only, vectors=vectors):
            done, stop = len(paths), len(paths) + len(batch)
            payloads = [point.payload for point in batch]
            paths += [payload.name for payload in payloads]
            labels += [interned.setdefault(p.label, p.label) for p in payloads]
            if with_hashes:
                hashes += [payload.sha256 for payload in payloads]
            for payload in payloads:
                if not names >= payload.facts.keys():
                    names |= payload.facts.keys()
                    facts.append(payload.facts)
            if vectors:
                if stop > len(read):
                    read = np.concatenate([read, np.empty((stop, EMBEDDING_DIM), np.float32)])
                read[done:stop] = np.stack([p.vector for p in batch if p.vector is not None])
            bar.update(len(batch))
    order = sorted(range(len(paths)), key=paths.__getitem__)
    return Collection(
        [paths[row] for row in order],
        [labels[row] for row in order],
        [hashes[row] for row in order] if with_hashes else hashes,
        read[order] if vectors else read,
        tuple(facts),
    )


def read_filled(
    store: VectorStore, purpose: str, where: Condition | None = None, *, tiles: bool = False
) -> Collection:
    """Read the points of a store with their vectors.

    ``purpose`` is what they are read for, as a verb; ``tiles`` whether each tile stands for itself,
    and not for a part of its image; no hashes are read then. Only those are read for which
    ``where`` holds.

    Raises:
        StoreError: there are none.
    """
    exists = store.model() is not None
    collection = read_collection(store, hashes=not tiles, where=where) if exists else None
    if collection is None or not collection.paths:
        raise StoreError(
            f"collection {store.name!r} at {store.location} holds nothing to {purpose}; fill it "
            "with `geosim ingest DATA`"
        )
    return collection if tiles or not is_tiled(store) else whole_images(collection)


def whole_images(collection: Collection) -> Collection:
    """Return the images of a collection of tiles, each with the mean of its tiles' vectors.

    An image whose tiles cancel each other out has the vector of its first one.
    """
    stored = [name.rpartition(TILE_MARK)[0] for name in collection.paths]
    order = sorted(range(len(stored)), key=lambda row: (stored[row], row))
    firsts = [
        place
        for place, row in enumerate(order)
        if not place or stored[row] != stored[order[place - 1]]
    ]
    tiles = collection.vectors[order]
    vectors = np.add.reduceat(tiles, firsts, axis=0, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.where(norms > LEAST_NORM, vectors / np.maximum(norms, LEAST_NORM), tiles[firsts])
    rows = [order[place] for place in firsts]
    return replace(
        collection,
        paths=[stored[row] for row in rows],
        labels=[collection.labels[row] for row in rows],
        hashes=[collection.hashes[row] for row in rows],
        vectors=vectors.astype(np.float32),
        tiled=True,
    )
