"""Features of images: one backbone pass per image content, ever.

Owns the cache on disk and the pass that fills it. Which images, and what becomes of their features,
is the callers' business (`trainer/train.py`, `ingest/sync.py`, `search/searcher.py`).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.data.dataset import Hashed, Rejected
from geosim.trainer.data.images import Prepared, prepare
from geosim.trainer.data.sources import Source
from geosim.trainer.errors import ImageError, ModelError
from geosim.trainer.runtime.backbone import Backbone

BATCH = 16
"""Images per backbone call, and per transaction of the cache."""

AT_WORK = 2
"""Batches in the backbone at once: where one ends, the other keeps every core at work. A kill can
cost these and the one that is being stored."""

CHUNK = 2048
"""Images looked up in the cache at once; bounds the memory of a pass."""

DECODERS = 2
"""Threads that decode ahead of the backbone."""

_LOOKUP = 512  # keys per SELECT, below SQLite's historical limit of 999 variables

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Features:
    """What a backbone made of one image: ``vector`` is ``(width,) float32``, sizes in pixels."""

    vector: NDArray[np.float32]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Extracted:
    """A record with its features."""

    item: Hashed
    features: Features


class FeatureCache:
    """Features on disk by content hash: one SQLite file per backbone fingerprint.

    Every batch is one transaction in a write-ahead log, so a process killed at any moment loses
    the batches at work and nothing else; several processes may share the file.
    """

    def __init__(self, folder: Path, spec: BackboneSpec, fingerprint: str) -> None:
        self.path = folder / f"{spec.name}-{fingerprint[:16]}.sqlite"
        self._bytes = spec.feature_width * 4
        with self._translated():
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=60.0)
            try:
                # SQLite does not wait for its lock when two processes turn on the log at once.
                with FileLock(self.path.with_suffix(".lock")):
                    self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS features (sha256 BLOB PRIMARY KEY, "
                    "width INTEGER NOT NULL, height INTEGER NOT NULL, vector BLOB NOT NULL)"
                )
            except BaseException:
                self._database.close()
                raise

    def get(self, digests: Iterable[str]) -> dict[str, Features]:
        """Return what is cached of ``digests`` (hex SHA-256 of the images' bytes)."""
        found: dict[str, Features] = {}
        with self._translated():
            for keys in _blocks(dict.fromkeys(digests), _LOOKUP):
                marks = ",".join("?" * len(keys))
                rows = self._database.execute(
                    f"SELECT sha256, width, height, vector FROM features WHERE sha256 IN ({marks})",  # noqa: S608
                    [bytes.fromhex(key) for key in keys],
                )
                for digest, width, height, blob in rows:
                    if len(blob) == self._bytes:
                        vector = np.frombuffer(blob, dtype="<f4")
                        found[digest.hex()] = Features(vector, width, height)
        return found

    def put(self, features: dict[str, Features]) -> None:
        """Store features by content hash, in one transaction."""
        rows = [
            (bytes.fromhex(digest), one.width, one.height, one.vector.astype("<f4").tobytes())
            for digest, one in features.items()
        ]
        with self._translated(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO features VALUES (?,?,?,?)", rows)

    def close(self) -> None:
        """Close the file; what was put stays."""
        self._database.close()

    def _translated(self) -> _Translated:
        return _Translated(self.path)


class _Translated:
    """Turns SQLite's and the file system's errors into one line with a remedy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (sqlite3.Error, OSError)):
            raise ModelError(
                f"the feature cache {self._path} cannot be used: {error}; check that the folder "
                "is writable and the disk not full, or delete the file, it is made again"
            ) from error


class FeatureExtractor:
    """Looks features up in the cache and runs the backbone for the rest.

    Attributes:
        spec: the backbone's spec.
        computed: images that went through the backbone so far.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        fingerprint: str,
        load: Callable[[], Backbone],
        cache_folder: Path,
    ) -> None:
        self.spec = spec
        self.computed = 0
        self._fingerprint = fingerprint
        self._load = load
        self._folder = cache_folder
        self._backbone: Backbone | None = None

    @property
    def backbone(self) -> Backbone:
        """The backbone, loaded when first needed."""
        if self._backbone is None:
            self._backbone = self._load()
        return self._backbone

    def extract(
        self,
        source: Source,
        items: Iterable[Hashed],
        *,
        reject: Callable[[Rejected], object],
    ) -> Iterator[list[Extracted]]:
        """Yield every item with its features, in batches and not in order.

        Items that are cached come first in each chunk of `CHUNK`; the rest follow in batches of
        `BATCH`, each stored before it is yielded.

        Args:
            source: reads the items' bytes.
            items: what to extract; equal content is computed once.
            reject: called with each item that cannot be decoded.
        """
        cache = FeatureCache(self._folder, self.spec, self._fingerprint)
        with (
            closing(cache),
            ThreadPoolExecutor(DECODERS) as decoders,
            ThreadPoolExecutor(AT_WORK) as computing,
        ):
            for chunk in _blocks(items, CHUNK):
                known = cache.get(item.sha256 for item in chunk)
                if ready := [Extracted(i, known[i.sha256]) for i in chunk if i.sha256 in known]:
                    yield ready
                missing: dict[str, list[Hashed]] = {}
                for item in chunk:
                    if item.sha256 not in known:
                        missing.setdefault(item.sha256, []).append(item)
                if missing:
                    _ = self.backbone  # loaded here: TensorFlow starts in the main thread
                with closing(self._decoded(decoders, source, missing, reject)) as batches:
                    for fresh in _ahead(computing, self._compute, batches):
                        cache.put(fresh)
                        self.computed += len(fresh)
                        yield [
                            Extracted(item, one)
                            for key, one in fresh.items()
                            for item in missing[key]
                        ]

    def features(self, data: bytes) -> NDArray[np.float32]:
        """Run the backbone on one picture, past the cache: nothing of it is kept.

        Args:
            data: the picture's bytes.

        Returns:
            ``(width,) float32``.

        Raises:
            ImageError: they are no picture.
        """
        pixels = prepare(data, self.spec.input_size).pixels
        return np.asarray(self.backbone(pixels[None])[0])

    def _decoded(
        self,
        pool: ThreadPoolExecutor,
        source: Source,
        missing: dict[str, list[Hashed]],
        reject: Callable[[Rejected], object],
    ) -> Generator[dict[str, Prepared]]:
        """Yield batches of decoded images by content hash, decoding two batches ahead."""
        waiting: deque[tuple[str, Future[Prepared]]] = deque()
        batch: dict[str, Prepared] = {}
        remaining = iter(missing)
        try:
            while True:
                for digest in islice(remaining, 2 * BATCH - len(waiting)):
                    first = missing[digest][0]
                    waiting.append((digest, pool.submit(self._prepare, source, first)))
                if not waiting:
                    break
                digest, future = waiting.popleft()
                try:
                    batch[digest] = future.result()
                except ImageError as error:  # a file of the same content may still be good
                    item, *others = missing[digest]
                    missing[digest] = others
                    reject(Rejected(item.record.path, str(error)))
                    if others:
                        again = pool.submit(self._prepare, source, others[0])
                        waiting.append((digest, again))
                if len(batch) == BATCH:
                    yield batch
                    batch = {}
            if batch:
                yield batch
        finally:
            for _, future in waiting:
                future.cancel()

    def _prepare(self, source: Source, item: Hashed) -> Prepared:
        data = source.read(item.record)
        if hashlib.sha256(data).hexdigest() != item.sha256:  # never cache under another's hash
            raise ImageError("changed while it was read; run again")
        return prepare(data, self.spec.input_size)

    def _compute(self, batch: dict[str, Prepared]) -> dict[str, Features]:
        pixels = np.stack([prepared.pixels for prepared in batch.values()])
        vectors = self.backbone(pixels)
        return {
            digest: Features(vector, prepared.width, prepared.height)
            for (digest, prepared), vector in zip(batch.items(), vectors, strict=True)
        }


def _ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield ``work`` of each item in order, the next `AT_WORK` under way while one is used."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > AT_WORK:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _blocks(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    remaining = iter(items)
    while block := list(islice(remaining, size)):
        yield block
