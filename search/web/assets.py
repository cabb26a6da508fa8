"""The files of the web page, held in memory: no address of a request reaches the file system."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

FOLDER = Path(__file__).parent / "static"

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Endings of the files that are served; told here, since a system's own table may differ."""

PAGES = {"/": "index.html", "/map": "index.html", "/docs": "docs.html"}
"""Addresses of pages; all other files are below ``/static``."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    content: bytes
    kind: str

    def __call__(self, request: Request) -> Response:
        """Answer with the file, or say that the browser has it already."""
        mark = f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'
        headers = {"ETag": mark, "Cache-Control": "no-cache"}
        if mark in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.kind, headers=headers)


def static_routes() -> APIRouter:
    """Return the routes of the page and its files."""
    assets = {
        path.name: Asset(path.read_bytes(), KINDS[path.suffix])
        for path in FOLDER.iterdir()
        if path.suffix in KINDS
    }
    router = APIRouter(include_in_schema=False)
    named = {f"/static/{name}": name for name in assets if not name.endswith(".html")}
    for address, name in {**PAGES, **named}.items():
        router.add_route(address, assets[name].__call__, methods=["GET"])
    return router
