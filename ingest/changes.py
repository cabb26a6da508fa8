"""Changes of payloads alone: of classes and facts, with the vectors as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson

from geosim.ingest.schema import FACTS, INDEX_KINDS, Change, Filter, Payload, fact_field, point_id
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.dataset import Dataset, blocks
from geosim.trainer.errors import StoreError
from geosim.trainer.progress import progress_bar

ALIKE = 8192
"""Images that are changed alike at once."""

BATCH = 32_768
"""Images after which the store makes the changes durable, and the progress is shown."""


@dataclass(slots=True)
class Changes:
    """The changes of the payloads of a data set, by the stored path of their images.

    Attributes:
        relabelled: paths of images with another class.
    """

    _by_path: dict[str, bytes] = field(default_factory=dict)
    relabelled: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._by_path)

    def note(self, point: Payload, label: str, facts: Mapping[str, Any] | None) -> None:
        """Note what differs between a point and its image; facts of None stay as they are."""
        fields: dict[str, Any] = {}
        delta: dict[str, Any] = {}
        gone: list[str] = []
        if label != point.label:
            self.relabelled.add(point.path)
            fields, gone = ({"class": label}, []) if label else ({}, ["class"])
        if facts is not None and facts != point.facts:
            delta = {name: one for name, one in facts.items() if point.facts.get(name) != one}
            lost = [name for name in point.facts if name not in facts]
            gone += [fact_field(name) for name in lost] if facts else [FACTS] * bool(lost)
        if fields or delta or gone:
            if point.path in self._by_path:  # of another tile, which may differ less
                others = orjson.loads(self._by_path[point.path])
                fields, delta = others[0] | fields, others[1] | delta
                gone = [*{*others[2], *gone}]
            self._by_path[point.path] = orjson.dumps([fields, delta, sorted(gone)])

    def discard(self, path: str) -> None:
        """Forget the change of an image that is stored as a whole."""
        self._by_path.pop(path, None)
        self.relabelled.discard(path)

    def write(self, store: VectorStore, ids_of: Callable[[str], Iterable[str]]) -> None:
        """Write all changes; those that are alike together. Can be run again.

        ``ids_of`` returns the ids of the points of a stored path.
        """
        if not self._by_path:
            return
        with progress_bar("updating", len(self._by_path)) as bar:
            for batch, images in self._batches(ids_of):
                store.update(batch)
                bar.update(images)

    def _batches(
        self, ids_of: Callable[[str], Iterable[str]]
    ) -> Iterator[tuple[list[Change], int]]:
        """Yield all changes in batches, with the number of images of each.

        They are in the order in which an ingest stores images, so that those of one segment of the
        embedded engine come together.
        """
        alike: dict[bytes, list[str]] = {}
        for path, change in sorted(self._by_path.items()):
            alike.setdefault(change, []).append(path)
        batch: list[Change] = []
        images = 0
        for change, paths in alike.items():
            for part in blocks(paths, ALIKE):
                ids = tuple(chain.from_iterable(map(ids_of, part)))
                batch.append(Change(ids, *orjson.loads(change)))
                images += len(part)
                if images >= BATCH:
                    yield batch, images
                    batch, images = [], 0
        if batch:
            yield batch, images


def facts_of(paths: Sequence[str], dataset: Dataset, store: VectorStore) -> dict[str, Any]:
    """Return the facts to store of images by path: those of the data set, else the stored ones."""
    if dataset.facts is not None:
        return {path: dataset.facts.of(path) for path in paths}
    points = store.fetch([point_id(path) for path in paths], vectors=False)
    return {point.payload.path: point.payload.facts for point in points}


def check_indexes(dataset: Dataset, names: Sequence[str], store: VectorStore) -> None:
    """Refuse facts whose type differs from that of the same fact of other data sets.

    ``names`` are the data set's own.

    Raises:
        StoreError: a fact has another type there; a collection has one payload index of each.
    """
    if dataset.facts is None:
        return
    indexed, types = store.fact_indexes(), dataset.facts.types
    differing = {
        name
        for name, kind in types.items()
        if indexed.get(name, INDEX_KINDS[kind]) != INDEX_KINDS[kind]
    }
    if not differing:
        return
    for other in store.values("dataset").keys() - set(names):
        for batch in store.scan(Filter(dataset=other), vectors=False):
            for point in batch:
                if common := sorted(differing & point.payload.facts.keys()):
                    raise StoreError(
                        f"fact {common[0]} is {types[common[0]]} here, and of another type in data "
                        f"set {other} of the collection, such as {point.payload.facts[common[0]]!r}"
                        "; give it a type with --fact-type, or another name"
                    )
