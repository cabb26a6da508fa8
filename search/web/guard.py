"""What stands before the web page: who may ask, how much, how fast, and what browsers may do.

Owns the checks that hold for every request, whatever it asks for: Host and Origin, the key, the
size and the time of a body, the number of requests at once, and the security headers. Knows nothing
of pictures and searches.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Mapping

import orjson
from geosim.ingest.plan import IMAGE_ROUTE
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "geosim-session"

SHORTEST_KEY = 16
"""Characters of a key: guesses are not counted, so there must be too many to try."""

MAX_REQUESTS = 64
"""Requests under way at once; more are told to come back."""

SMALL_BODY = 64 * 2**10
"""Bytes of a body that is not a picture: a key, or 200 embeddings, 270 bytes each."""

SMALL_BODY_SECONDS = 5.0
"""Time for such a body: whoever has no key yet can hold a place no longer."""

MAX_HELD = 256 * 2**20
"""Bytes of all bodies held at once: eight of the largest pictures, hundreds of usual ones. When one
has arrived, there are two copies of it for a moment."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",  # the Qdrant dashboard beside it shows pictures
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer: nothing runs or loads but what this server sends."""


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address, IPv6 with or without brackets, is this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Access:
    """Who may ask: anybody on this machine, or whoever has the key.

    Attributes:
        loopback: whether only this machine can connect.
        cookie: what a browser gets for the key; another one after every start.
    """

    def __init__(self, host: str, key: str | None = None) -> None:
        """Decide by the host that is listened on.

        Raises:
            ValueError: others could connect, and there is no key, or one that can be guessed.
        """
        self.loopback = is_loopback(host)
        if key is not None and len(key) < SHORTEST_KEY:
            raise ValueError(
                f"the key has {len(key)} characters, and can be guessed; take {SHORTEST_KEY} or "
                "more, such as `openssl rand -hex 16` gives"
            )
        if key is None and not self.loopback:
            raise ValueError(
                f"{host} lets other machines connect, and there is no key to keep them out; set "
                "GEOSIM_SERVE_API_KEY or --api-key, or listen on 127.0.0.1"
            )
        self.cookie = secrets.token_urlsafe(32)
        self._key = None if key is None else _digest(_utf8(key))

    @property
    def needs_key(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    def opens(self, key: str) -> bool:
        """Tell, in constant time, whether this is the key."""
        return self._is_key(_utf8(key))

    def admits(self, request: Request) -> bool:
        """Tell whether a request carries the key or the cookie, or needs neither."""
        if self._key is None:
            return True
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_key(key.strip().encode("latin-1")):
            return True
        cookie = _utf8(request.cookies.get(COOKIE, ""))
        return hmac.compare_digest(_digest(cookie), _digest(_utf8(self.cookie)))

    def _is_key(self, key: bytes) -> bool:
        return self._key is not None and hmac.compare_digest(_digest(key), self._key)


def _digest(data: bytes) -> bytes:
    """Return the SHA-256: what is compared has the same length, whatever came."""
    return hashlib.sha256(data).digest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that the guard answers itself."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers or {}


class Guard:
    """Wraps an ASGI application: refuses what must not reach it, adds headers to what it sends.

    Attributes:
        held: bytes of bodies held now.
    """

    def __init__(
        self, app: ASGIApp, access: Access, bodies: Mapping[str, int], body_seconds: float
    ) -> None:
        """Guard an application.

        Args:
            app: the application.
            access: who may ask.
            bodies: path -> most bytes of a body; `SMALL_BODY` for all others.
            body_seconds: time for a whole body of these; `SMALL_BODY_SECONDS` for all others.
        """
        self._app = app
        self._access = access
        self._bodies = bodies
        self._body_seconds = body_seconds
        self._small_body_seconds = min(SMALL_BODY_SECONDS, body_seconds)
        self._running = 0
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._running += 1
        try:
            await self._guarded(scope, receive, _with_headers(send))
        finally:
            self._running -= 1

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, path = Request(scope), str(scope["path"])
        size = 0
        try:
            # Pictures are small and wait for each other: eleven browsers ask for 66 at once.
            if self._running > MAX_REQUESTS and not path.startswith(IMAGE_ROUTE):
                raise Refused(503, "too many requests at once; try again", {"Retry-After": "1"})
            self._check_host(request.headers)
            if request.method == "POST":
                _check_origin(request.headers)
            if path.startswith("/api/") and not self._access.admits(request):
                raise Refused(
                    401, "log in, or send the key as a bearer token", {"WWW-Authenticate": "Bearer"}
                )
            if request.method == "POST":
                body = await self._body(path, request.headers, receive)
                size, receive = len(body), _replayed(body, receive)
                del body  # a picture is held once
            await self._app(scope, receive, send)
        except Refused as refused:
            await _send_refusal(send, refused)
        finally:
            self.held -= size

    def _check_host(self, headers: Headers) -> None:
        """Refuse names that a stranger's page may have bound to this machine's address.

        With a key any name will do, such as that of a proxy: no page of a stranger has the key, nor
        a cookie for its own name.
        """
        named = headers.getlist("host")
        if not self._access.loopback or self._access.needs_key:
            return
        form = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(:\d{1,5})?", named[0]) if len(named) == 1 else None
        if form is None or not is_loopback(form[1]):
            raise Refused(421, "this server answers to localhost and 127.0.0.1 alone")

    async def _body(self, path: str, headers: Headers, receive: Receive) -> bytes:
        """Receive a whole body; it counts as held from now on.

        Raises:
            Refused: it is too large or too slow, or too much is held already.
        """
        limit = self._bodies.get(path, SMALL_BODY)
        seconds = self._body_seconds if path in self._bodies else self._small_body_seconds
        too_large = Refused(413, f"at most {limit:,} bytes are taken; send less")
        declared = headers.get("content-length", "0")
        if not re.fullmatch(r"\d{1,20}", declared) or int(declared) > limit:
            raise too_large
        body = bytearray()
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while True:
                left = deadline - asyncio.get_running_loop().time()
                try:
                    message = await asyncio.wait_for(receive(), max(0.0, left))
                except asyncio.TimeoutError:
                    text = f"the body took longer than {seconds:g} s; send less, or faster"
                    raise Refused(408, text, {"Connection": "close"}) from None
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the connection ended before the body did")
                part = message.get("body", b"")
                body += part
                self.held += len(part)
                if len(body) > limit:
                    raise too_large
                if self.held > MAX_HELD:
                    raise Refused(503, "too much is sent at once; try again", {"Retry-After": "1"})
                if not message.get("more_body", False):
                    return bytes(body)
        except BaseException:
            self.held -= len(body)
            raise


def _check_origin(headers: Headers) -> None:
    """Refuse what another site's page sends on behalf of whoever reads it.

    What a browser says of itself counts before the comparison with the host, which a proxy may have
    changed; neither can be set by a page. Other programs send neither.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None:
        own = site in ("same-origin", "none")
    else:
        own = origin is None or origin.partition("://")[2] == headers.get("host", "").lower()
    if not own:
        raise Refused(403, "sent by a page of another site")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receive function that gives a body that is read already, then goes on."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def refusal(error: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body of an answer that refuses: JSON, as every answer of the API."""
    body = orjson.dumps({"error": error})
    return {"Content-Type": "application/json", "Content-Length": f"{len(body)}"}, body


async def _send_refusal(send: Send, refused: Refused) -> None:
    headers, body = refusal(str(refused))
    raw = [
        (name.lower().encode(), value.encode())
        for name, value in {**headers, **refused.headers}.items()
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
