"""The files of the page."""

from __future__ import annotations

import mimetypes

import anyio
import httpx
import pytest
from fastapi import FastAPI

from geosim.search.web.app import FOLDER, add_pages

EXPECTED = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


MOST_BYTES = 150_000
"""Of all scripts and styles together, as they are sent."""


def test_the_page_is_small_and_names_no_other_site() -> None:
    loaded = [file for file in FOLDER.iterdir() if file.suffix in (".js", ".css")]
    assert sum(file.stat().st_size for file in loaded) < MOST_BYTES
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, file.name


def test_content_types_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimetypes, "_db", mimetypes.MimeTypes())
    for suffix in EXPECTED:
        mimetypes.add_type("text/plain", suffix)
    app = FastAPI()
    add_pages(app)

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for file in FOLDER.iterdir():
                answer = await client.get(f"/static/{file.name}")
                assert answer.content == file.read_bytes()
                assert answer.headers["content-type"] == EXPECTED[file.suffix]

    anyio.run(ask)
    assert mimetypes.guess_type("page.js")[0] == "text/plain", "the table is the caller's"
