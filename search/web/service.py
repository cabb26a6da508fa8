"""From a query to the answer of the API, synchronously.

Owns what each kind of search asks of the searcher. Routes and threads are `search/web/api.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from uuid import UUID

from fastapi import HTTPException

from geosim.ingest.schema import CollectionInfo, Point
from geosim.ingest.store.protocol import VectorStore
from geosim.search.explain import explain, novelty_threshold
from geosim.search.resolver import ResolvedQuery
from geosim.search.searcher import Searcher
from geosim.search.types import DEFAULT_K, Result, SearchOptions
from geosim.search.web.models import (
    MAX_EXAMPLES,
    Answer,
    ByEmbedding,
    CollectionAnswer,
    Count,
    Examples,
    ExplanationAnswer,
    HitAnswer,
    ModelAnswer,
    StoredImage,
    UploadedImage,
)
from geosim.search.web.pictures import MAX_PIXELS, check_pixels
from geosim.search.web.queries import encode_embedding, query_from_point, query_from_text
from geosim.trainer.errors import StoreError
from geosim.trainer.working import Working

MODEL_DIGITS = 12
"""Digits of a model's fingerprint in links."""

Search = Callable[[SearchOptions], Result]


class SearchService:
    """Searches in one collection. Thread-safe; every method blocks."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open for searching and load the model; raises what `Searcher` does, and `ModelError`."""
        self._store = store
        self._working = working
        self._searcher = Searcher(store, working)
        self._searcher.warm_up()
        self._model = self._stored_model()
        self._novelty: float | None = None

    def measure_novelty(self) -> None:
        """Measure the usual best score; until then no picture counts as unlike the collection."""
        self._novelty = novelty_threshold(self._store, self._working)

    def by_picture(self, data: bytes, options: SearchOptions) -> Answer:
        """Search by the bytes of an uploaded file.

        Raises:
            HTTPException: the collection has another model since the start.
            ImageError: the bytes are not a picture, or one of too many pixels.
        """
        check_pixels(data)
        if self._stored_model() != self._model:
            raise HTTPException(503, "the collection has another model now; start the page again")
        return self._answer(self._searcher.resolve(data), options)

    def by_embedding(self, parameters: ByEmbedding) -> Answer:
        """Search by the embedding of a picture that was uploaded before."""
        query = _uploaded_query(parameters, self._stored_model())
        return self._answer(query, parameters.options())

    def by_point(self, id_: str, options: SearchOptions) -> Answer:
        """Search by an indexed image."""
        (point,) = self.points([id_])
        answer = self._answer(query_from_point(point), options)
        answer.query = StoredImage.of(point.payload)
        return answer

    def by_examples(self, examples: Examples) -> Answer:
        """Search by several images."""
        uploads = any(isinstance(e, UploadedImage) for e in examples.positive + examples.negative)
        model = self._stored_model() if uploads else ""
        positive, positive_images = self._example_queries(examples.positive, model)
        negative, negative_images = self._example_queries(examples.negative, model)
        search = partial(self._searcher.recommend, positive, negative)
        hits, explanation = _search_and_explain(search, examples.options(), None)
        return Answer(
            hits=hits,
            explanation=explanation,
            positive=positive_images,
            negative=negative_images,
        )

    def points(self, ids: Sequence[str]) -> list[Point]:
        """Return indexed images.

        Raises:
            HTTPException: one of them is unknown.
        """
        points = self._store.fetch(list(dict.fromkeys(ids)))
        found = {point.payload.id: point for point in points}
        for id_ in ids:
            if id_ not in found:
                raise HTTPException(404, f"no indexed image has the id {id_}")
        return [found[id_] for id_ in ids]

    def collection(self, upload_bytes: int) -> CollectionAnswer:
        """Describe the collection and the limits of uploads."""
        info = self._info()
        return CollectionAnswer(
            name=self._store.name,
            points=info.points,
            classes=self._counts("class"),
            datasets=self._counts("dataset"),
            model=ModelAnswer(backbone=info.model.backbone, fingerprint=info.model.fingerprint),
            engine=info.engine,
            version=version("geosim"),
            upload_bytes=upload_bytes,
            upload_pixels=MAX_PIXELS,
            examples=MAX_EXAMPLES,
        )

    def _stored_model(self) -> str:
        """Return the start of the fingerprint of the collection's model."""
        return self._info().model.fingerprint[:MODEL_DIGITS]

    def _info(self) -> CollectionInfo:
        info = self._store.info()
        if info is None:
            raise StoreError("the collection was deleted")
        return info

    def _counts(self, field: str) -> list[Count]:
        return [Count(name=name, count=n) for name, n in self._store.values(field).items()]

    def _example_queries(
        self, examples: Sequence[UUID | UploadedImage], model: str
    ) -> tuple[list[ResolvedQuery], list[StoredImage | UploadedImage]]:
        """Return examples as queries with vectors, and as the answer repeats them."""
        points = iter(self.points([str(one) for one in examples if isinstance(one, UUID)]))
        queries: list[ResolvedQuery] = []
        images: list[StoredImage | UploadedImage] = []
        for one in examples:
            if isinstance(one, UUID):
                point = next(points)
                queries.append(query_from_point(point))
                images.append(StoredImage.of(point.payload))
            else:
                queries.append(_uploaded_query(one, model))
                images.append(one)
        return queries, images

    def _answer(self, query: ResolvedQuery, options: SearchOptions) -> Answer:
        """Answer a query that has its vector; only a new picture can be unlike the collection."""
        novelty = self._novelty if query.indexed is None else None
        search = partial(self._searcher.search_resolved, query)
        hits, explanation = _search_and_explain(search, options, novelty)
        return Answer(
            hits=hits,
            explanation=explanation,
            embedding=None if query.vector is None else encode_embedding(query.vector),
            sha256=query.sha256 or None,
            model=self._model,
        )


def _uploaded_query(image: UploadedImage, model: str) -> ResolvedQuery:
    """Return a picture that was uploaded before as a query to a collection of ``model``.

    Raises:
        HTTPException: another model made its embedding.
    """
    if image.model not in ("", model):
        raise HTTPException(409, "the picture was embedded by another model; send it again")
    return query_from_text(image.embedding, image.sha256)


def _search_and_explain(
    search: Search, options: SearchOptions, novelty: float | None
) -> tuple[list[HitAnswer], ExplanationAnswer]:
    """Search, and explain by the ten nearest of all classes, whatever the filters are."""
    hits = search(options).hits
    enough = options == SearchOptions(options.k) and (options.k or DEFAULT_K) >= DEFAULT_K
    nearest = hits if enough else search(SearchOptions()).hits
    explanation = ExplanationAnswer.model_validate(explain(nearest, novelty))
    return [HitAnswer.of_hit(hit) for hit in hits], explanation
