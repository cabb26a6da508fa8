"""The connection to a Qdrant server: the client, bounded retries and translated errors."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from geosim.ingest.store.base import without_userinfo
from geosim.trainer.errors import StoreDeniedError, StoreError, StoreUnreachableError

TIMEOUT_S = 60
"""Seconds to wait for an answer; qdrant-client's default of 5 is too short for large writes."""

TRIES = 3
"""Times that a request is sent before a transient failure is final."""

PAUSE_S = 0.5
"""Seconds before the first retry; doubled before each further one."""

TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses of a server or proxy that is busy or starting."""

_T = TypeVar("_T")


def open_client(url: str, api_key: str | None) -> tuple[QdrantClient, str]:
    """Return a client for the server at ``url`` and that URL without secrets; sends no request.

    Raises:
        StoreDeniedError: ``api_key`` has characters that no key has.
        StoreError: the URL has no valid host or port.
    """
    api_key = (api_key or "").strip()
    if not (api_key.isascii() and api_key.isprintable()):
        raise StoreDeniedError(
            "GEOSIM_QDRANT_API_KEY holds characters that no key has; set it to the server's key, "
            "printable ASCII"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 6333
    except ValueError as error:
        raise _url_error(url, "is no URL with a valid port") from error
    if not host:
        raise _url_error(url, "names no host")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    location = f"{parts.scheme}://{authority}{parts.path.rstrip('/')}"
    user, password = parts.username, unquote(parts.password or "")
    if api_key and parts.scheme == "http" and host not in {"localhost", "127.0.0.1", "::1"}:
        logging.getLogger(__name__).warning(
            "the API key travels unencrypted to %s; use https:// beyond this machine", location
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        try:
            client = QdrantClient(
                url=location,
                api_key=api_key or None,
                timeout=TIMEOUT_S,
                prefer_grpc=False,
                check_compatibility=False,
                auth=None if user is None else (unquote(user), password),
            )
        except ValueError as error:  # from urllib3 and httpx, for an invalid host
            raise _url_error(url, "is no usable URL") from error
    return client, location


def _url_error(url: str, fault: str) -> StoreError:
    return StoreError(f"--qdrant {without_userinfo(url)!r} {fault}; expected http://HOST:6333")


def send(request: Callable[[], _T], location: str, *, tries: int, pause: float) -> _T:
    """Return the answer to ``request``, sent again after transient failures.

    ``tries`` is 1 or more; ``pause`` is in seconds, doubled before each further retry.

    Raises:
        StoreUnreachableError: no answer.
        StoreDeniedError: the server refused the API key.
        StoreError: the server refused the request, or the answer is not a Qdrant server's.
    """
    for attempt in range(1, tries + 1):
        try:
            return request()
        except (ApiException, QdrantException, ValueError, RuntimeError) as error:
            if attempt == tries or not _transient(error):
                raise _translate(error, location) from error
        time.sleep(pause * 2 ** (attempt - 1))
    raise ValueError(f"expected tries of 1 or more, received {tries}")


def _transient(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in TRANSIENT_STATUS
    if isinstance(error, ResponseHandlingException):
        # A connection that cannot be made now cannot be made a second later either.
        unreachable = isinstance(error.source, httpx.ConnectError | httpx.ConnectTimeout)
        return isinstance(error.source, httpx.TransportError) and not unreachable
    return isinstance(error, ResourceExhaustedResponse)


def _translate(error: Exception, location: str) -> StoreError:
    if isinstance(error, UnexpectedResponse):
        server, message = f"the Qdrant server at {location}", _server_message(error.content)
        reason = _short(f"{error.status_code} {error.reason_phrase}: {message}")
        if error.status_code in {401, 403}:
            return StoreDeniedError(
                f"{server} refused access ({reason}); set GEOSIM_QDRANT_API_KEY to a key that it "
                "accepts and that may write"
            )
        if error.status_code == 404:
            return StoreError(
                f"{server} found nothing ({reason}); make the collection with `geosim ingest "
                "DATA`, or check the URL"
            )
        return StoreError(f"{server} refused a request ({reason}); its log may say more")
    source = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(source, httpx.TransportError):
        reason = _short(f"{type(source).__name__}: {source}")
        return StoreUnreachableError(
            f"no Qdrant server answers at {location} ({reason}); start one with "
            "`docker compose up -d --wait`, or leave --qdrant out to use the embedded engine"
        )
    if source is not error or isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return StoreError(
            f"the answer from {location} is not a Qdrant server's ({_short(str(source))}); "
            "check the URL"
        )
    return StoreError(f"the request to {location} failed: {_short(str(error))}")


def _server_message(content: bytes) -> str:
    """Return the error message in a server's answer, or the whole answer."""
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return content.decode("utf-8", errors="replace")


def _short(text: str) -> str:
    """Return ``text`` as one line of at most 200 characters."""
    return " ".join(text.split())[:200]
