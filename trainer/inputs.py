"""What a training sees of a data set: every image's features, or its pixels.

Owns reading a whole data set into one array. Frozen backbones train a head on features, which come
from the cache; a backbone that is trained end to end needs the pixels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache as cached
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.data.dataset import Dataset, Hashed, Rejected, hash_records
from geosim.trainer.data.images import prepare
from geosim.trainer.data.sources import Source
from geosim.trainer.errors import DatasetError, ImageError
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.progress import progress_bar
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.choice import choose_runtime

TILE_SIZES = (16, 64)
"""Smallest and largest side in pixels at which a backbone is trained from scratch."""

SIZE_SAMPLE = 256
"""Images looked at to find the size of a set's tiles."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A data set, ready to be learned from.

    Attributes:
        items: the images that can be decoded, sorted by stored path.
        classes: class names, sorted.
        labels: ``(n,) int32``, numbers into ``classes``.
        array: ``(n, feature_width) float32`` features, or ``(n, size, size, 3) uint8`` pixels.
        pretrained: the backbone they are for, its input size settled.
        rejected: images left out, with reasons.
        extractor: gave the features; None for pixels.
        backbone: loads the frozen backbone, once.
    """

    items: tuple[Hashed, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int32]
    array: NDArray[Any]
    pretrained: Pretrained
    rejected: tuple[Rejected, ...]
    extractor: FeatureExtractor | None
    backbone: Callable[[], Backbone]

    @property
    def listing(self) -> bytes:
        """Path and content hash of every image: what tells one set of inputs from another."""
        lines = (f"{item.record.path}\0{item.sha256}\n" for item in self.items)
        return "".join(lines).encode()

    @property
    def computed(self) -> int:
        """Images that went through the backbone; the others were cached."""
        return 0 if self.extractor is None else self.extractor.computed


def check_classes(dataset: Dataset) -> None:
    """Refuse what cannot be learned from, before anything is read or written.

    Raises:
        DatasetError: there is one class only.
    """
    if len(dataset.classes) < 2:
        raise DatasetError(
            f"{dataset.location} holds one class only ({dataset.classes[0]}); training needs at "
            "least two class folders side by side"
        )


def read_inputs(dataset: Dataset, pretrained: Pretrained, cache: Path) -> Inputs:
    """Read, decode and, for a frozen backbone, extract a whole data set.

    Args:
        dataset: what to learn from.
        pretrained: the backbone.
        cache: folder of the feature cache.

    Raises:
        DatasetError: fewer than two classes have an image that can be decoded.
    """
    check_classes(dataset)
    with progress_bar("reading", len(dataset.records)) as bar:
        hashed, unreadable = hash_records(dataset.source, dataset.records, progress=bar.update)
    rejected = [*dataset.rejected, *unreadable]
    extractor: FeatureExtractor | None = None
    backbone = cached(pretrained.load)
    array: NDArray[Any]
    if pretrained.spec.trained:
        size = tile_size(dataset.source, hashed)
        pretrained = replace(pretrained, spec=replace(pretrained.spec, input_size=size))
        array, done = _pixels(dataset.source, hashed, size, rejected)
    else:
        spec = pretrained.spec
        extractor = FeatureExtractor(
            spec, pretrained.fingerprint, lambda: choose_runtime(backbone(), spec.precision), cache
        )
        array, done = _features(dataset.source, hashed, extractor, rejected)
    items = tuple(item for item, good in zip(hashed, done, strict=True) if good)
    names = [item.record.label for item in items]
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:
        raise DatasetError(
            f"{dataset.location}: images of fewer than two classes can be decoded "
            f"({len(rejected)} rejected, the first: {rejected[0].path}: {rejected[0].reason})"
        )
    return Inputs(
        items=items,
        classes=classes,
        labels=np.array([classes.index(name) for name in names], dtype=np.int32),
        array=array[done],
        pretrained=pretrained,
        rejected=tuple(rejected),
        extractor=extractor,
        backbone=backbone,
    )


def tile_size(source: Source, hashed: Sequence[Hashed]) -> int:
    """Return the side at which a set's images are learned from scratch: their own, within bounds.

    The median of the shorter sides of up to `SIZE_SAMPLE` images, spread over the set, as a
    multiple of 4, within `TILE_SIZES`.
    """
    step = -(-len(hashed) // SIZE_SAMPLE)
    sides = []
    for item in hashed[::step]:
        try:
            prepared = prepare(source.read(item.record), TILE_SIZES[0])
        except ImageError:
            continue
        sides.append(min(prepared.width, prepared.height))
    typical = round(float(np.median(sides)) / 4) * 4 if sides else TILE_SIZES[0]
    return int(np.clip(typical, *TILE_SIZES))


def _pixels(
    source: Source, hashed: Sequence[Hashed], size: int, rejected: list[Rejected]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return all images at ``size`` and which of them could be decoded."""
    pixels = np.zeros((len(hashed), size, size, 3), dtype=np.uint8)
    done = np.zeros(len(hashed), dtype=bool)

    def decode(row: int) -> Rejected | None:
        record = hashed[row].record
        try:
            pixels[row] = prepare(source.read(record), size).pixels
        except ImageError as error:
            return Rejected(record.path, str(error))
        done[row] = True
        return None

    with ThreadPoolExecutor() as pool, progress_bar("decoding", len(hashed)) as bar:
        for outcome in pool.map(decode, range(len(hashed))):
            if outcome is not None:
                rejected.append(outcome)
            bar.update(1)
    return pixels, done


def _features(
    source: Source,
    hashed: Sequence[Hashed],
    extractor: FeatureExtractor,
    rejected: list[Rejected],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return all images' features and which of them could be decoded."""
    rows = {item.record.path: row for row, item in enumerate(hashed)}
    features = np.zeros((len(hashed), extractor.spec.feature_width), dtype=np.float32)
    done = np.zeros(len(hashed), dtype=bool)
    with progress_bar("features", len(hashed)) as bar:
        reject = _counting(rejected, bar)
        for batch in extractor.extract(source, hashed, reject=reject):
            for extracted in batch:
                row = rows[extracted.item.record.path]
                features[row] = extracted.features.vector
                done[row] = True
            bar.update(len(batch))
    return features, done


def _counting(rejected: list[Rejected], bar: tqdm[Any]) -> Callable[[Rejected], None]:
    def reject(one: Rejected) -> None:
        rejected.append(one)
        bar.update(1)

    return reject
