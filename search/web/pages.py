"""The files of the web page, served by Starlette."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "static"

PAGES = {"/": "index.html", "/map": "index.html", "/docs": "docs.html"}
"""URL path -> file of `FOLDER`. Every file is also below ``/static``."""


def add_pages(app: FastAPI) -> None:
    """Add the routes of the pages and their files."""
    # Starlette asks the system's table, which on Windows may have text/plain for .js.
    for suffix, kind in ((".css", "css"), (".html", "html"), (".js", "javascript")):
        mimetypes.add_type(f"text/{kind}", suffix)
    mimetypes.add_type("image/svg+xml", ".svg")
    files = StaticFiles(directory=FOLDER)

    async def page(request: Request) -> Response:
        return await files.get_response(PAGES[request.scope["path"]], request.scope)

    for path in PAGES:
        app.add_route(path, page, include_in_schema=False)
    app.mount("/static", files)
