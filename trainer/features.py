"""Feature extraction: features from the cache, and the backbone pass that fills it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.data.dataset import HashedRecord, Rejected, blocks
from geosim.trainer.data.images import Prepared
from geosim.trainer.data.sources import Source
from geosim.trainer.data.views import prepare_views
from geosim.trainer.decoding.account import PLAIN
from geosim.trainer.decoding.encoded import Encoded, sha256_of
from geosim.trainer.errors import ImageError
from geosim.trainer.feature_cache import FeatureCache, Features, rounded
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.choice import gpu_present
from geosim.trainer.runtime.machine import Pace, choose_pace, gpu_memory, usable_cores

CONCURRENT_BATCHES = 2
"""Backbone calls that run at the same time."""

LOOKUP_SIZE = 2048
"""Views looked up in the cache at once; bounds the memory of a pass."""

CHANGED = "changed while it was read; run again, with --rehash if that repeats"
"""Why a picture whose bytes are not those of its hash is rejected."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Extracted:
    """A record with its features."""

    item: HashedRecord
    features: Features


@dataclass(eq=False)
class FeatureExtractor:
    """Takes features from the cache and runs the backbone for the missing ones.

    The features of an image are those of its first ``views`` views, one after the other.
    """

    spec: BackboneSpec
    fingerprint: str  # of the backbone
    load: Callable[[], Backbone]
    cache_folder: Path
    views: int = 1
    computed: int = field(default=0, init=False)  # images that went through the backbone so far

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone, loaded on first use."""
        return self.load()

    @cached_property
    def pace(self) -> Pace:
        """The numbers of threads and images that suit this machine."""
        gpu = gpu_memory() if self.spec.keras and gpu_present() else None
        return choose_pace(usable_cores(), gpu, self.spec.input_size)

    def extract(
        self,
        source: Source,
        items: Iterable[HashedRecord],
        *,
        reject: Callable[[Rejected], object],
    ) -> Iterator[list[Extracted]]:
        """Yield every item with its features, in batches and in no fixed order.

        Of each block of items, `LOOKUP_SIZE` views, the cached ones come first. The others follow
        in batches of about `Pace.batch` views, each stored before it is yielded; equal content is
        computed once. ``reject`` is called with each item that cannot be decoded.

        Raises:
            ModelError: the cache or the backbone cannot be used.
        """
        cache = self.open_cache()
        with (
            closing(cache),
            ThreadPoolExecutor(self.pace.decode_threads) as decoders,
            ThreadPoolExecutor(CONCURRENT_BATCHES) as computing,
        ):
            for block in blocks(items, max(1, LOOKUP_SIZE // self.views)):
                known = cache.get(item.sha256 for item in block)
                if ready := [Extracted(i, known[i.sha256]) for i in block if i.sha256 in known]:
                    yield ready
                missing: dict[str, list[HashedRecord]] = {}
                for item in block:
                    if item.sha256 not in known:
                        missing.setdefault(item.sha256, []).append(item)
                if missing:
                    _ = self.backbone  # TensorFlow must start in the main thread
                compute = partial(self._compute, cache.get(missing, former=True))
                with closing(self._decode(decoders, source, missing, reject)) as batches:
                    computed = map_ahead(computing, compute, batches, CONCURRENT_BATCHES)
                    for fresh, count in computed:
                        cache.put(fresh)
                        self.computed += count
                        yield [
                            Extracted(item, one)
                            for key, one in fresh.items()
                            for item in missing[key]
                        ]

    def outdated(self, items: Iterable[HashedRecord]) -> list[HashedRecord]:
        """Return the items whose cached features note no decoder.

        Raises:
            ModelError: the cache cannot be used.
        """
        with closing(self.open_cache()) as cache:
            former = cache.former()
        return [item for item in items if item.sha256 in former]

    def features(self, data: Encoded) -> NDArray[np.float32]:
        """Return one image file's features, ``(views * feature_width,) float32``; use no cache.

        Raises:
            ImageError: the bytes cannot be decoded.
        """
        (vector,) = self.run([prepare_views(data, self.spec.input_size, self.views)])
        return np.asarray(vector)

    def open_cache(self) -> FeatureCache:
        """Open the cache; raise `ModelError` if it cannot be used."""
        return FeatureCache(self.cache_folder, self.spec, self.fingerprint, views=self.views)

    def run(self, images: Iterable[Prepared]) -> NDArray[np.float32]:
        """Return the features of decoded images, ``(n, views * feature_width) float32``."""
        pixels = np.concatenate([image.pixels for image in images])
        vectors = np.asarray(self.backbone(pixels)).reshape(len(pixels) // self.views, -1)
        return rounded(vectors, self.spec.feature_width)

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
        size = -(-self.pace.batch // self.views)  # in images
        ahead = max(2 * size, self.pace.decode_threads)
        outcomes = map_ahead(pool, decode, list(missing.values()), ahead)
        with closing(outcomes):
            for digest, (prepared, rejected) in zip(list(missing), outcomes, strict=True):
                for one in rejected:
                    reject(one)
                missing[digest] = missing[digest][len(rejected) :]
                if prepared is not None:
                    batch[digest] = prepared
                if len(batch) == size:
                    yield batch
                    batch = {}
        if batch:
            yield batch

    def _prepare(self, source: Source, item: HashedRecord) -> Prepared | Rejected:
        try:
            data = source.read(item.record)
            if sha256_of(data) == item.sha256:
                return prepare_views(data, self.spec.input_size, self.views)
        except ImageError as error:
            return Rejected(item.record.path, str(error))
        return Rejected(item.record.path, CHANGED)

    def _compute(
        self, former: dict[str, Features], batch: dict[str, Prepared]
    ) -> tuple[dict[str, Features], int]:
        """Return the features of a batch, and how many of them the backbone computed.

        ``former`` are features that note no decoder; those of plain pictures are kept.
        """
        found = {
            digest: replace(former[digest], decoding=prepared.decoding)
            for digest, prepared in batch.items()
            if digest in former and prepared.decoding.decoder == PLAIN
        }
        rest = {digest: prepared for digest, prepared in batch.items() if digest not in found}
        if rest:
            for (digest, one), vector in zip(rest.items(), self.run(rest.values()), strict=True):
                found[digest] = Features(vector, one.width, one.height, one.decoding)
        return found, len(rest)


def map_ahead(
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
