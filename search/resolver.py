"""Resolves queries to vectors: files, stored paths, pictures in memory, embeddings.

The vector is the stored one of an indexed image, or of an image with the same bytes; otherwise the
model's embedding.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.catalog import ImageReader
from geosim.ingest.models import model_of, require_model_of
from geosim.ingest.schema import (
    Filter,
    ModelRef,
    Payload,
    Point,
    point_id,
)
from geosim.ingest.store.base import VectorStore
from geosim.search.copies import Copies
from geosim.search.crop import Crop
from geosim.search.queries import QueryLike, ResolvedQuery, read_queries
from geosim.trainer.data.sources import Files
from geosim.trainer.decoding.encoded import Encoded, sha256_of
from geosim.trainer.errors import ImageError, ModelError, QueryError
from geosim.trainer.kept import find_card
from geosim.trainer.text import on_disk, stored_name
from geosim.trainer.working import Working

if TYPE_CHECKING:  # all that embeds takes a moment to load, and an indexed image needs none of it
    from geosim.trainer.data.dataset import HashedRecord, Rejected
    from geosim.trainer.data.passed_over import PassedOver
    from geosim.trainer.features import FeatureExtractor
    from geosim.trainer.model import Model


class Resolver:
    """Finds the vectors of queries.

    It takes what is stored for vectors of one model: see `consistently`.

    The model is needed only for images whose content is not in the collection; the backbone is
    loaded only if it is not in the feature cache either. Pictures in memory are not cached.
    """

    def __init__(self, store: VectorStore, working: Working, made_by: ModelRef) -> None:
        """Load nothing yet of the model ``made_by`` of the collection."""
        self._store, self._working, self._made_by = store, working, made_by
        self._place = {"name": store.name, "location": store.location}
        self._loading = threading.Lock()
        self._model: Model | None = None

    @property
    def fingerprint(self) -> str:
        """That of the collection's model."""
        return self._made_by.fingerprint

    @property
    def has_model(self) -> bool:
        """Whether the working folder has the collection's model, as far as its card tells."""
        return find_card(self._working.model, self.fingerprint) is not None

    def refuse_others(self) -> None:
        """Raise `ModelMismatchError` if the working folder has models, but not the collection's."""
        with suppress(ModelError):  # there is none: told where it is needed
            require_model_of(self._made_by, self._working, **self._place)

    def require_model(self) -> Model:
        """Return the model, loaded once; raise `ModelError` or `ModelMismatchError` without it."""
        with self._loading:
            if self._model is None:
                self._model = model_of(self._made_by, self._working, **self._place)
            return self._model

    def resolve(
        self,
        queries: Sequence[QueryLike | ResolvedQuery],
        copies: Copies,
        crop: Crop | None = None,
    ) -> list[ResolvedQuery]:
        """Return each query with its vector, or with the reason why it has none.

        ``copies`` are those of the search that the queries belong to. With ``crop`` the vector is
        that of a part of each picture, embedded as a picture of its own.

        Raises:
            ModelError, ModelMismatchError: a query must be embedded and the model is not there.
            QueryError: an array is neither a picture nor an embedding.
        """
        resolved = self.look_up(queries, copies)
        if crop is not None:
            for query in resolved:
                if query.error is None:
                    self._cut(query, crop, copies)
        self._embed([query for query in resolved if query.vector is None and query.error is None])
        return resolved

    def look_up(
        self, queries: Sequence[QueryLike | ResolvedQuery], copies: Copies
    ) -> list[ResolvedQuery]:
        """Return each query with its stored vector, if it has one, or the reason why there is none.

        Nothing is embedded. See `resolve`, which goes on from here.
        """
        resolved = read_queries(queries)
        self._take_stored([query for query in resolved if query.vector is None], copies)
        return resolved

    def warm_up(self) -> None:
        """Load the backbone now instead of with the first query that needs it."""
        if self.has_model:
            _ = self._extractor.backbone

    def _take_stored(self, queries: Sequence[ResolvedQuery], copies: Copies) -> None:
        """Take stored vectors: of the indexed image that a query is, or of an identical one."""
        ids = {point_id(path) for query in queries for path in query.candidates}
        points = {point.payload.path: point for point in self._store.fetch(sorted(ids))}
        for query in queries:
            if query.error is not None:
                continue
            known = (points[path] for path in query.candidates if path in points)
            point = next((p for p in known if query.sha256 in ("", p.payload.sha256)), None)
            identical = copies.of(query.sha256) if point is None else []
            tile = self._tile_of(query, identical) if point is None else None
            if tile is not None:
                if tile.path in query.candidates:
                    query.indexed, query.sha256 = tile, tile.sha256
            elif point is not None:
                query.indexed, query.vector = point.payload, point.vector
                query.sha256 = point.payload.sha256
            elif not query.sha256:
                stored = [one.payload.path for one in self._store.sample(1, vectors=False)]
                query.error = (
                    "neither a file nor an indexed image; a stored path looks like "
                    f"{(*stored, 'dataset/class/image.jpg')[0]}"
                )
            elif identical:
                query.twin, query.vector = identical[0].payload, identical[0].vector

    def _tile_of(self, query: ResolvedQuery, identical: Sequence[Point]) -> Payload | None:
        """Return a tile of the indexed image that a query is, else of an identical one."""
        if query.sha256:
            found = [one.payload for one in identical if one.payload.box is not None]
            return min(found, key=lambda one: one.path not in query.candidates, default=None)
        for path in query.candidates:
            for batch in self._store.scan(Filter(path=path), vectors=False):
                return next((one.payload for one in batch if one.payload.box is not None), None)
        return None

    def _cut(self, query: ResolvedQuery, crop: Crop, copies: Copies) -> None:
        """Take the vector of a part of a query's picture, unless the part is the whole."""
        from geosim.search.given import cut_out

        try:
            found = cut_out(self._read_picture(query), crop)
        except (ImageError, QueryError) as error:
            query.error = str(error)
            return
        if found is not None:
            query.data, query.crop = found
            query.sha256 = sha256_of(query.data)
            identical = copies.of(query.sha256)
            if identical and identical[0].payload.box is None:
                query.vector = identical[0].vector
            else:
                self._embed([query])
            query.data = None  # many parts would take much memory

    def _read_picture(self, query: ResolvedQuery) -> Encoded:
        """Return the bytes of a query's whole picture."""
        if query.data is not None:
            return query.data
        if query.file is not None:
            return Files().read(query.file)
        if query.indexed is None:
            raise QueryError("an embedding has no picture to take a part of; name the picture")
        try:
            data = self._stored.read(query.indexed.path)
        except ImageError as error:
            raise ImageError(f"its picture, which must be read, is {error}") from error
        if sha256_of(data) != query.indexed.sha256:
            raise ImageError("it was changed since it was indexed; ingest the data set again")
        return data

    @cached_property
    def _stored(self) -> ImageReader:
        return ImageReader(self._working.datasets)

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        return self.require_model().extractor(self._working.features)

    def _embed(self, queries: Sequence[ResolvedQuery]) -> None:
        """Embed pictures: those in memory one by one, files together."""
        if not queries:
            return
        from geosim.trainer.data.dataset import HashedRecord

        files: dict[str, list[ResolvedQuery]] = {}  # the same file may be named twice
        items: list[HashedRecord] = []
        for query in queries:
            if query.data is not None:
                try:
                    self._set_vector([query], self._extractor.features(query.data))
                except ImageError as error:
                    query.error = str(error)
            elif query.file is None and query.indexed is not None:  # stored in tiles only
                try:
                    picture = self._read_picture(query)
                    self._set_vector([query], self._extractor.features(picture))
                except ImageError as error:
                    query.error = str(error)
            elif query.file is not None:
                if query.text not in files:
                    items.append(HashedRecord(query.file, query.sha256))
                files.setdefault(query.text, []).append(query)
        if not files:
            return

        def reject(rejected: Rejected) -> None:
            for query in files[rejected.path]:
                query.error = rejected.reason

        for batch in self._extractor.extract(Files(), items, reject=reject):
            for extracted in batch:
                self._set_vector(files[extracted.item.record.path], extracted.features.vector)

    def _set_vector(self, queries: Sequence[ResolvedQuery], features: NDArray[np.float32]) -> None:
        vector = self.require_model().head(features[None])[0]
        for query in queries:
            query.vector = vector
            if not vector.any():
                query.error = "the model embeds it to a zero vector: nothing to compare"


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
        from geosim.trainer.data.drawings import drawn_images
        from geosim.trainer.data.layout import stored_parts
        from geosim.trainer.data.passed_over import count_passed_over, is_image, own_folder
        from geosim.trainer.data.walk import walk

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
