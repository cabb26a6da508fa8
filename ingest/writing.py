"""Stores the images of a plan: with the vectors that are stored already, or embedded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from pathlib import Path

import numpy as np

from geosim.ingest.changes import facts_of
from geosim.ingest.moves import Moved, reuse_vectors, stored_vectors
from geosim.ingest.plan import Plan
from geosim.ingest.schema import Payload
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.dataset import Dataset, HashedRecord, Rejected
from geosim.trainer.decoding.account import PLAIN, Decoding
from geosim.trainer.features import Extracted
from geosim.trainer.model import Model
from geosim.trainer.progress import progress_bar

UPSERT_BATCH = 1024
"""Images per upsert."""

UPSERT_INTERVAL_S = 2.0
"""Seconds after which fewer than `UPSERT_BATCH` images are upserted."""

ZERO_VECTOR_REASON = "the model embeds it to a zero vector, which has no cosine with anything"


@dataclass(frozen=True, slots=True)
class Written:
    """What was stored.

    Attributes:
        paths: stored paths.
        decoded_anew: number of images stored only because they are decoded otherwise since.
        computed: number of images embedded by the backbone, not read from the feature cache.
        rejected: images without a vector, with reasons.
        decodings: how each embedded image was decoded.
        points: number of tiles of each image that was stored in tiles.
    """

    paths: set[str]
    decoded_anew: int
    computed: int
    rejected: list[Rejected]
    decodings: list[Decoding]
    points: Mapping[str, int] = field(default_factory=dict)


def write_images(
    dataset: Dataset,
    hashed: Sequence[HashedRecord],
    plan: Plan,
    moved: Sequence[Moved],
    model: Model,
    store: VectorStore,
    cache: Path,
) -> Written:
    """Upsert the pending images of a plan, and those that are decoded otherwise since.

    ``hashed`` are the data set's readable images, ``moved`` the points that some of them had in
    other data sets, and ``cache`` is the folder of the feature cache.
    """
    extractor = model.extractor(cache)
    paths: set[str] = set()
    rejected: list[Rejected] = []
    decodings: list[Decoding] = []
    pending = {image.record.path for image in plan.pending}
    outdated = {one.record.path: one for one in extractor.outdated(hashed)}
    with progress_bar("embedding", len(pending | outdated.keys())) as bar:

        def reject(one: Rejected) -> None:
            rejected.append(one)
            bar.update(1)

        points = [*plan.stored.values(), *chain.from_iterable(one.points for one in moved)]
        reusable = [item for item in plan.pending if item.record.path not in outdated]
        for known in stored_vectors(reusable, points, store):
            paths.update(reuse_vectors(known, store, dataset, plan.image_url))
            bar.update(len(known))
        images = [item for item in plan.pending if item.record.path not in paths]
        images += [one for path, one in outdated.items() if path not in pending]
        for batch in _rebatch(extractor.extract(dataset.source, images, reject=reject)):
            bar.update(len(batch))
            # What the former decoder made the same pixels of is stored already.
            new = [
                one
                for one in batch
                if one.item.record.path in pending or one.features.decoding.decoder != PLAIN
            ]
            if new:
                stored, zero = _upsert(new, model, store, dataset, plan.image_url)
                paths.update(stored)
                rejected += zero
                decodings += [one.features.decoding for one in new]
    return Written(paths, len(paths - pending), extractor.computed, rejected, decodings)


def _rebatch(batches: Iterable[Sequence[Extracted]]) -> Iterable[list[Extracted]]:
    """Join batches until they have `UPSERT_BATCH` images or `UPSERT_INTERVAL_S` has passed."""
    joined: list[Extracted] = []
    last = time.monotonic()
    for batch in batches:
        joined += batch
        if len(joined) >= UPSERT_BATCH or time.monotonic() - last > UPSERT_INTERVAL_S:
            yield joined
            joined, last = [], time.monotonic()
    if joined:
        yield joined


def _upsert(
    batch: Sequence[Extracted],
    model: Model,
    store: VectorStore,
    dataset: Dataset,
    image_url: Callable[[str], str],
) -> tuple[list[str], list[Rejected]]:
    """Embed and upsert a batch; return the stored paths, and the images with a zero vector."""
    vectors = model.head(np.stack([one.features.vector for one in batch]))
    nonzero = np.any(vectors != 0, axis=1)
    facts = facts_of([one.item.record.path for one in batch], dataset, store)
    payloads = [
        Payload(
            path=one.item.record.path,
            label=one.item.record.label,
            sha256=one.item.sha256,
            width=one.features.width,
            height=one.features.height,
            dataset=dataset.name,
            image_url=image_url(one.item.record.path),
            facts=facts.get(one.item.record.path, {}),
        )
        for one in compress(batch, nonzero)
    ]
    if payloads:
        store.upsert(payloads, vectors[nonzero])
    zero = [
        Rejected(one.item.record.path, ZERO_VECTOR_REASON) for one in compress(batch, nonzero == 0)
    ]
    return [payload.path for payload in payloads], zero
