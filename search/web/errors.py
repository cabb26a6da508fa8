"""Errors as JSON: ``{"error": ...}`` with a 4xx or 5xx status.

Owns which status and text each exception becomes. Paths of this machine never reach a response.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from geosim.search.web.pictures import TooManyPixelsError
from geosim.trainer.errors import GeosimError, ImageError, ModelError, QueryError

_log = logging.getLogger("uvicorn.error")


def error_response(
    status: int, error: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error as JSON."""
    return JSONResponse({"error": error}, status, headers)


async def _http_error(_: Request, error: HTTPException) -> Response:
    """Convert an error that already has a status."""
    return error_response(error.status_code, error.detail, error.headers)


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    """Name what is wrong with each field, without repeating the received value."""
    messages = [
        ".".join(str(part) for part in detail["loc"][1:]) + ": " + detail["msg"]
        for detail in error.errors()
    ]
    return error_response(422, "; ".join(messages))


async def _geosim_error(_: Request, error: GeosimError) -> Response:
    """Convert an error of geosim; one that may name local folders goes to the log only."""
    if isinstance(error, TooManyPixelsError):
        return error_response(413, str(error))
    if isinstance(error, (ImageError, QueryError)):
        return error_response(422, str(error))
    _log.error("%s", error)
    if isinstance(error, ModelError):
        text = "there is no model here: only indexed images can be searched from"
        return error_response(503, text)
    return error_response(503, "the collection cannot be read at the moment")


async def _unexpected_error(_: Request, __: Exception) -> Response:
    """Answer after a bug; the server logs the traceback."""
    return error_response(500, "the server failed; its log says why")


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RequestValidationError: _validation_error,
    HTTPException: _http_error,
    GeosimError: _geosim_error,
    Exception: _unexpected_error,
}
"""Exception handlers of the application."""
