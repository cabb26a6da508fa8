"""Limits on requests: how many run at once, and the size and time of their bodies."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geosim.ingest.plan import IMAGE_ROUTE
from geosim.search.web.access import HAS_KEY

MAX_REQUESTS = 64
"""Requests of those who have the key that run at once."""

SMALL_BODY = (64 * 2**10, 5.0)
"""Largest size in bytes, and time in seconds, of a body that is not a picture: a key, or 200
embeddings of 270 bytes each."""

MAX_BUFFERED_BYTES = 256 * 2**20
"""Bytes of all bodies in memory: eight of the largest pictures. Joining the parts of a body copies
it once."""

RETRY = {"Retry-After": "1"}


def limit_requests(app: ASGIApp) -> ASGIApp:
    """Wrap an application: refuse a request with 503 while `MAX_REQUESTS` others run.

    Requests for stored pictures are never refused and do not count, nor do those without a key that
    is needed: they get no more than the files of the page and a login, and they must not take the
    places of others. `TimeLimitedProtocol` bounds them.
    """
    running = 0

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        if scope["type"] != "http":
            return await app(scope, receive, send)
        # Stored pictures do not count: eleven browsers ask for 66 at once, decoding has a limit.
        if scope["path"].startswith(IMAGE_ROUTE) or not scope[HAS_KEY]:
            return await app(scope, receive, send)
        if running >= MAX_REQUESTS:
            raise HTTPException(503, "too many requests at once; try again", RETRY)
        running += 1
        try:
            await app(scope, receive, send)
        finally:
            running -= 1

    return handle


class BodyLimit:
    """Limit the size and the time of request bodies, and the memory that they take together.

    Errors are raised where the application reads the body.

    Attributes:
        limits: path -> bytes and seconds of a body; `SMALL_BODY` for every other path.
        buffered: bytes of the bodies of running requests.
    """

    def __init__(self, app: ASGIApp, limits: Mapping[str, tuple[int, float]]) -> None:
        self._app = app
        self.limits = limits
        self.buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            HTTPException: 413 too large, 408 too slow, 503 too much in memory, 400 incomplete.
        """
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send)  # no route reads their bodies
        max_bytes, seconds = self.limits.get(scope["path"], SMALL_BODY)
        too_large = HTTPException(413, f"at most {max_bytes:,} bytes are taken; send less")
        if int(Headers(scope=scope).get("content-length", 0)) > max_bytes:
            raise too_large
        deadline = anyio.current_time() + seconds
        size, complete = 0, False

        async def limited_receive() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            try:
                with anyio.fail_after(deadline - anyio.current_time()):
                    message = await receive()
            except TimeoutError:
                text = f"the body took longer than {seconds:g} s; send less, or faster"
                raise HTTPException(408, text, {"Connection": "close"}) from None
            if message["type"] == "http.disconnect":
                raise HTTPException(400, "the connection ended before the body did")
            part = len(message.get("body", b""))
            size += part
            self.buffered += part
            if size > max_bytes:
                raise too_large
            if self.buffered > MAX_BUFFERED_BYTES:
                raise HTTPException(503, "too much is sent at once; try again", RETRY)
            complete = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, limited_receive, send)
        finally:
            self.buffered -= size
