"""Access control: host names, origins, and the key of a server that others can reach."""

from __future__ import annotations

import ipaddress
import re
import secrets
from typing import Annotated

from fastapi import Body, Request, Response
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "geosim-session"

METRICS_PATH = "/metrics"
"""Path of the metrics, which need the key as all below ``/api`` does."""

MIN_KEY_LENGTH = 16
"""Characters of a key. Failed attempts are not counted, so a key must be too long to guess."""

BEARER = HTTPBearer(auto_error=False, description="The key that the server was started with.")
SESSION = APIKeyCookie(name=COOKIE, auto_error=False, description="Set by the page's login.")


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
        self._session = secrets.token_urlsafe(32)  # value of the cookie, new after every start
        self._key = _utf8(key or secrets.token_urlsafe(32))  # without a key, no text is one

    def protect(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application: check every request before its body is read.

        Raises:
            HTTPException: 421 foreign host, 403 sent by another site's page, 401 without the key.
        """

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._check(Request(scope))
            await app(scope, receive, send)

        return handle

    def login(self, key: Annotated[str, Body(embed=True)], response: Response) -> None:
        """Exchange the key for a session cookie."""
        if not secrets.compare_digest(_utf8(key), self._key):
            raise HTTPException(401, "this is not the key")
        response.set_cookie(COOKIE, self._session, httponly=True, samesite="strict")

    async def _check(self, request: Request) -> None:
        if not self.needs_key:
            _check_host(request)
        if request.method == "POST":
            _check_origin(request)
        needs = request.scope["path"].startswith(("/api/", METRICS_PATH))
        is_open = not (self.needs_key and needs)
        if not is_open and not await self._has_key(request):
            text = "log in, or send the key as a bearer token"
            raise HTTPException(401, text, {"WWW-Authenticate": "Bearer"})

    async def _has_key(self, request: Request) -> bool:
        """Return whether a request has the key or the session cookie."""
        bearer = await BEARER(request)
        # Servers decode headers as Latin-1; clients send UTF-8.
        key = b"" if bearer is None else bearer.credentials.encode("latin-1")
        if secrets.compare_digest(key, self._key):
            return True
        return secrets.compare_digest(_utf8(await SESSION(request) or ""), _utf8(self._session))


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
