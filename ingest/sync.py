"""Makes a collection equal to a folder: diff, embed what is new, upsert, delete what is gone.

Owns the order of these steps and what the user is told of them. The state is the collection itself
and the feature cache, so a run that was killed is simply run again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from geosim.ingest.catalog import other_place, remember
from geosim.ingest.schema import ModelRef, Payload, Where, point_id, require_same_model
from geosim.ingest.store.protocol import VectorStore
from geosim.trainer.data.dataset import Dataset, Rejected, hash_records
from geosim.trainer.errors import StoreError
from geosim.trainer.features import Extracted
from geosim.trainer.model import Model
from geosim.trainer.progress import progress_bar
from geosim.trainer.working import Working

UPSERT_BATCH = 1024
"""Points per acknowledged write; what a kill can cost, and those features are cached."""

IMAGES = "/api/images/"
"""Where `geosim serve` has the picture of a point (`search/web/app.py`); its id and .jpg follow, an
ending by which the Qdrant dashboard knows pictures."""

ZERO_VECTOR = "the model embeds it to a zero vector, which has no cosine with anything"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What an ingest did, in images.

    Attributes:
        added: new in the collection.
        changed: stored before with other content.
        deleted: gone from the folder, and now from the collection.
        unchanged: left alone.
        computed: went through the backbone; the other new ones were cached.
        rejected: left out, with reasons; points stored earlier under these paths stay.
        points: in the whole collection, all data sets.
        seconds: wall time.
    """

    added: int
    changed: int
    deleted: int
    unchanged: int
    computed: int
    rejected: tuple[Rejected, ...]
    points: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Images looked at per second of wall time."""
        images = self.added + self.changed + self.unchanged + len(self.rejected)
        return images / self.seconds if self.seconds else 0.0


def sync(
    dataset: Dataset,
    model: Model,
    store: VectorStore,
    working: Working,
    *,
    recreate: bool = False,
    image_url: str | None = None,
) -> SyncReport:
    """Make the part of a collection that belongs to ``dataset`` equal to it.

    Points of other data sets are not touched. Images are added before vanished ones are deleted.

    Args:
        dataset: what the collection shall hold.
        model: embeds new images; the collection must be its own or new.
        store: the collection.
        working: for the feature cache and the note of where the pictures are.
        recreate: drop the collection first, with all its data sets.
        image_url: address of `geosim serve` for this data set's points, so that the Qdrant
            dashboard shows their pictures; None leaves the points' addresses as they are.

    Raises:
        StoreError: ``image_url`` is none, or another data set of this name would be replaced.
        ModelMismatchError: another model made the collection.
        StoreError: the store failed, or holds another number of points at the end than it should.
    """
    started = time.perf_counter()
    served = None if image_url is None else _served(image_url)
    _prepare(store, ModelRef(model.fingerprint, model.spec.name), recreate=recreate)
    with progress_bar("reading", len(dataset.records)) as bar:
        hashed, unreadable = hash_records(dataset.source, dataset.records, progress=bar.update)
    rejected = [*dataset.rejected, *unreadable]
    stored = {
        point.payload.path: (point.payload.sha256, point.payload.image_url)
        for batch in store.scan(Where(dataset=dataset.name), vectors=False)
        for point in batch
    }
    _check_name(dataset, working, store, stored, rejected)
    remember(working.datasets, dataset)

    def address(path: str) -> str:
        if served is None:
            return stored.get(path, ("", ""))[1]
        return f"{served}{point_id(path)}.jpg"

    todo = [
        item
        for item in hashed
        if stored.get(item.record.path) != (item.sha256, address(item.record.path))
    ]
    extractor = model.extractor(working.features)
    written: list[str] = []
    with progress_bar("embedding", len(todo)) as bar:

        def reject(one: Rejected) -> None:
            rejected.append(one)
            bar.update(1)

        for batch in _regrouped(extractor.extract(dataset.source, todo, reject=reject)):
            written += _write(batch, model, store, dataset.name, rejected, address)
            bar.update(len(batch))
    gone = _vanished(stored, dataset, rejected)
    store.delete([point_id(path) for path in gone])
    changed = sum(path in stored for path in written)
    points = store.count()
    expected = len(stored) - len(gone) + len(written) - changed
    held = store.count(Where(dataset=dataset.name))
    if held != expected:
        raise StoreError(
            f"collection {store.name!r} at {store.location} holds {held:,} images of "
            f"{dataset.name}, expected {expected:,}; does another ingest run? Run this one again"
        )
    return SyncReport(
        added=len(written) - changed,
        changed=changed,
        deleted=len(gone),
        unchanged=len(hashed) - len(todo),
        computed=extractor.computed,
        rejected=tuple(sorted(rejected, key=lambda one: one.path)),
        points=points,
        seconds=time.perf_counter() - started,
    )


def _check_name(
    dataset: Dataset,
    working: Working,
    store: VectorStore,
    stored: Collection[str],
    rejected: Iterable[Rejected],
) -> None:
    """Refuse a folder that happens to have the name of another one, and would replace its images.

    Raises:
        StoreError: the data set of this name was elsewhere, and most of its images are not here.
    """
    elsewhere = other_place(working.datasets, dataset)
    if elsewhere is None:
        return
    gone = _vanished(stored, dataset, rejected)
    if 2 * len(gone) > len(stored):
        raise StoreError(
            f"collection {store.name!r} holds another data set named {dataset.name!r}, of "
            f"{elsewhere}, and {len(gone):,} of its {len(stored):,} images would be deleted; "
            "rename one of the two folders, name another --collection, or rebuild this one from "
            f"{dataset.location} alone with --recreate"
        )


def _prepare(store: VectorStore, model: ModelRef, *, recreate: bool) -> None:
    """Leave the store with a collection for ``model``."""
    info = None
    if recreate:
        store.drop()
    else:
        info = store.info()
    if info is None:
        store.create(model)
    else:
        require_same_model(info, model, name=store.name)


def _regrouped(batches: Iterable[Sequence[Extracted]]) -> Iterable[list[Extracted]]:
    """Collect small batches into writes of about `UPSERT_BATCH`; a slow backbone writes sooner."""
    waiting: list[Extracted] = []
    last = time.monotonic()
    for batch in batches:
        waiting += batch
        if len(waiting) >= UPSERT_BATCH or time.monotonic() - last > 2.0:
            yield waiting
            waiting, last = [], time.monotonic()
    if waiting:
        yield waiting


def _write(
    batch: Sequence[Extracted],
    model: Model,
    store: VectorStore,
    dataset: str,
    rejected: list[Rejected],
    address: Callable[[str], str],
) -> list[str]:
    """Embed and upsert a batch; return the stored paths that were written."""
    vectors = model.head(np.stack([one.features.vector for one in batch]))
    good = np.any(vectors != 0, axis=1)
    rejected += [
        Rejected(one.item.record.path, ZERO_VECTOR)
        for one, fine in zip(batch, good, strict=True)
        if not fine
    ]
    payloads = [
        _payload(one, dataset, address(one.item.record.path))
        for one, fine in zip(batch, good, strict=True)
        if fine
    ]
    if payloads:
        store.upsert(payloads, vectors[good])
    return [payload.path for payload in payloads]


def _payload(one: Extracted, dataset: str, image_url: str) -> Payload:
    return Payload(
        path=one.item.record.path,
        label=one.item.record.label,
        sha256=one.item.sha256,
        width=one.features.width,
        height=one.features.height,
        dataset=dataset,
        image_url=image_url,
    )


def _served(base: str) -> str:
    """Return what comes before a point's id in the address of its picture.

    Raises:
        StoreError: ``base`` is no address of a page.
    """
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", base):
        raise StoreError(
            f"--image-url {base!r} is no address of a page; expected http://HOST:8000, where "
            "`geosim serve` answers"
        )
    return f"{base.rstrip('/')}{IMAGES}"


def _vanished(stored: Iterable[str], dataset: Dataset, rejected: Iterable[Rejected]) -> list[str]:
    """Return stored paths with no file any more; a file that cannot be read is still there."""
    present = {record.path for record in dataset.records} | {one.path for one in rejected}
    return [path for path in stored if path not in present]
