"""The routes of the JSON API.

Owns which work runs where: searches in worker threads, pictures in at most two of them. Keys are
`search/web/access.py`; limits on bodies, `search/web/limits.py`.
"""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from geosim.ingest.store.base import VectorStore
from geosim.search.web.map import MapCache
from geosim.search.web.models import (
    Answer,
    ByEmbedding,
    CollectionAnswer,
    Examples,
    MapAnswer,
    SearchParameters,
)
from geosim.search.web.pictures import Thumbnails
from geosim.search.web.service import SearchService
from geosim.trainer.errors import ImageError
from geosim.trainer.working import Working

UPLOAD_PATH = "/api/search"

UPLOAD_BYTES = 32 * 2**20
"""Largest upload."""

MAX_DECODERS = 2
"""Pictures that are decoded or embedded at once."""

_log = logging.getLogger("uvicorn.error")

PointId = Annotated[UUID, Path(alias="id", description="Id of an indexed image.")]
Side = Annotated[int, Query(ge=64, le=1024, description="Maximum of the longer side, in pixels.")]
QueryParameters = Annotated[SearchParameters, Query()]


class Api:
    """The routes below ``/api`` of one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Load the model; raises what `SearchService` does."""
        self._service = SearchService(store, working)
        self._thumbnails = Thumbnails(working)
        self._decoders = anyio.CapacityLimiter(MAX_DECODERS)
        self._map = MapCache(store, working)

    async def measure_novelty(self) -> None:
        """Measure the usual best score; a failure is logged, and searches work without it."""
        try:
            # Abandoned where the server ends first.
            await run_sync(self._service.measure_novelty, abandon_on_cancel=True)
        except Exception:
            _log.exception("the usual best score of the collection could not be measured")

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api")
        picture = {"schema": {"type": "string", "format": "binary"}}
        upload = {"required": True, "content": {"image/*": picture}}
        jpeg = {"content": {"image/jpeg": picture}, "description": "A JPEG."}
        map_responses: dict[int | str, Any] = {
            200: {"model": MapAnswer},
            202: {"description": "The map is being computed."},
        }
        router.post("/search", openapi_extra={"requestBody": upload})(self.search)
        router.get("/search")(self.search_again)
        router.get("/points/{id}/similar")(self.similar)
        router.post("/recommend")(self.recommend)
        # The Qdrant dashboard recognizes a picture by the ending of its URL.
        router.get("/images/{id}.jpg", include_in_schema=False)(self.image)
        router.get("/images/{id}", response_class=Response, responses={200: jpeg})(self.image)
        router.get("/collection")(self.collection)
        router.get("/map", response_class=Response, responses=map_responses)(self.map)
        return router

    async def search(self, request: Request, parameters: QueryParameters) -> Answer:
        """Search by a picture; the body is the file itself, which is not kept.

        Takes JPEG, PNG, WebP, BMP, TIFF and GIF of at most 32 MiB and 64 million pixels.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not kind.startswith("image/") and kind != "application/octet-stream":
            raise HTTPException(415, "send the picture itself, as image/jpeg or the like")
        search = partial(self._service.by_picture, await request.body(), parameters.options())
        return await run_sync(search, limiter=self._decoders)

    async def search_again(self, parameters: Annotated[ByEmbedding, Query()]) -> Answer:
        """Search by the embedding of a picture that was uploaded before."""
        return await run_sync(self._service.by_embedding, parameters)

    async def similar(self, id_: PointId, parameters: QueryParameters) -> Answer:
        """Search by an indexed image, which is not among the hits."""
        return await run_sync(self._service.by_point, str(id_), parameters.options())

    async def recommend(self, examples: Examples) -> Answer:
        """Search by several images: similar to the positive ones, unlike the negative ones.

        Each is the id of an indexed image, or the embedding of a picture that was uploaded before.
        Neither they nor copies of them are among the hits.
        """
        return await run_sync(self._service.by_examples, examples)

    async def image(self, request: Request, id_: PointId, side: Side = 256) -> Response:
        """Return the picture of an indexed image as JPEG, reduced to a size but never enlarged."""
        (point,) = await run_sync(self._service.points, [str(id_)])
        headers = _cache_headers(Thumbnails.key(point.payload, side))
        if _is_cached(request, headers):
            return Response(status_code=304, headers=headers)
        make = partial(self._thumbnails.get, point.payload, side)
        try:
            picture = await run_sync(make, limiter=self._decoders)
        except ImageError:  # its text names local folders
            raise HTTPException(404, "the picture is not on this machine") from None
        return Response(picture, media_type="image/jpeg", headers=headers)

    async def collection(self) -> CollectionAnswer:
        """Describe the collection and the limits of uploads."""
        return await run_sync(self._service.collection, UPLOAD_BYTES)

    async def map(self, request: Request) -> Response:
        """Return all indexed images as points in a plane, similar ones near each other.

        The first request computes the map, which takes minutes in a large collection. Until then
        the status is 202, without points; ask again.
        """
        body = await self._map.get()
        if body is None:
            return Response(b"{}", 202, {"Retry-After": "1"}, "application/json")
        headers = _cache_headers(hashlib.sha256(body).hexdigest()[:32])
        if _is_cached(request, headers):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)


def _cache_headers(tag: str) -> dict[str, str]:
    """Return headers that let a browser keep a response but ask whether it has changed."""
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}


def _is_cached(request: Request, headers: dict[str, str]) -> bool:
    return headers["ETag"] in request.headers.get("if-none-match", "")
