"""The web page's API: from a request to a search and back to JSON.

Owns which work runs where: the engine in worker threads, pictures in at most two of them, the map
and the measure of novelty once. Bounds of bodies, keys and headers are `search/web/guard.py`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any
from uuid import UUID

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from geosim.ingest.schema import CollectionInfo, Point
from geosim.ingest.store.protocol import VectorStore
from geosim.search.explain import explain, novelty_threshold
from geosim.search.resolver import ResolvedQuery
from geosim.search.searcher import Searcher
from geosim.search.types import DEFAULT_K, Result, SearchOptions
from geosim.search.web.map import WebMap
from geosim.search.web.models import (
    MOST_EXAMPLES,
    Answer,
    ByEmbedding,
    CollectionAnswer,
    Count,
    Examples,
    ExplanationAnswer,
    HitAnswer,
    MapAnswer,
    ModelAnswer,
    SearchParameters,
    StoredImage,
    UploadedImage,
    hit_answer,
)
from geosim.search.web.pictures import MOST_PIXELS, Thumbnails, check_pixels
from geosim.search.web.queries import embedding, encoded, stored
from geosim.trainer.errors import ImageError, StoreError
from geosim.trainer.working import Working

UPLOAD_PATH = "/api/search"

UPLOAD_BYTES = 32 * 2**20
"""Largest file that is taken."""

DECODERS = 2
"""Pictures decoded or embedded at once."""

MODEL_DIGITS = 12
"""Of a model's fingerprint, in links."""

_log = logging.getLogger("uvicorn.error")

Ask = Callable[[SearchOptions], Result]
PointId = Annotated[UUID, Path(alias="id", description="Id of an indexed image.")]
Side = Annotated[int, Query(ge=64, le=1024, description="Longer side in pixels, at most.")]
QueryParameters = Annotated[SearchParameters, Query()]


class Api:
    """The routes below ``/api`` of one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open for searching and load the model; raises what `Searcher` does, and `ModelError`."""
        self._store = store
        self._working = working
        self._searcher = Searcher(store, working)
        self._searcher.warm_up()
        self._model = self._stored_model()
        self._thumbnails = Thumbnails(working)
        self._decoders = anyio.CapacityLimiter(DECODERS)
        self._novelty: float | None = None
        self._map = WebMap(store, working)

    async def measure(self) -> None:
        """Measure what is usual in the collection; until then no picture is called unlike it."""
        try:
            measure = partial(novelty_threshold, self._store, self._working)
            self._novelty = await run_sync(measure, abandon_on_cancel=True)  # the server may end
        except Exception:  # searches are answered without it
            _log.exception("what is usual in the collection could not be measured")

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api")
        picture = {"schema": {"type": "string", "format": "binary"}}
        upload = {"required": True, "content": {"image/*": picture}}
        jpeg = {"content": {"image/jpeg": picture}, "description": "A JPEG."}
        drawn: dict[int | str, Any] = {
            200: {"model": MapAnswer},
            202: {"description": "It is being drawn."},
        }
        router.post("/search", openapi_extra={"requestBody": upload})(self.search)
        router.get("/search")(self.search_again)
        router.get("/points/{id}/similar")(self.similar)
        router.post("/recommend")(self.recommend)
        # The Qdrant dashboard knows a picture by the ending of its address.
        router.get("/images/{id}.jpg", include_in_schema=False)(self.image)
        router.get("/images/{id}", response_class=Response, responses={200: jpeg})(self.image)
        router.get("/collection")(self.collection)
        router.get("/map", response_class=Response, responses=drawn)(self.map)
        return router

    async def search(self, request: Request, parameters: QueryParameters) -> Answer:
        """Find what looks like a picture; the body is the file itself, which is not kept.

        Takes JPEG, PNG, WebP, BMP, TIFF and GIF, at most 32 MiB and 64 million pixels.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not kind.startswith("image/") and kind != "application/octet-stream":
            raise HTTPException(415, "send the picture itself, as image/jpeg or the like")
        work = partial(self._by_picture, await request.body(), parameters.options())
        return await run_sync(work, limiter=self._decoders)

    async def search_again(self, parameters: Annotated[ByEmbedding, Query()]) -> Answer:
        """Find what looks like a picture that was uploaded before, by its embedding."""
        return await run_sync(self._by_embedding, parameters)

    async def similar(self, id_: PointId, parameters: QueryParameters) -> Answer:
        """Find what looks like an indexed image; it is not among the hits."""
        return await run_sync(self._by_point, str(id_), parameters.options())

    async def recommend(self, examples: Examples) -> Answer:
        """Find what looks like several images at once, and not like others.

        Each is an indexed image, by its id, or a picture that was uploaded before, by its
        embedding. Neither they nor copies of them are among the hits.
        """
        return await run_sync(self._by_examples, examples)

    async def image(self, request: Request, id_: PointId, side: Side = 256) -> Response:
        """Give an indexed image's picture as JPEG, reduced to a size but never enlarged."""
        (point,) = await run_sync(self._points, [str(id_)])
        mark = f'"{Thumbnails.key(point.payload, side)}"'
        headers = {"ETag": mark, "Cache-Control": "private, no-cache"}  # it may be replaced
        if mark in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        make = partial(self._thumbnails.get, point.payload, side)
        try:
            picture = await run_sync(make, limiter=self._decoders)
        except ImageError:  # its words name the machine's folders
            raise HTTPException(404, "the picture is not on this machine") from None
        return Response(picture, media_type="image/jpeg", headers=headers)

    async def collection(self) -> CollectionAnswer:
        """Tell what there is to search in."""
        return await run_sync(self._collection)

    async def map(self, request: Request) -> Response:
        """Give all indexed images as points in a plane, alike ones near each other.

        The first time it is drawn, which takes minutes in a large collection: until then the answer
        is 202, with no points; ask again.
        """
        body = await self._map.get()
        if body is None:
            return Response(b"{}", 202, {"Retry-After": "1"}, "application/json")
        mark = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": mark, "Cache-Control": "private, no-cache"}
        if mark in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    def _by_picture(self, data: bytes, options: SearchOptions) -> Answer:
        check_pixels(data)
        if self._stored_model() != self._model:
            raise HTTPException(503, "the collection has another model now; start the page again")
        return self._answer(self._searcher.resolve(data), options)

    def _by_embedding(self, parameters: ByEmbedding) -> Answer:
        return self._answer(_uploaded(parameters, self._stored_model()), parameters.options())

    def _stored_model(self) -> str:
        """Return what names the collection's model in a link."""
        return self._info().model.fingerprint[:MODEL_DIGITS]

    def _info(self) -> CollectionInfo:
        info = self._store.info()
        if info is None:
            raise StoreError("the collection was deleted")
        return info

    def _by_point(self, id_: str, options: SearchOptions) -> Answer:
        (point,) = self._points([id_])
        answer = self._answer(stored(point), options)
        answer.query = StoredImage.of(point.payload)
        return answer

    def _by_examples(self, examples: Examples) -> Answer:
        uploads = any(
            isinstance(one, UploadedImage) for one in examples.positive + examples.negative
        )
        model = self._stored_model() if uploads else ""
        positive, negative = (
            self._named(some, model) for some in (examples.positive, examples.negative)
        )
        ask = partial(
            self._searcher.recommend_resolved,
            [one for one, _ in positive],
            [one for one, _ in negative],
        )
        hits, explanation = _explained(ask, examples.options(), None)
        return Answer(
            hits=hits,
            explanation=explanation,
            positive=[named for _, named in positive],
            negative=[named for _, named in negative],
        )

    def _named(
        self, examples: Sequence[UUID | UploadedImage], model: str
    ) -> list[tuple[ResolvedQuery, StoredImage | UploadedImage]]:
        """Return each example with its vector, and as an answer tells of it."""
        points = iter(self._points([str(one) for one in examples if isinstance(one, UUID)]))
        named: list[tuple[ResolvedQuery, StoredImage | UploadedImage]] = []
        for one in examples:
            if isinstance(one, UUID):
                point = next(points)
                named.append((stored(point), StoredImage.of(point.payload)))
            else:
                named.append((_uploaded(one, model), one))
        return named

    def _answer(self, query: ResolvedQuery, options: SearchOptions) -> Answer:
        """Answer a query that has its vector; only a new picture can be unlike what is here."""
        novelty = self._novelty if query.indexed is None else None
        hits, explanation = _explained(
            partial(self._searcher.search_resolved, query), options, novelty
        )
        return Answer(
            hits=hits,
            explanation=explanation,
            embedding=None if query.vector is None else encoded(query.vector),
            sha256=query.sha256 or None,
            model=self._model,
        )

    def _points(self, ids: Sequence[str]) -> list[Point]:
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

    def _collection(self) -> CollectionAnswer:
        info = self._info()
        return CollectionAnswer(
            name=self._store.name,
            points=info.points,
            classes=self._counts("class"),
            datasets=self._counts("dataset"),
            model=ModelAnswer(backbone=info.model.backbone, fingerprint=info.model.fingerprint),
            engine=info.engine,
            version=version("geosim"),
            upload_bytes=UPLOAD_BYTES,
            upload_pixels=MOST_PIXELS,
            examples=MOST_EXAMPLES,
        )

    def _counts(self, field: str) -> list[Count]:
        return [Count(name=name, count=n) for name, n in self._store.values(field).items()]


def _uploaded(image: UploadedImage, model: str) -> ResolvedQuery:
    """Return a picture that was uploaded before to a collection of ``model``.

    Raises:
        HTTPException: its embedding is another model's, which compares with nothing here.
    """
    if image.model not in ("", model):
        raise HTTPException(409, "the picture was embedded by another model; send it again")
    return embedding(image.embedding, image.sha256)


def _explained(
    ask: Ask, options: SearchOptions, novelty: float | None
) -> tuple[list[HitAnswer], ExplanationAnswer]:
    """Ask, and explain by the ten nearest of all classes: no filter must decide the vote."""
    hits = ask(options).hits
    enough = options == SearchOptions(options.k) and (options.k or DEFAULT_K) >= DEFAULT_K
    nearest = hits if enough else ask(SearchOptions()).hits
    return [hit_answer(hit) for hit in hits], ExplanationAnswer.of(explain(nearest, novelty))
