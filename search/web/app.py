"""The web page as an ASGI application: its parts put together, its errors as JSON.

web_guard    who may ask, how much, how fast; security headers
web_api      the JSON API
web_static   the page's own files
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from geosim.ingest.store.protocol import VectorStore
from geosim.search.web.api import UPLOAD_BYTES, UPLOAD_PATH, Api
from geosim.search.web.assets import static_routes
from geosim.search.web.guard import COOKIE, Access, Guard
from geosim.search.web.models import Failure, Key
from geosim.search.web.pictures import TooManyPixelsError
from geosim.trainer.errors import GeosimError, ImageError, ModelError, QueryError
from geosim.trainer.working import Working

BODY_SECONDS = 30.0
"""Time for a whole request body: 32 MiB at 9 Mbit/s."""

_log = logging.getLogger("uvicorn.error")


def make_app(
    store: VectorStore, working: Working, access: Access, *, body_seconds: float = BODY_SECONDS
) -> ASGIApp:
    """Return the page and its API over a collection; the model is loaded here.

    Args:
        store: an open store; the caller closes it after the server has ended.
        working: the working folder.
        access: who may ask.
        body_seconds: time for a whole request body.

    Raises:
        StoreError: there is no collection, or it is empty.
        ModelError: the model is damaged, or not the collection's.
    """
    api = Api(store, working)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as background:
            background.start_soon(api.measure)
            yield
            background.cancel_scope.cancel()

    app = FastAPI(
        title="geosim",
        version=version("geosim"),
        description="Similar geological images: search by a picture, an embedding, an indexed "
        "image or several. Every error is JSON, its reason under error, with a 4xx or 5xx status.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"4XX": {"model": Failure}},
    )
    app.include_router(api.routes())
    app.include_router(static_routes())
    if access.needs_key:
        app.post("/login", status_code=204, include_in_schema=False)(_login(access))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(GeosimError, _failed)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, access, {UPLOAD_PATH: UPLOAD_BYTES}, body_seconds)


def _login(access: Access) -> Callable[[Key], Response]:
    def login(key: Key) -> Response:
        """Give a browser a cookie for the key."""
        if not access.opens(key.key):
            return _error(401, "this is not the key")
        response = Response(status_code=204)
        response.set_cookie(COOKIE, access.cookie, httponly=True, samesite="strict")
        return response

    return login


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


def _invalid(_: Request, error: Exception) -> Response:
    """Name what is wrong with each field; what was received is not repeated."""
    details = error.errors() if isinstance(error, RequestValidationError) else []
    told = [
        ".".join(str(part) for part in detail["loc"][1:]) + ": " + str(detail["msg"])
        for detail in details
    ]
    return _error(422, "; ".join(told))


def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    response = _error(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


def _failed(_: Request, error: Exception) -> Response:
    """Tell an error of ours; what names this machine's folders is for its own eyes."""
    if isinstance(error, TooManyPixelsError):
        return _error(413, str(error))
    if isinstance(error, (ImageError, QueryError)):
        return _error(422, str(error))
    _log.error("%s", error)
    if isinstance(error, ModelError):
        return _error(503, "there is no model here: only indexed images can be searched from")
    return _error(503, "the collection cannot be read at the moment")


def _broken(_: Request, __: Exception) -> Response:
    """Answer after a bug; the server's log has the traceback."""
    return _error(500, "the server failed; its log says why")
