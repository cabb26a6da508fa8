"""The changes that make a collection equal to a data set. Embeds and writes nothing."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from sys import intern
from typing import Any

from geosim.ingest.changes import Changes
from geosim.ingest.schema import Box, Filter, Payload, point_id, point_name
from geosim.ingest.store.base import VectorStore
from geosim.ingest.tiling import Tiling
from geosim.ingest.work import Part
from geosim.trainer.data.dataset import Dataset, HashedRecord
from geosim.trainer.data.tiles import MM_PER_PIXEL, TileSize
from geosim.trainer.errors import ImageError, StoreError
from geosim.trainer.text import stored_name, stored_path

NO_FACTS: Mapping[str, Any] = {}

IMAGE_ROUTE = "/api/images/"
"""Path of a point's image at `geosim serve`; ``<id>.jpg`` follows, which the Qdrant dashboard
shows as an image."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to a collection.

    Attributes:
        names: the data set's name, and former spellings of it that are stored.
        stored: the data set's points before the changes, by stored path as it is spelled now,
            without their facts.
        pending: images to upsert: new, or with other content or another image URL.
        changes: of the classes and facts of the others.
        removed: stored paths to delete.
        lost: stored paths to delete or replace whose content is in no image of the data set.
        respelled: stored paths by the former spelling, to delete once the present one is stored.
        url_prefix: the part of an image URL before the point's id; None keeps the stored URLs.
        tiling: how images are cut into tiles; None if they are stored as a whole.
        boxes: the tiles that are stored of each image, by stored path.
    """

    names: list[str]
    stored: Mapping[str, Payload]
    pending: list[HashedRecord]
    changes: Changes
    removed: list[str]
    lost: list[str]
    respelled: dict[str, str]
    url_prefix: str | None
    tiling: Tiling | None
    boxes: Mapping[str, set[Box]]

    def image_url(self, path: str) -> str:
        """Return the URL to store of an image; empty for none."""
        return _image_url(self.stored.get(path), path, self.url_prefix)

    def ids(self, path: str) -> list[str]:
        """Return the ids of the points that are stored of an image."""
        if path not in self.boxes:
            return [point_id(path)]
        return [point_id(point_name(path, box)) for box in self.boxes[path]]


def make_plan(
    dataset: Dataset,
    hashed: Sequence[HashedRecord],
    store: VectorStore,
    url_prefix: str | None,
    tiles: TileSize | None = None,
    part: Part | None = None,
) -> Plan:
    """Compare a data set with its points in a collection, which are tiles of the size ``tiles``.

    Of a data set that is a ``part`` of one, only the points of that part count; none are removed.

    ``hashed`` are its readable images; one that cannot be read keeps its point. ``url_prefix`` is
    the part of an image URL before the point's id; None keeps the stored URLs.
    """
    current: dict[str, Payload] = {}
    former: dict[str, Payload] = {}
    respelled: dict[str, str] = {}
    boxes: dict[str, set[Box]] = {}
    scales: dict[str, object] = {}
    uneven: set[str] = set()  # images whose tiles are of several versions, after a killed ingest
    present_path = {one.former: one.path for one in dataset.records if one.former != one.path}
    changes, images = Changes(), {one.record.path: one for one in hashed}
    names = spellings_of_name(dataset, store)
    with _collector_paused():
        for payload in _payloads(names, store):
            path = present_path.get(payload.path) or stored_path(payload.path)
            if part is not None and not part.has(path):
                continue
            image = images.get(path)
            bare = _without_facts(payload, image)
            if path != payload.path:
                former[path], respelled[payload.path] = bare, path
                continue
            if bare.box is not None:
                boxes.setdefault(path, set()).add(bare.box)
                scales[path] = payload.facts.get(MM_PER_PIXEL)
                if path in current and _version(current[path]) != _version(bare):
                    uneven.add(path)
            current[path] = bare
            if image is not None:
                facts = None if dataset.facts is None else dataset.facts.of(path)
                changes.note(payload, image.record.label, facts)
    stored = former | current if former else current
    tiling = None
    if tiles is not None:
        if tiles.in_mm and dataset.facts is not None:
            scales = {path: dataset.facts.of(path).get(MM_PER_PIXEL) for path in images}
        tiling = Tiling(tiles, scales)
    pending = [
        image
        for image in hashed
        if image.record.path in uneven
        or _differs(image, stored.get(image.record.path), url_prefix)
        or (tiling is not None and not _is_cut(stored[image.record.path], boxes, tiling))
    ]
    for image in pending:
        changes.discard(image.record.path)
    removed = _removed(dataset, stored, images) if part is None else []
    kept = {image.sha256 for image in hashed} if pending or removed else set()
    replaced = [one.record.path for one in pending if one.record.path in stored]
    lost = [path for path in (*replaced, *removed) if stored[path].sha256 not in kept]
    return Plan(
        names,
        stored,
        pending,
        changes,
        removed,
        lost,
        respelled,
        url_prefix,
        tiling,
        boxes,
    )


def _without_facts(point: Payload, image: HashedRecord | None) -> Payload:
    """Return a payload to keep, as all facts would not fit the memory.

    It shares its text with that of others, and with the image of its path, if there is one.
    """
    path, sha256 = point.path, point.sha256
    if image is not None:
        path = image.record.path if image.record.path == path else path
        sha256 = image.sha256 if image.sha256 == sha256 else sha256
    label, dataset, size = intern(point.label), intern(point.dataset), (point.width, point.height)
    return Payload(path, label, sha256, *size, dataset, point.image_url, NO_FACTS, point.box)


def _payloads(names: Sequence[str], store: VectorStore) -> Iterator[Payload]:
    for name in names:
        for batch in store.scan(Filter(dataset=name), vectors=False):
            for point in batch:
                yield point.payload


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Look for no cyclic garbage: payloads make none, and it takes a third of the time."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _removed(
    dataset: Dataset, stored: Mapping[str, Payload], images: Mapping[str, HashedRecord]
) -> list[str]:
    """Return the stored paths of no image of a data set, whether it can be read or not."""
    absent = [path for path in stored if path not in images]
    if not absent:
        return absent
    present = {one.path for one in dataset.records} | {one.path for one in dataset.rejected}
    return [path for path in absent if path not in present]


def _image_url(point: Payload | None, path: str, prefix: str | None) -> str:
    return f"{prefix}{point_id(path)}.jpg" if prefix else _stored_url(point, path)


def _stored_url(point: Payload | None, path: str) -> str:
    """Return the stored image URL, with the id of the path as it is spelled now."""
    if point is None or not point.image_url:
        return ""
    return point.image_url.replace(point.id, point_id(path))


def _differs(image: HashedRecord, point: Payload | None, prefix: str | None) -> bool:
    path = image.record.path
    if point is None or image.sha256 != point.sha256 or path != point.path:
        return True
    return bool(prefix) and _image_url(point, path, prefix) != _stored_url(point, path)


def _version(point: Payload) -> tuple[str, str]:
    """Return what all tiles of an image have alike: the hash, and the URL of the whole image."""
    return point.sha256, _stored_url(point, point.path)


def _is_cut(point: Payload, boxes: Mapping[str, set[Box]], tiling: Tiling) -> bool:
    """Return whether the stored tiles of an image are those of a tiling."""
    try:
        wanted = tiling.boxes(point.path, point.width, point.height)
    except ImageError:  # embedding it tells why
        return False
    return boxes[point.path] == {*wanted}


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
