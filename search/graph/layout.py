"""Lay out the collection as a map: one point in two dimensions per image, similar ones nearby.

Owns the map's copy in the working folder, and what of it stays when the collection changes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from geosim.ingest.schema import CollectionInfo, ModelRef, Point
from geosim.ingest.store.base import SCAN_BATCH, VectorStore
from geosim.search.consistent import consistently
from geosim.search.graph.drawing import PCA, TSNE, Report, draw, place, reported
from geosim.trainer.files import read_arrays, replacing
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.working import Working

MOST_DRAWN = 50_000
"""Images that are drawn at most, those with the lowest ids: a random sample. The others of a larger
collection are placed among them."""

REDRAWN_FROM = 0.1
"""Share of the images that have come or gone since a map was drawn, from which it is drawn anew.
Until then new ones are placed among those that were drawn."""

STEPS = 65_535
"""Greatest coordinate: a place is exact to a hundredth of a pixel where the map fills a screen."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """All images of a collection in two dimensions, sorted by class and id, no class last."""

    ids: NDArray[np.bytes_]  # (n,) S16: the bytes of the UUIDs
    classes: list[str]  # sorted, "" last
    labels: NDArray[np.int32]  # (n,) index into classes, ascending
    positions: NDArray[np.uint16]  # (n, 2), 0 to STEPS, at the same scale in both directions
    drawing: str  # equal for maps in which no image has moved


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A map and what it takes to extend it."""

    layout: Layout
    contents: NDArray[np.uint64]  # (n,) beginnings of the files' hashes
    sample: NDArray[np.float32]  # (m, 32) vectors that were drawn
    places: NDArray[np.float32]  # (m, 2), 0 to 1
    counts: tuple[int, int]  # images when it was drawn, and changes since


def layout(store: VectorStore, working: Working, report: Report = lambda *_: None) -> Layout:
    """Return the map of a collection: kept, extended by what has changed, or drawn anew.

    Equal collections give equal maps on one machine. Half a minute for 30,000 images; the copy
    stored in ``working`` is read in a fraction of a second. Without openTSNE, which has no wheel
    for Linux on ARM, the map shows the two principal components and a warning is issued.

    Raises:
        StoreError: there is no such collection.
    """
    method = TSNE if find_spec("openTSNE") else PCA
    path = working.derived / f"{store.name}-map.npz"

    def read(model: ModelRef) -> tuple[str, str, _Kept, bool]:
        info = store.info() or CollectionInfo(model, 0)
        key = f"{method} {model.fingerprint}"
        state = f"{info.revision} {info.points}" if info.revision else ""
        stored, known = _read(path, key)
        if stored is not None and state and known == state:
            return key, state, stored, False
        kept = None if stored is None else _extended(store, stored, info.points, report)
        return key, state, kept or _drawn(store, method, info.points, report), True

    key, state, kept, changed = consistently(store, read)
    if changed:
        with suppress(OSError), replacing(path) as temporary:  # computed again next time
            _write(temporary, key, state, kept)
    return kept.layout


def _drawn(store: VectorStore, method: str, count: int, report: Report) -> _Kept:
    """Draw the first `MOST_DRAWN` images, and place the others as they are read."""
    if method == PCA:
        warnings.warn(
            "openTSNE is not installed, so the map shows the two main axes only; install it "
            "with `pip install opentsne`",
            stacklevel=4,
        )
    images, placed = _Images(), []
    sample = np.empty((0, EMBEDDING_DIM), dtype=np.float32)
    places: NDArray[np.float32] | None = None
    with reported(report, "reading", count) as advance:
        for batch in store.scan(vectors=True):
            images.add(batch)
            vectors = _vectors(batch)
            if places is None:
                room = MOST_DRAWN - len(sample)
                sample, vectors = np.concatenate([sample, vectors[:room]]), vectors[room:]
                if len(vectors):
                    places = draw(sample, method, report)
            if places is not None and len(vectors):
                placed.append(place(vectors, sample, places))
            advance(len(batch))
    if places is None:
        places = draw(sample, method, report)
    positions = _in_steps(np.concatenate([places, *placed]))
    return _kept(images.all(), images.classes, positions, sample, places, (len(positions), 0))


def _extended(store: VectorStore, old: _Kept, count: int, report: Report) -> _Kept | None:
    """Return a map with the images that there are now; None where too many have changed."""
    scanned = _Images()
    with reported(report, "reading", count) as advance:
        for batch in store.scan(vectors=False):
            scanned.add(batch)
            advance(len(batch))
    images = scanned.all()
    rows = rows_of(old.layout.ids, images["id"])
    same = rows >= 0
    same[same] = old.contents[rows[same]] == images["content"][same]
    new = np.flatnonzero(~same)
    changes = old.counts[1] + len(new) + len(old.contents) - int(same.sum())
    if changes > REDRAWN_FROM * old.counts[0]:
        return None
    positions = np.zeros((len(images), 2), np.uint16)
    positions[same] = old.layout.positions[rows[same]]
    with reported(report, "placing", len(new)) as advance:
        for start in range(0, len(new), SCAN_BATCH):
            own = new[start : start + SCAN_BATCH]
            points = store.fetch(texts_of(images["id"][own]), vectors=True)
            if points:  # some may be deleted meanwhile
                found = own[np.isin(images["id"][own], ids_of(p.payload.id for p in points))]
                positions[found] = _in_steps(place(_vectors(points), old.sample, old.places))
                same[found] = True
            advance(len(own))
    counts = old.counts[0], changes
    return _kept(images[same], scanned.classes, positions[same], old.sample, old.places, counts)


class _Images:
    """What is read of the images, in the order of the scan."""

    DTYPE = np.dtype([("id", "S16"), ("content", np.uint64), ("label", np.int32)])

    def __init__(self) -> None:
        self.classes: dict[str, int] = {}  # their numbers
        self._parts = [np.empty(0, self.DTYPE)]

    def add(self, batch: Sequence[Point]) -> None:
        part = np.empty(len(batch), self.DTYPE)
        payloads = [point.payload for point in batch]
        part["id"] = ids_of(payload.id for payload in payloads)
        part["content"] = [int(payload.sha256[-16:], 16) for payload in payloads]
        number = self.classes.setdefault
        part["label"] = [number(payload.label, len(self.classes)) for payload in payloads]
        self._parts.append(part)

    def all(self) -> NDArray[np.void]:
        """Return all images, ``(n,)`` of `DTYPE`."""
        return np.concatenate(self._parts)


def _kept(
    images: NDArray[np.void],
    classes: Iterable[str],
    positions: NDArray[np.uint16],
    sample: NDArray[np.float32],
    places: NDArray[np.float32],
    counts: tuple[int, int],
) -> _Kept:
    """Return a map of images, ``(n,)`` of `_Images.DTYPE`, sorted; each class has its place."""
    names = [*classes]
    used = sorted({names[n] for n in np.unique(images["label"])}, key=lambda name: (not name, name))
    numbers = {name: number for number, name in enumerate(used)}
    labels = np.array([numbers.get(name, -1) for name in names], np.int32)[images["label"]]
    order = np.lexsort((images["id"], labels))
    drawing = hashlib.sha256(places.tobytes()).hexdigest()[:12]
    drawn = Layout(images["id"][order], used, labels[order], positions[order], drawing)
    return _Kept(drawn, images["content"][order], sample, places, counts)


def ids_of(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """Return UUIDs as `Layout` has them, ``(n,) S16``."""
    return np.array([bytes.fromhex(text.replace("-", "")) for text in texts], "S16")


def texts_of(ids: NDArray[np.bytes_]) -> list[str]:
    """Return the ids of `Layout` as text."""
    raw = ids.tobytes()
    return [str(UUID(bytes=raw[start : start + 16])) for start in range(0, len(raw), 16)]


def _in_steps(positions: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(positions * STEPS).astype(np.uint16)


def rows_of(ids: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.intp]:
    """Return the row of each wanted id among ``ids``, both ``S16`` in any order; -1 without one."""
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids)
    rows = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[rows] == wanted, rows, -1)


def _vectors(points: Sequence[Point]) -> NDArray[np.float32]:
    return np.stack([point.vector for point in points if point.vector is not None])


def _write(path: Path, key: str, state: str, kept: _Kept) -> None:
    drawn = kept.layout
    np.savez(
        path,
        about=np.array([key, state, orjson.dumps(drawn.classes).decode(), drawn.drawing]),
        ids=drawn.ids,
        labels=drawn.labels,
        positions=drawn.positions,
        contents=kept.contents,
        sample=kept.sample,
        places=kept.places,
        counts=np.array(kept.counts),
    )


def _read(path: Path, key: str) -> tuple[_Kept | None, str]:
    """Return the map stored under ``key`` and its state; None if absent, stale or damaged."""
    names = "about", "ids", "labels", "positions", "contents", "sample", "places", "counts"
    stored = read_arrays(path, *names)
    if stored is None or str(stored[0][0]) != key:
        return None, ""
    (_, state, classes, drawing), ids, labels, positions, contents, sample, places, counts = stored
    drawn = Layout(ids, orjson.loads(str(classes)), labels, positions, str(drawing))
    return _Kept(drawn, contents, sample, places, (int(counts[0]), int(counts[1]))), str(state)
