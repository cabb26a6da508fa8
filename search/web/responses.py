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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geosim.trainer.errors import GeosimError, ImageError, ModelError, QueryError

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",  # the Qdrant dashboard beside it shows pictures
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Browsers load and run only what this server sends."""

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


def error_response(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as JSON."""
    return JSONResponse({"error": error}, status, headers)


async def _http_error(_: Request, error: HTTPException) -> Response:
    return error_response(error.status_code, error.detail, error.headers)


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    """Name what is wrong with each field, without repeating the received value."""
    messages = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return error_response(422, "; ".join(messages))


async def _geosim_error(_: Request, error: GeosimError) -> Response:
    """Convert an error of geosim; one that may name local folders goes to the log only."""
    if isinstance(error, (ImageError, QueryError)):
        return error_response(422, str(error))
    _log.error("%s", error)
    no_model = "there is no model here: only indexed images can be searched from"
    unreadable = "the collection cannot be read at the moment"
    return error_response(503, no_model if isinstance(error, ModelError) else unreadable)


async def _unexpected_error(_: Request, __: Exception) -> Response:
    return error_response(500, "the server failed; its log says why")


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RequestValidationError: _validation_error,
    HTTPException: _http_error,
    GeosimError: _geosim_error,
    Exception: _unexpected_error,
}
"""Exception handlers of the application."""
