"""Synthetic vectors, and a data set of them of any size that the ingest takes as pictures.

Features are put into the feature cache beforehand, so that an ingest reads, hashes, compares and
stores without a backbone. Everything follows from a picture's number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Payload
from geosim.trainer.backbones.registry import spec_of
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.places import Place
from geosim.trainer.data.sources import Record
from geosim.trainer.feature_cache import FeatureCache, Features
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.kept import CARD
from geosim.trainer.model import Model
from geosim.trainer.working import Working

NAME = "synthetic"
FINGERPRINT = hashlib.sha256(NAME.encode()).hexdigest()
CLASSES = 6
SIDE = 28
"""Pixels a side in the payload of a picture."""

SPREAD = 0.2 * 0.85 ** np.arange(EMBEDDING_DIM)
"""Standard deviations of a class around its centroid, along axes of its own. Fitted to 29,998
embeddings of rock tiles: nearest neighbours at a cosine of 0.99, locally 10 dimensions."""

BLOCK = 4096
"""Vectors drawn from one seed; a larger set begins with the smaller one."""


def label(number: int, classes: int = CLASSES) -> str:
    """Return the class of a picture."""
    return f"class-{number % classes}"


def path(number: int, classes: int = CLASSES) -> str:
    """Return the stored path of a picture; its bytes are the path, too."""
    return f"{NAME}/{label(number, classes)}/{number:08d}.jpg"


def payload(number: int) -> Payload:
    """Return the payload that an ingest stores."""
    digest = hashlib.sha256(path(number).encode()).hexdigest()
    return Payload(path(number), label(number), digest, SIDE, SIDE, NAME)


def blocks(count: int, first: int = 0) -> Iterator[tuple[range, NDArray[np.float32]]]:
    """Yield the first ``count`` pictures' numbers and vectors, ``(m, 32) float32`` of L2 norm 1.

    Those before the picture ``first`` are left out.
    """
    centroids, axes = _classes()
    for start in range(first - first % BLOCK, count, BLOCK):
        drawn = np.random.default_rng([1, start]).normal(0, SPREAD, (BLOCK, EMBEDDING_DIM))
        raw = np.empty_like(drawn)
        for one in range(CLASSES):
            own = slice((one - start) % CLASSES, None, CLASSES)
            raw[own] = centroids[one] + drawn[own] @ axes[one]
        unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        numbers = range(max(start, first), min(start + BLOCK, count))
        yield numbers, unit[numbers.start - start : numbers.stop - start].astype(np.float32)


@cache
def _classes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the classes' centroids, ``(6, 32)``, and their axes, ``(6, 32, 32)``."""
    generator = np.random.default_rng(0)
    raw = generator.normal(size=(CLASSES, EMBEDDING_DIM))
    axes, _ = np.linalg.qr(generator.normal(size=(CLASSES, EMBEDDING_DIM, EMBEDDING_DIM)))
    return raw / np.linalg.norm(raw, axis=1, keepdims=True), axes


class PathSource:
    """A source of pictures whose bytes are their paths."""

    def read(self, record: Record) -> bytes:
        return record.path.encode()

    def stamp(self, _: Record) -> None:
        return None


def dataset(count: int, classes: int = CLASSES) -> Dataset:
    """Return a data set of ``count`` pictures, sorted by path."""
    paths = sorted(path(number, classes) for number in range(count))
    records = tuple(Record(one, one.split("/")[1], one) for one in paths)
    folder = Path("/", NAME)
    return Dataset(NAME, folder, records, (), PathSource(), Place(str(folder)))


def model(folder: Path) -> Model:
    """Return a model whose features are the embedding; only its card is saved in the folder."""
    card = {
        "fingerprint": FINGERPRINT,
        "backbone": {"fingerprint": FINGERPRINT},
        "classes": [label(number) for number in range(CLASSES)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(json.dumps(card), encoding="utf-8")
    return Model(folder, spec_of("tile-resnet"), Head.identity(), card)


def fill_cache(working: Working, count: int) -> None:
    """Put the features of the first ``count`` pictures into the cache."""
    spec = model(working.model).spec
    with closing(FeatureCache(working.features, spec, FINGERPRINT)) as cached:
        for numbers, vectors in blocks(count):
            features = (Features(vector, SIDE, SIDE) for vector in vectors)
            digests = (payload(number).sha256 for number in numbers)
            cached.put(dict(zip(digests, features, strict=True)))
