"""Stores the images of a plan in tiles: all tiles of an image, or none."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.moves import Moved
from geosim.ingest.plan import Plan
from geosim.ingest.schema import Payload, point_id, point_name
from geosim.ingest.store.base import VectorStore
from geosim.ingest.tiling import Tiling
from geosim.ingest.writing import UPSERT_BATCH, UPSERT_INTERVAL_S, ZERO_VECTOR_REASON, Written
from geosim.trainer.data.dataset import Dataset, HashedRecord, Rejected
from geosim.trainer.decoding.account import Decoding
from geosim.trainer.decoding.vips_rows import Box
from geosim.trainer.errors import ImageError
from geosim.trainer.model import Model
from geosim.trainer.progress import progress_bar
from geosim.trainer.tile_features import TileExtractor


@dataclass(slots=True)
class _Batch:
    """Tiles to upsert, and those that are deleted afterwards."""

    payloads: list[Payload] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def write(self, store: VectorStore) -> None:
        if self.payloads:
            store.upsert(self.payloads, np.concatenate(self.vectors))
        store.delete(self.stale)


def write_tiles(
    dataset: Dataset,
    plan: Plan,
    tiling: Tiling,
    moved: Sequence[Moved],
    model: Model,
    store: VectorStore,
    cache: Path,
) -> Written:
    """Upsert the tiles of the pending images of a plan, and delete those that they have no more.

    An image whose tiles are all in the feature cache is not read. ``moved`` are the points that
    some images had in other data sets.
    """
    rejected: list[Rejected] = []
    decodings: list[Decoding] = []
    points: dict[str, int] = {}
    elsewhere = [*chain.from_iterable(one.points for one in moved)]
    sizes = {p.sha256: (p.width, p.height) for p in (*plan.stored.values(), *elsewhere)}
    facts = {point.sha256: point.facts for point in elsewhere}
    batch = _Batch()
    with (
        closing(TileExtractor(model.extractor(cache))) as extractor,
        progress_bar("embedding", len(plan.pending)) as bar,
    ):
        for item in plan.pending:
            path = item.record.path
            try:
                size = sizes.get(item.sha256)
                boxes, vectors, picture, decoding = embed(
                    item, dataset, tiling, extractor, model, size
                )
            except ImageError as error:
                rejected.append(Rejected(path, str(error)))
                bar.update(1)
                continue
            own = _facts_of(item, dataset, plan, store, facts)
            payloads = _payloads(item, dataset, boxes, picture, plan.image_url(path), own)
            batch.payloads += payloads
            batch.vectors.append(vectors)
            new = {one.box for one in payloads}
            gone = plan.boxes.get(path, set()) - new
            batch.stale += [point_id(point_name(path, box)) for box in gone]
            points[path] = len(boxes)
            decodings.append(decoding)
            if (
                len(batch.payloads) >= UPSERT_BATCH
                or time.monotonic() - batch.since > UPSERT_INTERVAL_S
            ):
                batch.write(store)
                batch = _Batch()
            bar.update(1)
    batch.write(store)
    return Written({*points}, 0, extractor.computed, rejected, decodings, points)


def embed(
    item: HashedRecord,
    dataset: Dataset,
    tiling: Tiling,
    extractor: TileExtractor,
    model: Model,
    size: tuple[int, int] | None,
) -> tuple[list[Box], NDArray[np.float32], tuple[int, int], Decoding]:
    """Return the tiles of an image, their vectors, the image's size, and how it was decoded.

    Tiles whose vector is zero are left out.

    Raises:
        ImageError: it cannot be decoded or cut, or no tile is left.
    """
    boxes: list[Box] = []
    vectors: list[NDArray[np.float32]] = []
    cut = partial(tiling.edges, item.record.path)
    for tiles in extractor.extract(dataset.source, item, cut, size):
        embedded = model.head(np.stack([tile.features.vector for tile in tiles]))
        nonzero = np.any(embedded != 0, axis=1)
        boxes += [tile.box for tile in compress(tiles, nonzero)]
        vectors.append(embedded[nonzero])
        size, decoding = tiles[0].picture, tiles[0].features.decoding
    if size is None or not boxes:
        raise ImageError(ZERO_VECTOR_REASON)
    return boxes, np.concatenate(vectors), size, decoding


def _facts_of(
    item: HashedRecord,
    dataset: Dataset,
    plan: Plan,
    store: VectorStore,
    elsewhere: Mapping[str, Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Return the facts to store: those of the data set, else the stored ones."""
    path = item.record.path
    if dataset.facts is not None:
        return dataset.facts.of(path)
    stored = store.fetch(plan.ids(path)[:1], vectors=False) if path in plan.stored else []
    return stored[0].payload.facts if stored else elsewhere.get(item.sha256, {})


def _payloads(
    item: HashedRecord,
    dataset: Dataset,
    boxes: Sequence[Box],
    picture: tuple[int, int],
    image_url: str,
    facts: Mapping[str, Any],
) -> list[Payload]:
    path = item.record.path
    made, whole = [], point_id(path)
    for left, top, right, bottom in boxes:
        box = (left, top, right - left, bottom - top)
        url = image_url.replace(whole, point_id(point_name(path, box)))
        made.append(
            Payload(
                path, item.record.label, item.sha256, *picture, dataset.name, url, facts, box=box
            )
        )
    return made
