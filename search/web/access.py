"""Access control: host names, origins, and the key of a server that others can reach."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections import OrderedDict
from typing import Annotated

from fastapi import Body, Request, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from geosim.search.web.guesses import Guesses

COOKIE = "geosim-session"
"""Start of a cookie's name, which ends with the port that the browser asked: cookies are of a host,
whatever the port is."""

MAX_SESSIONS = 1000
"""Sessions that are remembered; the oldest one ends then."""

HAS_KEY = "geosim.has_key"
"""Item of a request's scope: whether its sender has the key, or none is needed."""

METRICS_PATH = "/metrics"
"""Path of the metrics, which need the key as all below ``/api`` does."""

MIN_KEY_LENGTH = 16
"""Characters of a key, too many to guess at the rate that `Guesses` allows to many addresses."""

BEARER = HTTPBearer(auto_error=False, description="The key that the server was started with.")


def is_loopback(host: str) -> bool:
    """Return whether a name or an address, IPv6 with or without brackets, is this machine's own."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Access:
    """Rules of access: only from this machine if there is no key, otherwise only with the key.

    Attributes:
        loopback: whether only this machine can connect.
        needs_key: whether there is a key.
    """

    def __init__(self, host: str, key: str | None = None) -> None:
        """Derive the rules from the host that the server listens on.

        Raises:
            ValueError: other machines could connect without a key, or the key is too short.
        """
        self.loopback = is_loopback(host)
        self.needs_key = key is not None
        if key is not None and len(key) < MIN_KEY_LENGTH:
            raise ValueError(
                f"the key has {len(key)} characters, and can be guessed; take {MIN_KEY_LENGTH} or "
                "more, such as `openssl rand -hex 16` gives"
            )
        if key is None and not self.loopback:
            raise ValueError(
                f"{host} lets other machines connect, and there is no key to keep them out; set "
                "GEOSIM_SERVE_API_KEY or --api-key, or listen on 127.0.0.1"
            )
        self._sessions: OrderedDict[str, None] = OrderedDict()  # values of cookies, oldest first
        self._guesses = Guesses()
        self._key = _utf8(key or secrets.token_urlsafe(32))  # without a key, no text is one

    def protect(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application: check every request before its body is read.

        Raises:
            HTTPException: 421 foreign host, 403 sent by another site's page, 401 without the key,
                429 after too many wrong keys.
        """

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope[HAS_KEY] = await self._check(Request(scope))
            await app(scope, receive, send)

        return handle

    async def login(
        self, request: Request, key: Annotated[str, Body(embed=True)], response: Response
    ) -> None:
        """Exchange the key for the cookie of a new session."""
        if not self._is_key(request, _utf8(key)):
            raise HTTPException(401, "this is not the key")
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        secure = request.scope["scheme"] == "https"
        name = _cookie_name(request)
        response.set_cookie(name, session, secure=secure, httponly=True, samesite="strict")

    async def logout(self, request: Request, response: Response) -> None:
        """End the session of a request, here and in its browser."""
        name = _cookie_name(request)
        self._sessions.pop(request.cookies.get(name, ""), None)
        response.delete_cookie(name)

    async def _check(self, request: Request) -> bool:
        """Return `HAS_KEY`; raises what `protect` does."""
        if not self.needs_key:
            _check_host(request)
        if request.method == "POST":
            _check_origin(request)
        # A session is 256 random bits: how long it takes to look one up helps nobody to guess it.
        if not self.needs_key or request.cookies.get(_cookie_name(request)) in self._sessions:
            return True
        if not request.scope["path"].startswith(("/api/", METRICS_PATH)):
            return False
        bearer = await BEARER(request)
        # Servers decode headers as Latin-1; clients send UTF-8.
        if bearer is None or not self._is_key(request, bearer.credentials.encode("latin-1")):
            text = "log in, or send the key as a bearer token"
            raise HTTPException(401, text, {"WWW-Authenticate": "Bearer"})
        return True

    def _is_key(self, request: Request, key: bytes) -> bool:
        """Return whether this is the key; raise 429 if too many of the sender's were not."""
        address = request.client.host if request.client else ""
        self._guesses.check(address)
        if secrets.compare_digest(key, self._key):
            return True
        self._guesses.wrong(address)
        return False


def _cookie_name(request: Request) -> str:
    port = re.search(r":(\d{1,5})$", request.headers.get("host", ""))
    return f"{COOKIE}-{port[1]}" if port else COOKIE


def _check_host(request: Request) -> None:
    """Refuse host names that another site may have bound to this machine (DNS rebinding).

    Needless with a key: other sites' pages have neither it nor a cookie for their host name.
    """
    host = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(:\d{1,5})?", request.headers.get("host", ""))
    if host is None or not is_loopback(host[1]):
        raise HTTPException(421, "this server answers to localhost and 127.0.0.1 alone")


def _check_origin(request: Request) -> None:
    """Refuse requests from other sites' pages (CSRF). Other programs send neither header."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    same_site = site in ("same-origin", "none")
    if site is None:  # otherwise it is preferred, because a proxy may change the host
        host = request.headers.get("host", "").lower()
        same_site = origin is None or origin.partition("://")[2] == host
    if not same_site:
        raise HTTPException(403, "sent by a page of another site")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # JSON may have half a surrogate pair
