"""Feature extraction: the cache of features on disk, and the backbone pass that fills it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.data.dataset import HashedRecord, Rejected, blocks
from geosim.trainer.data.images import Prepared, prepare
from geosim.trainer.data.sources import Source
from geosim.trainer.errors import ImageError, ModelError
from geosim.trainer.files import READ_ONLY
from geosim.trainer.runtime.backbone import Backbone

BATCH_SIZE = 16
"""Images per backbone call and per transaction of the cache."""

CONCURRENT_BATCHES = 2
"""Backbone calls that run at the same time."""

LOOKUP_SIZE = 2048
"""Images looked up in the cache at once; bounds the memory of a pass."""

DECODE_THREADS = 2
"""Threads that decode images for the backbone."""

_SQL_KEYS = 512  # keys per SELECT; old SQLite versions accept 999 variables

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one image."""

    vector: NDArray[np.float32]  # (feature_width,)
    width: int  # of the original image in pixels
    height: int


@dataclass(frozen=True, slots=True)
class Extracted:
    """A record with its features."""

    item: HashedRecord
    features: Features


class FeatureCache:
    """Features by content hash, in one SQLite file per backbone fingerprint.

    Each batch is one transaction in a write-ahead log: a killed process loses only the batches
    that are not stored yet. Several processes may share the file. Where the folder or the file
    cannot be written, the cache is in memory.
    """

    def __init__(self, folder: Path, spec: BackboneSpec, fingerprint: str) -> None:
        self.path = folder / f"{spec.name}-{fingerprint[:16]}.sqlite"
        self._bytes = spec.feature_width * 4
        with self._translate_errors():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # SQLite fails at once where two processes turn on the log at the same time.
                with FileLock(self.path.with_suffix(".lock")), self.path.open("ab"):
                    self._open(self.path)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                self._open(":memory:")

    def _open(self, path: Path | str) -> None:
        self._database = sqlite3.connect(path, timeout=60.0)
        try:
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
        """Return the cached features of ``digests``, hex SHA-256 of the images' bytes."""
        found: dict[str, Features] = {}
        with self._translate_errors():
            for keys in blocks(dict.fromkeys(digests), _SQL_KEYS):
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
        """Store features by content hash in one transaction."""
        rows = [
            (bytes.fromhex(digest), one.width, one.height, one.vector.astype("<f4").tobytes())
            for digest, one in features.items()
        ]
        with self._translate_errors(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO features VALUES (?,?,?,?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ModelError(
                f"the feature cache {self.path} cannot be used: {error}; check that the folder is "
                "writable and the disk is not full, or delete the file to have it made again"
            ) from error


@dataclass(eq=False)
class FeatureExtractor:
    """Takes features from the cache and runs the backbone for the missing ones."""

    spec: BackboneSpec
    fingerprint: str  # of the backbone
    load: Callable[[], Backbone]
    cache_folder: Path
    computed: int = field(default=0, init=False)  # images that went through the backbone so far

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone, loaded on first use."""
        return self.load()

    def extract(
        self,
        source: Source,
        items: Iterable[HashedRecord],
        *,
        reject: Callable[[Rejected], object],
    ) -> Iterator[list[Extracted]]:
        """Yield every item with its features, in batches and in no fixed order.

        Of each `LOOKUP_SIZE` items the cached ones come first. The others follow in batches of
        `BATCH_SIZE`, each stored before it is yielded; equal content is computed once. ``reject``
        is called with each item that cannot be decoded.

        Raises:
            ModelError: the cache or the backbone cannot be used.
        """
        cache = FeatureCache(self.cache_folder, self.spec, self.fingerprint)
        with (
            closing(cache),
            ThreadPoolExecutor(DECODE_THREADS) as decoders,
            ThreadPoolExecutor(CONCURRENT_BATCHES) as computing,
        ):
            for block in blocks(items, LOOKUP_SIZE):
                known = cache.get(item.sha256 for item in block)
                if ready := [Extracted(i, known[i.sha256]) for i in block if i.sha256 in known]:
                    yield ready
                missing: dict[str, list[HashedRecord]] = {}
                for item in block:
                    if item.sha256 not in known:
                        missing.setdefault(item.sha256, []).append(item)
                if missing:
                    _ = self.backbone  # TensorFlow must start in the main thread
                with closing(self._decode(decoders, source, missing, reject)) as batches:
                    computed = _map_ahead(computing, self._compute, batches, CONCURRENT_BATCHES)
                    for fresh in computed:
                        cache.put(fresh)
                        self.computed += len(fresh)
                        yield [
                            Extracted(item, one)
                            for key, one in fresh.items()
                            for item in missing[key]
                        ]

    def features(self, data: bytes) -> NDArray[np.float32]:
        """Return the features of one image file, ``(feature_width,) float32``, without the cache.

        Raises:
            ImageError: the bytes cannot be decoded.
        """
        pixels = prepare(data, self.spec.input_size).pixels
        return np.asarray(self.backbone(pixels[None])[0])

    def _decode(
        self,
        pool: ThreadPoolExecutor,
        source: Source,
        missing: dict[str, list[HashedRecord]],
        reject: Callable[[Rejected], object],
    ) -> Generator[dict[str, Prepared]]:
        """Yield batches of decoded images by content hash; drop rejected items from ``missing``."""

        def decode(items: list[HashedRecord]) -> tuple[Prepared | None, list[Rejected]]:
            rejected: list[Rejected] = []
            for item in items:  # all have the same content
                outcome = self._prepare(source, item)
                if isinstance(outcome, Prepared):
                    return outcome, rejected
                rejected.append(outcome)
            return None, rejected

        batch: dict[str, Prepared] = {}
        outcomes = _map_ahead(pool, decode, list(missing.values()), 2 * BATCH_SIZE)
        with closing(outcomes):
            for digest, (prepared, rejected) in zip(list(missing), outcomes, strict=True):
                for one in rejected:
                    reject(one)
                missing[digest] = missing[digest][len(rejected) :]
                if prepared is not None:
                    batch[digest] = prepared
                if len(batch) == BATCH_SIZE:
                    yield batch
                    batch = {}
        if batch:
            yield batch

    def _prepare(self, source: Source, item: HashedRecord) -> Prepared | Rejected:
        try:
            data = source.read(item.record)
            if hashlib.sha256(data).hexdigest() == item.sha256:
                return prepare(data, self.spec.input_size)
        except ImageError as error:
            return Rejected(item.record.path, str(error))
        return Rejected(
            item.record.path, "changed while it was read; run again, with --rehash if that repeats"
        )

    def _compute(self, batch: dict[str, Prepared]) -> dict[str, Features]:
        pixels = np.stack([prepared.pixels for prepared in batch.values()])
        vectors = self.backbone(pixels)
        return {
            digest: Features(vector, prepared.width, prepared.height)
            for (digest, prepared), vector in zip(batch.items(), vectors, strict=True)
        }


def _map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R]:
    """Yield ``function`` of each item in order, with ``ahead`` calls submitted in advance."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
