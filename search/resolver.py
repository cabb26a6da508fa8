"""Resolves queries to vectors: files, stored paths, pictures in memory, embeddings.

The vector is the stored one of an indexed image, or of an image with the same bytes; otherwise the
model's embedding.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import ModelRef, Payload, point_id, require_same_model
from geosim.ingest.store.base import VectorStore
from geosim.search.copies import Copies
from geosim.search.given import Picture, picture_bytes
from geosim.trainer.data.dataset import HashedRecord, Rejected
from geosim.trainer.data.drawings import drawn_images
from geosim.trainer.data.layout import stored_parts
from geosim.trainer.data.passed_over import (
    PassedOver,
    count_passed_over,
    is_image,
    own_folder,
)
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.data.walk import walk
from geosim.trainer.errors import ImageError, ModelError, QueryError, StoreError
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.model import Model, load_model
from geosim.trainer.text import on_disk, spellings, stored_name
from geosim.trainer.working import Working

QueryLike = str | os.PathLike[str] | Picture
"""A query: the path of a file or of an indexed image, a picture in memory, or an embedding, an
array ``(32,) float32``."""


@dataclass(slots=True)
class ResolvedQuery:
    """A query, its vector and the indexed image that it is.

    Attributes:
        text: the path as it was given, ``<picture>`` or ``<embedding>``.
        sha256: hex digest of the picture's bytes; empty if they are unknown.
        candidates: stored paths that the file may have.
        data: the bytes of a picture in memory.
        indexed: the indexed image that the query is, if any.
        vector: ``(32,) float32``; None until it is known.
        error: why there is no vector.
    """

    text: str
    sha256: str = ""
    candidates: list[str] = field(default_factory=list)
    data: bytes | None = None
    indexed: Payload | None = None
    vector: NDArray[np.float32] | None = None
    error: str | None = None

    @property
    def own_ids(self) -> frozenset[str]:
        """The id of the indexed image that the query is, if any."""
        return frozenset() if self.indexed is None else frozenset((self.indexed.id,))


class Resolver:
    """Finds the vectors of queries.

    The model is needed only for images whose content is not in the collection; the backbone is
    loaded only if it is not in the feature cache either. Pictures in memory are not cached.
    """

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open the collection and, if there is one, its model.

        Raises:
            StoreError: there is no collection, or it is empty.
            ModelMismatchError: the model in ``working`` is not the collection's.
        """
        info = store.info()
        if info is None or info.points == 0:
            state = "does not exist" if info is None else "is empty"
            raise StoreError(
                f"collection {store.name!r} at {store.location} {state}; fill it with "
                "`geosim ingest DATA`"
            )
        self._store, self._working = store, working
        self._model: Model | str
        try:
            self._model = load_model(working.model)
        except ModelError as error:  # raised anew by each query that needs the model
            self._model = str(error)
        else:
            model = ModelRef(self._model.fingerprint, self._model.spec.name)
            require_same_model(info, model, name=store.name)

    def resolve(
        self, queries: Sequence[QueryLike | ResolvedQuery], copies: Copies
    ) -> list[ResolvedQuery]:
        """Return each query with its vector, or with the reason why it has none.

        ``copies`` are those of the search that the queries belong to.

        Raises:
            ModelError: a query must be embedded and there is no model.
            QueryError: an array is neither a picture nor an embedding.
        """
        resolved = [q if isinstance(q, ResolvedQuery) else _read_query(q) for q in queries]
        self._look_up([query for query in resolved if query.vector is None], copies)
        self._embed([query for query in resolved if query.vector is None and query.error is None])
        return resolved

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first query that needs it."""
        if isinstance(self._model, Model):
            _ = self._extractor.backbone

    def _look_up(self, queries: Sequence[ResolvedQuery], copies: Copies) -> None:
        """Take stored vectors: of the indexed image that a query is, or of an identical one."""
        ids = {point_id(path) for query in queries for path in query.candidates}
        points = {point.payload.path: point for point in self._store.fetch(sorted(ids))}
        for query in queries:
            if query.error is not None:
                continue
            known = (points[path] for path in query.candidates if path in points)
            point = next((p for p in known if query.sha256 in ("", p.payload.sha256)), None)
            if point is not None:
                query.indexed, query.vector = point.payload, point.vector
                query.sha256 = point.payload.sha256
            elif not query.sha256:
                stored = (batch[0].payload.path for batch in self._store.scan(vectors=False))
                query.error = (
                    "neither a file nor an indexed image; a stored path looks like "
                    f"{next(stored, 'dataset/class/image.jpg')}"
                )
            elif identical := copies.of(query.sha256):
                query.vector = identical[0].vector

    def _require_model(self) -> Model:
        if isinstance(self._model, str):
            raise ModelError(self._model)
        return self._model

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        return self._require_model().extractor(self._working.features)

    def _embed(self, queries: Sequence[ResolvedQuery]) -> None:
        """Embed pictures: those in memory one by one, files together."""
        files: dict[str, list[ResolvedQuery]] = {}  # the same file may be named twice
        for query in queries:
            if query.data is None:
                files.setdefault(query.text, []).append(query)
                continue
            try:
                self._set_vector([query], self._extractor.features(query.data))
            except ImageError as error:
                query.error = str(error)
        if not files:
            return

        def reject(rejected: Rejected) -> None:
            for query in files[rejected.path]:
                query.error = rejected.reason

        items = [
            HashedRecord(Record(text, "", os.fspath(on_disk(Path(text)))), queries[0].sha256)
            for text, queries in files.items()
        ]
        for batch in self._extractor.extract(Files(), items, reject=reject):
            for extracted in batch:
                self._set_vector(files[extracted.item.record.path], extracted.features.vector)

    def _set_vector(self, queries: Sequence[ResolvedQuery], features: NDArray[np.float32]) -> None:
        vector = self._require_model().head(features[None])[0]
        for query in queries:
            query.vector = vector
            if not vector.any():
                query.error = "the model embeds it to a zero vector: nothing to compare"


def _read_query(query: QueryLike) -> ResolvedQuery:
    """Read the file of a query, or check its picture or embedding."""
    if isinstance(query, str | os.PathLike):
        return _read_file(os.fspath(query))
    if isinstance(query, np.ndarray) and query.ndim == 1:
        return _read_embedding(query)
    try:
        data = picture_bytes(query)
    except ImageError as error:
        return ResolvedQuery("<picture>", error=str(error))
    return ResolvedQuery("<picture>", hashlib.sha256(data).hexdigest(), data=data)


def _read_embedding(query: NDArray[Any]) -> ResolvedQuery:
    if query.shape != (EMBEDDING_DIM,) or query.dtype.kind not in "uif":
        raise QueryError(
            f"an embedding is an array of shape ({EMBEDDING_DIM},) of floats, received "
            f"{query.shape} {query.dtype}"
        )
    vector = query.astype(np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise QueryError("an embedding must be finite and not zero")
    return ResolvedQuery("<embedding>", vector=vector)


def _read_file(text: str) -> ResolvedQuery:
    """Read a file, if there is one, and list the stored paths that it may have."""
    try:
        path = on_disk(Path(text))
        if path.is_dir():
            return ResolvedQuery(text, error="is a folder; name the images in it")
        if not path.exists():
            return ResolvedQuery(text, candidates=spellings(path.as_posix()))
        data = Files().read(Record(text, "", os.fspath(path)))
    except (ImageError, OSError, ValueError) as error:
        return ResolvedQuery(text, error=str(getattr(error, "strerror", None) or error))
    parts = Path(os.path.abspath(path)).parts  # noqa: PTH100 - resolves "..", not links
    suffixes = ["/".join(parts[start:]) for start in range(1, len(parts) - 1)]
    candidates = [one for suffix in suffixes for one in spellings(suffix)]
    return ResolvedQuery(text, hashlib.sha256(data).hexdigest(), candidates)


def expand(
    paths: Iterable[str],
    exclude: Sequence[str] = (),
    *,
    report: Callable[[PassedOver], object] = lambda _: None,
) -> Iterator[str]:
    """Yield ``paths``, each folder replaced by the image files below it, sorted.

    They are the files that an ingest of the folder sees. ``report`` is called with the pictures in
    formats that are not read, and with what geosim wrote.

    Raises:
        DatasetError: a folder cannot be listed.
        QueryError: a folder holds no images.
    """
    for text in paths:
        folder = on_disk(Path(text))
        if not text or not os.path.isdir(folder):  # noqa: PTH112 - unlike Path's, never raises
            yield text
            continue
        own: list[tuple[str, ...]] = []
        files = list(walk(folder, exclude, report=own.append))
        images = {
            str(Path(folder, *parts)): stored_parts(parts) for parts in files if is_image(parts)
        }
        sheets = drawn_images([*images], Files())
        others = (stored_parts(parts) for parts in files if not is_image(parts))
        name = stored_name(folder.name)
        for passed_over in (
            *map(own_folder, map(stored_parts, own)),
            *count_passed_over((images[one] for one in sheets), 0, name, own=True),
            *count_passed_over(others, 0, name),
        ):
            if passed_over.picture or passed_over.own:
                report(passed_over)
        inside = sorted(images.keys() - sheets)
        if not inside:
            raise QueryError(f"{text} is a folder without images in it; name an image")
        yield from inside
