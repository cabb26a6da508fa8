"""Synthetic vectors and a data set of them, any size, that the real ingest takes as pictures.

Their features are put into the feature cache beforehand, so an ingest reads, hashes, compares and
stores, and runs no backbone. Everything follows from a picture's number and is the same every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Payload
from geosim.trainer.backbones.registry import spec_of
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.sources import Record
from geosim.trainer.features import FeatureCache, Features
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.model import Model
from geosim.trainer.working import Working

NAME = "synthetic"
CLASSES = 6
SPREAD = 0.2 * 0.85 ** np.arange(EMBEDDING_DIM)
"""Standard deviations of a class around its unit-norm centre, along axes of its own. Chosen after
29,998 embeddings of rock tiles, to be as close to each other (the nearest neighbour at a cosine of
0.99) and as hard to divide into lists (10 dimensions locally)."""

SIDE = 28
"""Pixels a side that the pictures are said to have."""

BLOCK = 4096
"""Vectors drawn at once, from a seed of their own: a larger set begins with the smaller one."""

FINGERPRINT = hashlib.sha256(NAME.encode()).hexdigest()


def path(number: int) -> str:
    """Return the stored path of a picture; within a class, paths sort by number."""
    return f"{NAME}/{label(number)}/{number:08d}.jpg"


def label(number: int) -> str:
    """Return the class of a picture."""
    return f"class-{number % CLASSES}"


def content(stored_path: str) -> bytes:
    """Return the bytes of a picture: nothing but its own path."""
    return stored_path.encode()


def payload(number: int) -> Payload:
    """Return what an ingest stores of a picture."""
    stored = path(number)
    digest = hashlib.sha256(content(stored)).hexdigest()
    return Payload(stored, label(number), digest, SIDE, SIDE, NAME)


def blocks(count: int) -> Iterator[tuple[range, NDArray[np.float32]]]:
    """Yield the first ``count`` pictures' numbers and vectors, ``(m, 32) float32`` of L2 norm 1."""
    for start in range(0, count, BLOCK):
        numbers = range(start, min(start + BLOCK, count))
        centres, axes = _classes()
        drawn = np.random.default_rng([1, start]).normal(0, SPREAD, (BLOCK, EMBEDDING_DIM))
        raw = np.empty_like(drawn)
        for one in range(CLASSES):
            own = slice((one - start) % CLASSES, None, CLASSES)
            raw[own] = centres[one] + drawn[own] @ axes[one]
        unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        yield numbers, unit[: len(numbers)].astype(np.float32)


@cache
def _classes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the classes' centres, ``(6, 32)``, and their axes, ``(6, 32, 32)``."""
    generator = np.random.default_rng(0)
    raw = generator.normal(size=(CLASSES, EMBEDDING_DIM))
    axes, _ = np.linalg.qr(generator.normal(size=(CLASSES, EMBEDDING_DIM, EMBEDDING_DIM)))
    return raw / np.linalg.norm(raw, axis=1, keepdims=True), axes


class Paths:
    """A source whose pictures' bytes follow from their paths."""

    def read(self, record: Record) -> bytes:
        """Return the picture's bytes."""
        return content(record.path)


def dataset(count: int) -> Dataset:
    """Return a data set of ``count`` pictures."""
    records = tuple(
        Record(path(number), label(number), path(number))
        for start in range(min(CLASSES, count))
        for number in range(start, count, CLASSES)
    )
    return Dataset(NAME, Path("/", NAME), records, (), Paths())


def model(folder: Path) -> Model:
    """Return a model whose features are the embedding; it has no backbone to load."""
    card = {
        "fingerprint": FINGERPRINT,
        "backbone": {"fingerprint": FINGERPRINT},
        "classes": [label(number) for number in range(CLASSES)],
    }
    return Model(folder, spec_of("tile-resnet"), Head.identity(), card)


def fill_cache(working: Working, count: int) -> None:
    """Put the features of the first ``count`` pictures into the cache."""
    spec = model(working.model).spec
    with closing(FeatureCache(working.features, spec, FINGERPRINT)) as features:
        for numbers, vectors in blocks(count):
            features.put(
                {
                    payload(number).sha256: Features(vector, SIDE, SIDE)
                    for number, vector in zip(numbers, vectors, strict=True)
                }
            )
