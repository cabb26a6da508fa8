"""The routes of the JSON API, and which work runs where.

FastAPI runs the methods of the service in worker threads; pictures take at most two of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ParamSpec, TypeVar
from uuid import UUID

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from geosim.ingest.store.base import VectorStore
from geosim.search.web.access import Access
from geosim.search.web.answers import (
    Answer,
    MapPoints,
    MapProgress,
    MatchesAnswer,
    PointAnswer,
)
from geosim.search.web.hit_routes import HitRoutes
from geosim.search.web.map import MapCache, MapRequest
from geosim.search.web.metrics import Metrics
from geosim.search.web.models import (
    WHERE,
    Expression,
    PictureParameters,
    Region,
)
from geosim.search.web.pictures import NOT_HERE, Thumbnails, preview
from geosim.search.web.regions import RegionReader
from geosim.search.web.service import SearchService
from geosim.trainer.data.reasons import FORMAT_NAMES
from geosim.trainer.errors import ImageError
from geosim.trainer.text import printable
from geosim.trainer.working import Working

P = ParamSpec("P")
T = TypeVar("T")

UPLOAD_PATH, PREVIEW_PATH = "/api/search", "/api/preview"
"""Paths to which pictures are sent."""

POINTS_PATH = "/api/map/points"
"""Path to which rows of the map are sent."""

MAX_DECODERS = 2
"""Pictures that are decoded or embedded at once."""

Side = Annotated[int, Query(ge=64, le=1024, description="Maximum of the longer side, in pixels.")]

PreviewSide = Annotated[
    int, Query(ge=64, le=4096, description="Maximum of the longer side, in pixels.")
]

PointId = Annotated[UUID, Path(alias="id", description="Id of an indexed image.")]
PartParameters = Annotated[PictureParameters, Query()]
Where = Annotated[Expression, Query(description=WHERE)]


class Api:
    """The routes below ``/api`` of one collection."""

    def __init__(
        self, store: VectorStore, working: Working, metrics: Metrics, access: Access
    ) -> None:
        """Load the model; raises what `SearchService` does."""
        self._metrics = metrics
        self._map = MapCache(store, working)
        self._service = SearchService(store, working, self._map.inside, needs_key=access.needs_key)
        self._thumbnails = Thumbnails(working)
        self._regions = RegionReader(self._thumbnails.read)
        self._decoders = anyio.CapacityLimiter(MAX_DECODERS)
        self._region_decoder = anyio.CapacityLimiter(1)  # so that searches go on meanwhile
        self._hit_routes = HitRoutes(store, self._service, self._thumbnails, self._map.inside)

    async def measure_usual_score(self) -> None:
        """Start to measure the usual best score, for the first picture that needs it."""
        await run_sync(self._service.measure_usual_score)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router, service = APIRouter(prefix="/api"), self._service
        picture = {"schema": {"type": "string", "format": "binary"}}
        upload = {"required": True, "content": {"image/*": picture}}
        jpeg = {"content": {"image/jpeg": picture}, "description": "A JPEG."}
        unchanged = {"description": "Not changed since the ETag of If-None-Match."}
        waiting: dict[int | str, Any] = {
            202: {"model": MapProgress, "description": "The map is being computed."},
            304: unchanged,
        }
        drawn = {"content": {"application/octet-stream": picture}, "description": "See above."}
        map_responses: dict[int | str, Any] = {200: drawn, **waiting}
        matching_responses: dict[int | str, Any] = {200: {"model": MatchesAnswer}, **waiting}
        points_responses: dict[int | str, Any] = {200: {"model": MapPoints}, 202: waiting[202]}
        image_responses: dict[int | str, Any] = {200: jpeg, 304: unchanged}
        router.post("/search", openapi_extra={"requestBody": upload})(self.search)
        router.get("/search")(service.search_again)
        router.get("/points/{id}/similar")(self.similar)
        router.post("/recommend")(service.recommend)
        # The Qdrant dashboard recognizes a picture by the ending of its URL.
        router.get("/images/{id}.jpg", include_in_schema=False)(self.image)
        router.get("/images/{id}", response_class=Response, responses=image_responses)(self.image)
        router.get("/images/{id}/region", response_class=Response, responses=image_responses)(
            self.region
        )
        router.post(
            "/preview",
            response_class=Response,
            responses={200: jpeg},
            openapi_extra={"requestBody": upload},
        )(self.preview)
        router.get("/points/{id}")(self.point)
        router.get("/collection")(service.collection)
        router.get("/map", response_class=Response, responses=map_responses)(self.map)
        router.get("/map/matching", response_class=Response, responses=matching_responses)(
            self.matching
        )
        router.post("/map/points", response_class=Response, responses=points_responses)(self.points)
        self._hit_routes.add_to(router)
        return router

    async def search(self, request: Request, parameters: PartParameters) -> Answer:
        """Search by a picture or a part of it; the body is the file itself, which is not kept.

        Takes JPEG, PNG, WebP, BMP, TIFF, GIF, JPEG 2000, HEIC and AVIF of at most 32 MiB and
        64 million pixels.
        """
        body = await _picture_of(request)
        return await self._decoding(self._service.by_picture, body, parameters)

    async def preview(self, request: Request, side: PreviewSide = 1024) -> Response:
        """Return a picture as JPEG, for programs that cannot show its kind; it is not kept.

        Takes what a search takes. It is reduced to a size but never enlarged.
        """
        body = await _picture_of(request)
        return Response(await self._decoding(preview, body, side), media_type="image/jpeg")

    async def similar(self, id_: PointId, parameters: PartParameters) -> Answer:
        """Search by an indexed image or a part of it.

        The image is not among its own hits, but among those of a part of it.
        """
        if parameters.crop is None:
            return await run_sync(self._service.similar, id_, parameters)
        return await self._decoding(self._similar_to_part, id_, parameters)

    async def _decoding(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on a picture in a thread, when there is a place for it."""
        async with self._metrics.waiting(self._decoders):
            return await run_sync(partial(work, *args, **kwargs))

    def _similar_to_part(self, id_: UUID, parameters: PictureParameters) -> Answer:
        data = self._thumbnails.read(self._service.points([id_])[id_].payload)
        return self._service.similar(id_, parameters, data)

    async def image(self, request: Request, id_: PointId, side: Side = 256) -> Response:
        """Return the picture of an indexed image as JPEG, reduced to a size but never enlarged."""
        payload = (await run_sync(self._service.points, [id_]))[id_].payload
        headers = _cache_headers(f"{payload.sha256}-{side}")
        if _is_cached(request, headers):
            return Response(status_code=304, headers=headers)
        try:
            picture = await self._decoding(self._thumbnails.get, payload, side)
        except ImageError:  # damaged, as it was when it was indexed
            raise HTTPException(404, NOT_HERE) from None
        return Response(picture, media_type="image/jpeg", headers=headers)

    async def region(
        self, request: Request, id_: PointId, region: Annotated[Region, Query()]
    ) -> Response:
        """Return a part of an indexed image's picture as JPEG, reduced to a size.

        It is never enlarged. What of the part lies outside of the picture is left out. Large
        pictures are not decoded as a whole where they are stored in tiles or strips.
        """
        payload = (await run_sync(self._service.points, [id_]))[id_].payload
        headers = _cache_headers(f"{payload.sha256}-{region.box}-{region.side}")
        if _is_cached(request, headers):
            return Response(status_code=304, headers=headers)
        async with self._metrics.waiting(self._region_decoder):
            if await request.is_disconnected():  # the page shows another part by now
                return Response(status_code=204)
            try:
                part = await run_sync(self._regions.get, payload, region.edges(), region.side)
            except ImageError:
                raise HTTPException(404, NOT_HERE) from None
        return Response(part, media_type="image/jpeg", headers=headers)

    def point(self, id_: PointId) -> PointAnswer:
        """Return an indexed image, with the size of its picture."""
        return PointAnswer.model_validate(self._service.points([id_])[id_].payload)

    async def map(self, request: Request) -> Response:
        """Return all indexed images as points in a plane, similar ones near each other.

        The first request computes the map, which takes minutes in a large collection. Until then
        the status is 202, with how far it is; ask again. A map has the length of a JSON object as
        little-endian uint32, the object, and then x and y of all points as little-endian uint16,
        left to right and top to bottom. The object has a tag, which differs after a change of the
        collection; drawing, which differs where points have moved; classes, null for none; and
        sizes, the number of points of each, which follow one another.
        """
        drawn = await self._map.get()
        if drawn is None:
            return self._not_yet()
        return _cached(request, drawn.body, "application/octet-stream")

    async def matching(self, request: Request, where: Where) -> Response:
        """Return which points of the map match an expression.

        Until the map is computed the status is 202, as of the map; ask again.
        """
        found = await self._map.matching(where)
        if found is None:
            return self._not_yet()
        return _cached(request, found.model_dump_json().encode(), "application/json")

    async def points(self, wanted: MapRequest) -> Response:
        """Return indexed images with their rows in the map, by id or by row.

        Until the map is computed the status is 202, as of the map; ask again.
        """
        found = await self._map.points(wanted)
        if found is None:
            return self._not_yet()
        return Response(found.model_dump_json(by_alias=True), media_type="application/json")

    def _not_yet(self) -> Response:
        told = self._map.progress.model_dump_json()
        return Response(told, 202, {"Retry-After": "1"}, "application/json")


async def _picture_of(request: Request) -> bytes:
    """Return the file that a request sends.

    Raises:
        HTTPException: 415, it is sent as something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind != "application/octet-stream":
        received = printable(kind[:60]) or "no content type"
        raise HTTPException(
            415,
            f"received {received}, where a picture is expected: {FORMAT_NAMES}, sent as image/jpeg "
            "or the like, or as application/octet-stream",
        )
    return await request.body()


def _cached(request: Request, body: bytes, media_type: str) -> Response:
    """Return a response with an ETag, or 304 if a browser has it."""
    headers = _cache_headers(hashlib.sha256(body).hexdigest()[:32])
    if _is_cached(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def _cache_headers(tag: str) -> dict[str, str]:
    """Return headers that let a browser keep a response but ask whether it has changed."""
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}


def _is_cached(request: Request, headers: dict[str, str]) -> bool:
    return headers["ETag"] in request.headers.get("if-none-match", "")
