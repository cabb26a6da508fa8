"""Reads a data set and compares it with a collection; writes nothing there."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as replace_fields

from geosim.ingest.changes import check_indexes
from geosim.ingest.guard import origin_after
from geosim.ingest.known import known_origins
from geosim.ingest.moves import Moved, find_moved
from geosim.ingest.plan import Plan, make_plan
from geosim.ingest.schema import Origin
from geosim.ingest.store.base import VectorStore
from geosim.ingest.tiling import check_tiled
from geosim.ingest.work import Part
from geosim.trainer.data.dataset import Dataset, HashedRecord, Rejected, hash_dataset
from geosim.trainer.data.tiles import TileSize
from geosim.trainer.working import Working


@dataclass(frozen=True, slots=True)
class Checked:
    """A data set that was read and compared with a collection, and may be stored in it."""

    hashed: list[HashedRecord]
    unreadable: list[Rejected]
    plan: Plan
    moved: list[Moved]
    origin: Origin


def check(
    dataset: Dataset,
    store: VectorStore,
    working: Working,
    *,
    replace: bool = False,
    rehash: bool = False,
    url_prefix: str | None = None,
    tiles: TileSize | None = None,
    part: Part | None = None,
) -> Checked:
    """Read a data set and compare it with an existing collection; write nothing there.

    ``dataset`` is a ``part`` of one, or a whole one.

    Raises:
        StoreError: the ingest would cost a data set points by mistake (`ingest/guard.py`), and
            ``replace`` is not set, or it would mix tiles and whole images.
    """
    check_tiled(store, tiles)
    hashed, unreadable = hash_dataset(
        dataset, working.hashes, rehash=rehash, partial=part is not None
    )
    plan = make_plan(dataset, hashed, store, url_prefix, tiles, part)
    check_indexes(dataset, plan.names, store)
    origins = known_origins(store, working.datasets)
    origin = origin_after(dataset, plan, origins.get(dataset.name), store, replace=replace)
    origin = replace_fields(origin, parts=0 if part is None else part.count)
    moved = find_moved(dataset, hashed, origins, store, allowed=replace)
    return Checked(hashed, unreadable, plan, moved, origin)
