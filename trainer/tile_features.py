"""Features of the tiles of a picture, from the cache of features or computed.

A tile is embedded as a picture of its own would be. Its features are kept under a hash of the
file's hash and the tile's box.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from PIL import Image

from geosim.trainer.data.dataset import HashedRecord, blocks
from geosim.trainer.data.images import Prepared
from geosim.trainer.data.sources import Source
from geosim.trainer.data.tiles import open_parts
from geosim.trainer.data.upright import Decoded
from geosim.trainer.data.views import views_of
from geosim.trainer.decoding.account import Decoding
from geosim.trainer.decoding.encoded import sha256_of
from geosim.trainer.decoding.vips_rows import Box
from geosim.trainer.errors import ImageError
from geosim.trainer.feature_cache import Features
from geosim.trainer.features import CHANGED, CONCURRENT_BATCHES, FeatureExtractor, map_ahead

PIXELS_AHEAD = 2**25
"""Pixels of the tiles that are held at once, before they are resized."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile with its features, and the size of its picture."""

    box: Box
    features: Features
    picture: tuple[int, int]


class TileExtractor:
    """Extracts features of tiles; ``computed`` counts those that went through the backbone."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor, self._cache = extractor, extractor.open_cache()
        self.computed = 0

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()

    def extract(
        self,
        source: Source,
        item: HashedRecord,
        boxes_of: Callable[[int, int], list[Box]],
        size: tuple[int, int] | None = None,
    ) -> Iterator[list[Tile]]:
        """Yield the tiles of a picture in batches; ``boxes_of`` takes its width and height.

        ``size`` is those if they are known, so that a picture whose tiles are all in the cache is
        not read.

        Raises:
            ImageError: the picture cannot be decoded, or was changed.
            ModelError: the backbone cannot be used.
        """
        with ExitStack() as stack:
            cache, digest = self._cache, partial(_digest, item.sha256)
            if size is not None:
                boxes = boxes_of(*size)
                known = cache.get(map(digest, boxes))
                if len(known) == len(boxes):
                    yield [Tile(box, known[digest(box)], size) for box in boxes]
                    return
            data = source.read(item.record)
            if sha256_of(data) != item.sha256:
                raise ImageError(CHANGED)
            picture = stack.enter_context(open_parts(data))
            boxes = boxes_of(*picture.size)
            known = cache.get(map(digest, boxes))
            if known:
                done = [box for box in boxes if digest(box) in known]
                yield [Tile(box, known[digest(box)], picture.size) for box in done]
            missing = [box for box in boxes if digest(box) not in known]
            if missing:
                _ = self._extractor.backbone  # TensorFlow must start in the main thread
            pace = self._extractor.pace
            decoders = stack.enter_context(ThreadPoolExecutor(pace.decode_threads))
            computing = stack.enter_context(ThreadPoolExecutor(CONCURRENT_BATCHES))
            prepare = partial(self._prepare, picture.decoding)
            width, height = boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1]
            ahead = max(1, min(2 * pace.decode_threads, PIXELS_AHEAD // (width * height)))
            prepared = stack.enter_context(
                closing(map_ahead(decoders, prepare, picture.parts(missing), ahead))
            )
            batches = blocks(prepared, max(1, pace.batch // self._extractor.views))
            computed = map_ahead(computing, self._compute, batches, CONCURRENT_BATCHES)
            for batch in stack.enter_context(closing(computed)):
                cache.put({digest(box): features for box, features in batch})
                self.computed += len(batch)
                yield [Tile(box, features, picture.size) for box, features in batch]

    def _prepare(self, decoding: Decoding, part: tuple[Box, Image.Image]) -> tuple[Box, Prepared]:
        box, image = part
        size = (box[2] - box[0], box[3] - box[1])
        extractor = self._extractor
        views = views_of(Decoded(image, size, decoding), extractor.spec.input_size, extractor.views)
        return box, views

    def _compute(self, batch: Sequence[tuple[Box, Prepared]]) -> list[tuple[Box, Features]]:
        vectors = self._extractor.run(prepared for _, prepared in batch)
        return [
            (box, Features(vector, one.width, one.height, one.decoding))
            for (box, one), vector in zip(batch, vectors, strict=True)
        ]


def _digest(sha256: str, box: Box) -> str:
    return hashlib.sha256(f"{sha256} {' '.join(map(str, box))}".encode()).hexdigest()
