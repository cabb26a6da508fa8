"""The changes that make a collection equal to a data set. Embeds and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from geosim.ingest.catalog import conflicting_location
from geosim.ingest.schema import Filter, Payload, point_id
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.dataset import Dataset, HashedRecord
from geosim.trainer.errors import StoreError
from geosim.trainer.text import stored_name, stored_path
from geosim.trainer.working import Working

IMAGE_ROUTE = "/api/images/"
"""Path of a point's image at `geosim serve`; ``<id>.jpg`` follows, which the Qdrant dashboard
shows as an image."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to a collection.

    Attributes:
        stored: stored paths of the data set's points, before the changes, as they are spelled now.
        pending: images to embed and upsert: new, or with other content or another image URL.
        removed: stored paths to delete.
        respelled: stored paths by the former spelling, to delete once the present one is stored.
        image_urls: the image URL of each image by stored path, empty for none.
    """

    stored: Collection[str]
    pending: list[HashedRecord]
    removed: list[str]
    image_urls: dict[str, str]
    respelled: dict[str, str]


def make_plan(
    dataset: Dataset, hashed: Sequence[HashedRecord], store: VectorStore, url_prefix: str | None
) -> Plan:
    """Compare a data set with its points in a collection.

    ``hashed`` are its readable images; one that cannot be read keeps its point. ``url_prefix`` is
    the part of an image URL before the point's id; None keeps the stored URLs.
    """
    stored: dict[str, tuple[str, str]] = {}
    former: dict[str, Payload] = {}
    respelled: dict[str, str] = {}
    present_path = {one.former: one.path for one in dataset.records}
    for name in spellings_of_name(dataset, store):
        for batch in store.scan(Filter(dataset=name), vectors=False):
            for payload in (point.payload for point in batch):
                path = present_path.get(payload.path) or stored_path(payload.path)
                if path == payload.path:
                    stored[path] = payload.sha256, payload.image_url
                else:
                    former[path], respelled[payload.path] = payload, path
    for path, payload in former.items():
        stored.setdefault(path, ("", payload.image_url.replace(payload.id, point_id(path))))
    image_urls = {
        path: f"{url_prefix}{point_id(path)}.jpg" if url_prefix else stored.get(path, ("", ""))[1]
        for path in (image.record.path for image in hashed)
    }
    pending = [
        image
        for image in hashed
        if stored.get(image.record.path) != (image.sha256, image_urls[image.record.path])
    ]
    present = {one.path for one in dataset.records} | {one.path for one in dataset.rejected}
    removed = [path for path in stored if path not in present]
    return Plan(stored.keys(), pending, removed, image_urls, respelled)


def spellings_of_name(dataset: Dataset, store: VectorStore) -> list[str]:
    """Return the name of a data set, and those that earlier versions stored in a collection."""
    former = {one.former.partition("/")[0] for one in dataset.records}
    stored = (name for name in store.values("dataset") if name != dataset.name)
    return [dataset.name, *(n for n in stored if n in former or stored_name(n) == dataset.name)]


def delete_former_spellings(plan: Plan, store: VectorStore) -> None:
    """Delete the points under former spellings, except of images that are not stored anew."""
    ids = [point_id(path) for path in set(plan.respelled.values())]
    gone = {point.payload.path for point in store.fetch(ids, vectors=False)} | {*plan.removed}
    store.delete([point_id(old) for old, path in plan.respelled.items() if path in gone])


def image_url_prefix(base: str) -> str:
    """Return the part of an image URL before the point's id; raise `StoreError` for another URL."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", base):
        raise StoreError(
            f"--image-url {base!r} is not a base URL; expected http://HOST:8000, the address of "
            "`geosim serve`"
        )
    return f"{base.rstrip('/')}{IMAGE_ROUTE}"


def refuse_other_dataset(
    plan: Plan, dataset: Dataset, store: VectorStore, working: Working
) -> None:
    """Raise `StoreError` if another data set has this name and would lose over half its images."""
    other = conflicting_location(working.datasets, dataset)
    if other is not None and 2 * len(plan.removed) > len(plan.stored):
        raise StoreError(
            f"collection {store.name!r} holds another data set named {dataset.name!r}, of "
            f"{other}, and {len(plan.removed):,} of its {len(plan.stored):,} images would be "
            "deleted; rename one of the two folders, name another --collection, or rebuild this "
            f"one from {dataset.location} alone with --recreate"
        )
