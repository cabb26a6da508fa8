"""The web page and its JSON API as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request, Response, Security
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from geosim.ingest.store.base import VectorStore
from geosim.search.web.access import BEARER, METRICS_PATH, Access
from geosim.search.web.answers import Failure
from geosim.search.web.api import POINTS_PATH, PREVIEW_PATH, UPLOAD_PATH, Api
from geosim.search.web.hit_routes import TAKE_BODY, TAKE_PATH
from geosim.search.web.limits import BodyLimit, limit_requests
from geosim.search.web.metrics import Metrics
from geosim.search.web.pictures import UPLOAD_BYTES
from geosim.search.web.reference import reference_page
from geosim.search.web.responses import HANDLERS, answer_head, with_security_headers
from geosim.trainer.working import Working

BODY_SECONDS = 30.0
"""Time for an upload: 32 MiB at 9 Mbit/s."""

FOLDER = Path(__file__).parent / "static"

PAGES = {"/": "index.html", "/map": "index.html", "/docs": "docs.html"}
"""URL path -> file of `FOLDER`. Every file is also below ``/static``."""

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Content type by suffix of the files in `FOLDER`. On Windows the system may have text/plain for
``.js``."""


def make_app(
    store: VectorStore, working: Working, access: Access, *, body_seconds: float = BODY_SECONDS
) -> ASGIApp:
    """Return the page and its API over a collection; the model is loaded here.

    The caller closes the store after the server has ended. An upload may take ``body_seconds``.

    Raises:
        StoreError: there is no collection, or it is empty.
        ModelError: the model is damaged, or not the collection's.
    """
    metrics = Metrics(store, PAGES)
    api = Api(store, working, metrics, access)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await api.measure_usual_score()
        yield

    upload = UPLOAD_BYTES, body_seconds
    limits = dict.fromkeys((UPLOAD_PATH, PREVIEW_PATH), upload)
    limits |= dict.fromkeys((TAKE_PATH, POINTS_PATH), TAKE_BODY)
    app = FastAPI(
        title="geosim",
        version=version("geosim"),
        description="Similar geological images: search by a picture, an embedding, an indexed "
        "image or several. Every error is JSON, its reason under error, with a 4xx or 5xx status.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={
            "4XX": {"model": Failure},
            503: {"model": Failure, "description": "Too busy, or the collection is unreadable."},
        },
        exception_handlers=HANDLERS,
        middleware=[
            Middleware(ExceptionMiddleware, handlers={HTTPException: HANDLERS[HTTPException]}),
            Middleware(access.protect),
            Middleware(limit_requests),
            Middleware(BodyLimit, limits=limits),
            Middleware(answer_head),
        ],
    )
    # `Access.protect` checks the key; this dependency documents it.
    security = [Security(BEARER)] if access.needs_key else []
    app.include_router(api.routes(), dependencies=security)
    if access.needs_key:
        app.post("/login", status_code=204, include_in_schema=False)(access.login)
        app.post("/logout", status_code=204, include_in_schema=False)(access.logout)
    app.get(METRICS_PATH, include_in_schema=False)(metrics.page)
    add_pages(app)
    return with_security_headers(
        metrics.measure(app)
    )  # outermost, so that the headers are on errors too


class _Files(StaticFiles):
    """Files with `CONTENT_TYPES`; Starlette would ask the system's table."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if "content-type" in response.headers:  # not with status 304
            response.headers["content-type"] = CONTENT_TYPES[Path(path).suffix]
        return response


def add_pages(app: FastAPI) -> None:
    """Add the routes of the pages and their files."""
    files = _Files(directory=FOLDER)

    async def page(request: Request) -> Response:
        return await files.get_response(PAGES[request.scope["path"]], request.scope)

    async def reference(request: Request) -> Response:
        origin = str(request.base_url).rstrip("/")
        return HTMLResponse(reference_page(FOLDER / PAGES["/docs"], app.openapi(), origin))

    for path in PAGES:
        route = reference if path == "/docs" else page
        app.add_route(path, route, include_in_schema=False)
    app.mount("/static", files)
