"""Tells what is missing of a data set that was ingested in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from geosim.ingest.plan import Plan
from geosim.ingest.tile_writing import embed
from geosim.ingest.work import Part
from geosim.ingest.writing import ZERO_VECTOR_REASON
from geosim.trainer.data.dataset import Dataset, Rejected
from geosim.trainer.errors import ImageError, StoreError
from geosim.trainer.model import Model
from geosim.trainer.text import listed
from geosim.trainer.tile_features import TileExtractor


def require_stored(
    dataset: Dataset, plan: Plan, model: Model, cache: Path, parts: int
) -> list[Rejected]:
    """Return the images that are not stored as they cannot be embedded; embed one other at most.

    ``cache`` is the folder of the feature cache, ``parts`` the number of parts if it is known.

    Raises:
        StoreError: other images are not stored, or were changed since.
    """
    rejected: list[Rejected] = []
    find = _embedded if plan.tiling is None else _cut
    first = next(find(dataset, plan, model, cache, rejected.append), None)
    if first is None:
        return rejected
    left = {one.record.path for one in plan.pending} - {one.path for one in rejected}
    remedy = "ingest them with `geosim ingest DATA`, or in parts with --part"
    if parts:
        numbers = Counter(Part.of(path, parts).number for path in left)
        counts = [f"{Part(number, parts)} ({count:,})" for number, count in sorted(numbers.items())]
        remedy = f"run these parts, then this again: {listed(counts, 40)}"
    raise StoreError(
        f"{len(left):,} of {len(dataset.records):,} images of {dataset.name} are not stored as "
        f"they are now, such as {first}; {remedy}"
    )


def _embedded(
    dataset: Dataset, plan: Plan, model: Model, cache: Path, reject: Callable[[Rejected], object]
) -> Iterator[str]:
    """Yield the pending images that can be embedded; reject the others."""
    extractor = model.extractor(cache)
    for batch in extractor.extract(dataset.source, plan.pending, reject=reject):
        vectors = model.head(np.stack([one.features.vector for one in batch]))
        for one, nonzero in zip(batch, np.any(vectors != 0, axis=1), strict=True):
            if nonzero:
                yield one.item.record.path
            else:
                reject(Rejected(one.item.record.path, ZERO_VECTOR_REASON))


def _cut(
    dataset: Dataset, plan: Plan, model: Model, cache: Path, reject: Callable[[Rejected], object]
) -> Iterator[str]:
    """Yield the pending images that can be embedded in tiles; reject the others."""
    if plan.tiling is None:
        return
    with closing(TileExtractor(model.extractor(cache))) as extractor:
        for item in plan.pending:
            try:
                embed(item, dataset, plan.tiling, extractor, model, None)
            except ImageError as error:
                reject(Rejected(item.record.path, str(error)))
                continue
            yield item.record.path
