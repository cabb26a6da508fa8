"""From what is looked for to a vector: files, stored paths, pictures in memory, embeddings.

Owns how an example is resolved: the stored vector of an indexed image, or of one with the very
same bytes; else the model's embedding. What is then asked of the store is `search/searcher.py`.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from geosim.ingest.schema import Filter, ModelRef, Payload, Point, point_id, require_same_model
from geosim.ingest.store.protocol import VectorStore
from geosim.trainer.data.dataset import Hashed, Rejected
from geosim.trainer.data.images import ENDINGS
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.errors import ImageError, ModelError, QueryError, StoreError
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.model import Model, load_model
from geosim.trainer.working import Working
from numpy.typing import NDArray
from PIL import Image, ImageOps

QueryLike = str | Path | bytes | Image.Image | NDArray[Any]
"""Something to look for: the path of a file or of an indexed image, a picture file's bytes, a
Pillow image, ``(h, w, 3)`` or ``(h, w) uint8`` pixels, or an embedding ``(32,) float32``."""

IN_MEMORY = "<picture>"
"""What stands for the path of a picture that has none."""

ZERO = "the model embeds it to a zero vector: nothing to compare"


@dataclass(slots=True)
class ResolvedQuery:
    """An example on its way to a vector.

    Attributes:
        text: the path as it was given, or `IN_MEMORY`.
        sha256: hex digest of the picture's bytes; empty where it has none.
        candidates: stored paths that the file may have.
        data: the bytes of a picture in memory.
        indexed: the stored image that it is, if it is one.
        vector: ``(32,) float32``, once it is known.
        error: why it has none.
    """

    text: str
    sha256: str = ""
    candidates: list[str] = field(default_factory=list)
    data: bytes | None = None
    indexed: Payload | None = None
    vector: NDArray[np.float32] | None = None
    error: str | None = None


class Resolver:
    """Finds the vectors of examples.

    The model is only needed, and the backbone only loaded, for images whose content is neither in
    the collection nor in the feature cache. Pictures in memory leave no trace in that cache.
    """

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open the collection and, if it is there, its model.

        Raises:
            StoreError: there is no collection, or it is empty.
            ModelMismatchError: the model in ``working`` is not the collection's.
        """
        info = store.info()
        if info is None or info.points == 0:
            raise StoreError(
                f"collection {store.name!r} at {store.location} "
                f"{'does not exist' if info is None else 'is empty'}; fill it with "
                "`geosim ingest DATA`"
            )
        self._store = store
        self._working = working
        self._model: Model | None = None
        self._extractor: FeatureExtractor | None = None
        try:
            self._model = load_model(working.model)
        except ModelError as error:
            self._no_model = error
        else:
            model = ModelRef(self._model.fingerprint, self._model.spec.name)
            require_same_model(info, model, name=store.name)

    def resolve(self, examples: Sequence[QueryLike]) -> list[ResolvedQuery]:
        """Return each example with its vector, or with the reason why it has none.

        Raises:
            ModelError: one must be embedded and there is no model.
            QueryError: an array is neither a picture nor an embedding.
        """
        resolved = [_identified(one) for one in examples]
        self._look_up([one for one in resolved if one.vector is None])
        self._embed([one for one in resolved if one.vector is None and one.error is None])
        return resolved

    def twins(self, one: ResolvedQuery, label: str | None) -> list[Point]:
        """Return the other indexed images with an example's bytes, sorted by path."""
        if not one.sha256:
            return []
        own = frozenset((one.indexed.id,)) if one.indexed else frozenset()
        where = Filter(label=label, sha256=one.sha256, exclude=own)
        points = [point for batch in self._store.scan(where, vectors=True) for point in batch]
        return sorted(points, key=lambda point: point.payload.path)

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first new picture."""
        if self._model is not None:
            _ = self._backbone().backbone

    def _look_up(self, examples: Sequence[ResolvedQuery]) -> None:
        """Take vectors that are stored: under the example's own path, or under a copy's."""
        ids = {point_id(path) for one in examples for path in one.candidates}
        points = {one.payload.path: one for one in self._store.fetch(sorted(ids))}
        for one in examples:
            if one.error is not None:
                continue
            own = _own(one, points)
            if own is not None:
                one.indexed, one.vector = own.payload, own.vector
                one.sha256 = own.payload.sha256
            elif not one.sha256:
                one.error = (
                    "neither a file nor an indexed image; a stored path looks like "
                    f"{self._example()}"
                )
            elif twins := self.twins(one, None):
                one.vector = twins[0].vector

    def _example(self) -> str:
        for batch in self._store.scan(vectors=False):
            return batch[0].payload.path
        return "dataset/class/image.jpg"

    def _backbone(self) -> FeatureExtractor:
        if self._model is None:
            raise self._no_model
        if self._extractor is None:
            self._extractor = self._model.extractor(self._working.features)
        return self._extractor

    def _embed(self, examples: Sequence[ResolvedQuery]) -> None:
        """Embed what is left: pictures in memory one by one, files all at once."""
        for one in examples:
            if one.data is not None:
                try:
                    self._set(one, self._backbone().features(one.data))
                except ImageError as error:
                    one.error = str(error)
        files = {one.text: one for one in examples if one.data is None}
        if not files:
            return

        def reject(rejected: Rejected) -> None:
            files[rejected.path].error = rejected.reason

        items = [Hashed(Record(text, "", text), one.sha256) for text, one in files.items()]
        for batch in self._backbone().extract(Files(), items, reject=reject):
            for extracted in batch:
                self._set(files[extracted.item.record.path], extracted.features.vector)
        for one in examples:  # the same file named twice
            if one.data is None:
                one.vector, one.error = files[one.text].vector, files[one.text].error

    def _set(self, one: ResolvedQuery, features: NDArray[np.float32]) -> None:
        if self._model is None:
            raise self._no_model
        one.vector = self._model.head(features[None])[0]
        if not one.vector.any():
            one.error = ZERO


def _own(one: ResolvedQuery, points: dict[str, Point]) -> Point | None:
    """Return the indexed image that an example is: same path and, for a file, same bytes."""
    for path in one.candidates:
        point = points.get(path)
        if point is not None and one.sha256 in ("", point.payload.sha256):
            return point
    return None


def _identified(example: QueryLike) -> ResolvedQuery:
    """Read what there is to read of an example."""
    if isinstance(example, str | Path):
        return _file(str(example))
    if isinstance(example, bytes):
        return ResolvedQuery(IN_MEMORY, hashlib.sha256(example).hexdigest(), data=example)
    if isinstance(example, Image.Image):
        return _identified(_png(example))
    if example.ndim == 1:
        return _embedding(example)
    if example.dtype != np.uint8 or example.shape[2:] not in ((), (3,)):
        raise QueryError(
            "a picture is an array of shape (height, width, 3) or (height, width) and dtype uint8, "
            f"received {example.shape} {example.dtype}"
        )
    return _identified(_png(Image.fromarray(example)))


def _embedding(vector: NDArray[Any]) -> ResolvedQuery:
    if vector.shape != (EMBEDDING_DIM,):
        raise QueryError(f"an embedding has shape ({EMBEDDING_DIM},), received {vector.shape}")
    vector = vector.astype(np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise QueryError("an embedding must be finite and not zero")
    return ResolvedQuery("<embedding>", vector=vector)


def _png(image: Image.Image) -> bytes:
    """Return an image, upright, as the bytes of a file: one way in for all pictures."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in ("RGB", "RGBA", "L", "LA", "P", "I;16"):
        upright = upright.convert("RGB")
    buffer = io.BytesIO()
    upright.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _file(text: str) -> ResolvedQuery:
    """Read the file, if there is one, and list the stored paths it may have."""
    path = Path(text)
    try:
        text.encode("utf-8")
        if path.is_dir():
            return ResolvedQuery(text, error="is a folder; name the images in it")
        if not path.exists():
            return ResolvedQuery(text, candidates=[path.as_posix()])
        data = Files().read(Record(text, "", text))
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "replace").decode()
        return ResolvedQuery(shown, error="the file name is not valid UTF-8; rename it")
    except (ImageError, OSError, ValueError) as error:
        return ResolvedQuery(text, error=str(getattr(error, "strerror", None) or error))
    parts = Path(os.path.abspath(text)).parts  # noqa: PTH100 - resolves "..", not links
    suffixes = ["/".join(parts[start:]) for start in range(1, len(parts) - 2)]
    return ResolvedQuery(text, hashlib.sha256(data).hexdigest(), suffixes)


def expand(paths: Iterable[str]) -> Iterator[str]:
    """Yield ``paths``, each folder replaced by the image files below it, sorted."""
    for text in paths:
        path = Path(text)
        if not os.path.isdir(text):  # noqa: PTH112 - unlike Path's, never raises
            yield text
            continue
        inside = sorted(
            str(file)
            for file in path.rglob("*")
            if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
        )
        if not inside:
            raise QueryError(f"{text} is a folder without images in it; name an image")
        yield from inside
