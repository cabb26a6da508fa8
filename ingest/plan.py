"""The changes that make a collection equal to a data set. Embeds and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from geosim.ingest.schema import Filter, Payload, point_id
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.dataset import Dataset, HashedRecord
from geosim.trainer.errors import StoreError

IMAGE_ROUTE = "/api/images/"
"""Path of a point's image at `geosim serve`; ``<id>.jpg`` follows, which the Qdrant dashboard
shows as an image."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to a collection.

    Attributes:
        stored: the data set's points before the changes, by stored path.
        pending: images to upsert: new, or with other content or another class or image URL.
        removed: stored paths to delete.
        lost: stored paths to delete or replace whose content is in no image of the data set.
        image_urls: the image URL of each image by stored path, empty for none.
    """

    stored: Mapping[str, Payload]
    pending: list[HashedRecord]
    removed: list[str]
    lost: list[str]
    image_urls: dict[str, str]


def make_plan(
    dataset: Dataset, hashed: Sequence[HashedRecord], store: VectorStore, url_prefix: str | None
) -> Plan:
    """Compare a data set with its points in a collection.

    ``hashed`` are its readable images; one that cannot be read keeps its point. ``url_prefix`` is
    the part of an image URL before the point's id; None keeps the stored URLs.
    """
    points = chain.from_iterable(store.scan(Filter(dataset=dataset.name), vectors=False))
    stored = {point.payload.path: point.payload for point in points}
    contents = {image.record.path: image.sha256 for image in hashed}
    image_urls = {
        path: f"{url_prefix}{point_id(path)}.jpg"
        if url_prefix
        else (stored[path].image_url if path in stored else "")
        for path in contents
    }
    pending = [
        image
        for image in hashed
        if _differs(image, stored.get(image.record.path), image_urls[image.record.path])
    ]
    present = {one.path for one in dataset.records} | {one.path for one in dataset.rejected}
    removed = [path for path in stored if path not in present]
    kept = set(contents.values())
    lost = [
        path
        for path, point in stored.items()
        if point.sha256 not in kept and (path in contents or path not in present)
    ]
    return Plan(stored, pending, removed, lost, image_urls)


def _differs(image: HashedRecord, point: Payload | None, image_url: str) -> bool:
    wanted = (image.sha256, image.record.label, image_url)
    return point is None or wanted != (point.sha256, point.label, point.image_url)


def image_url_prefix(base: str) -> str:
    """Return the part of an image URL before the point's id; raise `StoreError` for another URL."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", base):
        raise StoreError(
            f"--image-url {base!r} is not a base URL; expected http://HOST:8000, the address of "
            "`geosim serve`"
        )
    return f"{base.rstrip('/')}{IMAGE_ROUTE}"
