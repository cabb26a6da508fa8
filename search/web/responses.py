"""What all responses share: security headers, and errors as JSON ``{"error": ...}``.

Owns which status and text each exception becomes. Paths of this machine never reach a response.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geosim.search.web.received import what_is_wrong
from geosim.trainer.errors import (
    ExpressionError,
    GeosimError,
    ImageError,
    ModelError,
    ModelMismatchError,
    QueryError,
)
from geosim.trainer.text import printable

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",  # the Qdrant dashboard beside it shows pictures
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Browsers load and run only what this server sends."""

OWN_WORDS = {
    "Not Found": "nothing is at this address; /docs lists what is",
    "There was an error parsing the body": "the body cannot be read; /docs describes what it has",
}
"""What is told in place of a library's words."""

_log = logging.getLogger("uvicorn.error")


def with_security_headers(app: ASGIApp) -> ASGIApp:
    """Add `SECURITY_HEADERS`, and ``Cache-Control`` unless the application sets it.

    Browsers keep only what has an ETag, and revalidate it.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-cache" if "etag" in headers else "no-store")
            await send(message)

        await app(scope, receive, send_with_headers)

    return handle


def answer_head(app: ASGIApp) -> ASGIApp:
    """Answer HEAD as GET, without the body: the server leaves it out."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await app(scope, receive, send)
        asked = {**scope, "method": "GET"}  # the server still sees the other one
        try:
            await app(asked, receive, send)
        finally:
            scope.update({"route": asked["route"]} if "route" in asked else {})

    return handle


def error_response(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as JSON."""
    return JSONResponse({"error": error}, status, headers)


async def _error_as_json(request: Request, error: Exception) -> Response:
    """Return what is shown of an error; one that may name local folders goes to the log only."""
    match error:
        case HTTPException(status_code=405):
            allowed = _allowed_methods(request)
            return error_response(405, f"this address answers {allowed} alone", {"Allow": allowed})
        case HTTPException():
            text = OWN_WORDS.get(error.detail, error.detail)
            return error_response(error.status_code, text, error.headers)
        case RequestValidationError():
            return error_response(422, what_is_wrong(error.errors()))
        case ImageError() | QueryError():
            place = {"place": error.place} if isinstance(error, ExpressionError) else {}
            return JSONResponse({"error": str(error), **place}, 422)
        case ModelError():
            text = "there is no model here: only indexed images can be searched from"
        case ModelMismatchError():
            text = "another model made the collection, and it is not here: only indexed images can "
            text += "be searched from"
        case GeosimError():
            text = "the collection cannot be read at the moment"
        case _:  # a bug; the server logs the traceback
            return error_response(500, "the server failed; its log says why")
    _log.error("%s", printable(str(error)))
    return error_response(503, text)


def _allowed_methods(request: Request) -> str:
    """Return the methods of all routes of a path; Starlette's error names those of the first."""
    allowed = [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
    # Without a route it is a file below /static.
    return ", ".join(allowed or ["GET"]).replace("GET", "GET, HEAD")


HANDLERS: dict[Any, Callable[[Request, Any], Coroutine[Any, Any, Response]]] = dict.fromkeys(
    (RequestValidationError, HTTPException, GeosimError, Exception), _error_as_json
)
"""Exception handlers of the application."""
