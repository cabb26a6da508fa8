"""The web page and its JSON API as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
from fastapi import FastAPI, Security
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from geosim.ingest.store.base import VectorStore
from geosim.search.web.access import BEARER, SESSION, Access, AccessMiddleware
from geosim.search.web.api import UPLOAD_BYTES, UPLOAD_PATH, Api
from geosim.search.web.errors import HANDLERS
from geosim.search.web.headers import SecurityHeaders
from geosim.search.web.limits import BodyLimit, RequestLimit
from geosim.search.web.models import Failure
from geosim.search.web.pages import add_pages
from geosim.trainer.working import Working

BODY_SECONDS = 30.0
"""Time for an upload: 32 MiB at 9 Mbit/s."""


def make_app(
    store: VectorStore, working: Working, access: Access, *, body_seconds: float = BODY_SECONDS
) -> ASGIApp:
    """Return the page and its API over a collection; the model is loaded here.

    Args:
        store: an open store; the caller closes it after the server has ended.
        working: the working folder.
        access: rules of access.
        body_seconds: time for an upload.

    Raises:
        StoreError: there is no collection, or it is empty.
        ModelError: the model is damaged, or not the collection's.
    """
    api = Api(store, working)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as background:
            background.start_soon(api.measure_novelty)
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
        exception_handlers=HANDLERS,
        middleware=[
            Middleware(ExceptionMiddleware, handlers={HTTPException: HANDLERS[HTTPException]}),
            Middleware(RequestLimit),
            Middleware(AccessMiddleware, access=access),
            Middleware(BodyLimit, limits={UPLOAD_PATH: (UPLOAD_BYTES, body_seconds)}),
        ],
    )
    # `AccessMiddleware` checks the key; these dependencies document it.
    security = [Security(BEARER), Security(SESSION)] if access.needs_key else []
    app.include_router(api.routes(), dependencies=security)
    if access.needs_key:
        app.include_router(access.login_routes())
    add_pages(app)
    return SecurityHeaders(app)  # outermost, so that the headers are on errors too
