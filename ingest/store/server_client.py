"""Clients of Qdrant servers by their addresses, with limits on how long they wait."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import httpx
from qdrant_client import QdrantClient

from geosim.ingest.checks import without_userinfo
from geosim.trainer.errors import StoreDeniedError, StoreError

CONNECT_S = 5.0
"""Seconds to wait for a connection."""

FIRST_ANSWER_S = 10.0
"""Seconds to wait for the first answer of a server: to a small request, so it hangs after them."""

ANSWER_S = 60
"""Seconds to wait for any other answer; qdrant-client's default of 5 is too short for large
writes."""


@dataclass(slots=True)
class Node:
    """One address of a Qdrant server or cluster."""

    client: QdrantClient
    location: str  # its URL, without secrets
    answered: bool = False  # whether it has answered any request


def open_nodes(urls: str, api_key: str | None) -> list[Node]:
    """Return the nodes at one URL or several, parted by commas; sends no request.

    Raises:
        StoreDeniedError: ``api_key`` has characters that no key has.
        StoreError: a URL has no valid host or port.
    """
    api_key = (api_key or "").strip()
    if not (api_key.isascii() and api_key.isprintable()):
        raise StoreDeniedError(
            "GEOSIM_QDRANT_API_KEY holds characters that no key has; set it to the server's key, "
            "printable ASCII"
        )
    given = [url.strip() for url in urls.split(",")]
    return [_open_node(url, api_key) for url in given if url]


def _open_node(url: str, api_key: str) -> Node:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 6333
    except ValueError as error:
        raise _url_error(url, "is no URL with a valid port") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise _url_error(url, "names no host")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    location = f"{parts.scheme}://{authority}{parts.path.rstrip('/')}"
    user, password = parts.username, unquote(parts.password or "")
    if api_key and parts.scheme == "http" and host not in {"localhost", "127.0.0.1", "::1"}:
        logging.getLogger(__name__).warning(
            "the API key travels unencrypted to %s; use https:// beyond this machine", location
        )

    def limit(request: httpx.Request) -> None:
        read = ANSWER_S if node.answered else FIRST_ANSWER_S
        limits = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=read)
        request.extensions["timeout"] = limits.as_dict()

    def note(_: httpx.Response) -> None:
        node.answered = True

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        try:
            client = QdrantClient(
                url=location,
                api_key=api_key or None,
                timeout=ANSWER_S,
                prefer_grpc=False,
                check_compatibility=False,
                auth=None if user is None else (unquote(user), password),
                event_hooks={"request": [limit], "response": [note]},
            )
        except ValueError as error:  # from urllib3 and httpx, for an invalid host
            raise _url_error(url, "is no usable URL") from error
    node = Node(client, location)
    return node


def _url_error(url: str, fault: str) -> StoreError:
    return StoreError(f"--qdrant {without_userinfo(url)!r} {fault}; expected http://HOST:6333")
