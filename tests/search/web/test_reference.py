"""The page that describes the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from geosim.search.web.reference import reference_page, type_name


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 1000}, "integer, 1 to 1000"),
        ({"type": "number", "maximum": 1}, "number, at most 1"),
        ({"type": "string", "minLength": 1}, "string, 1 or more characters"),
        ({"type": "string", "minLength": 64, "maxLength": 64}, "string, 64 characters"),
        ({"type": "string", "format": "uuid", "pattern": "^a"}, "string (uuid), ^a"),
        ({"enum": ["right", "wrong"]}, '"right" or "wrong"'),
        ({"const": None}, "null"),
        ({"anyOf": [{"$ref": "#/components/schemas/Crop"}, {"type": "null"}]}, "Crop or null"),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 9},
            "list of string, at most 9 items",
        ),
    ],
)
def test_types_are_told_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_name(schema) == words


def test_texts_and_addresses_are_no_markup(tmp_path: Path) -> None:
    template = tmp_path / "docs.html"
    template.write_text('<p id="about"></p><div id="routes"></div>', encoding="utf-8")
    operation = {"description": "One.\n\n<b>two</b>", "parameters": []}
    document = {
        "info": {"description": "a < b"},
        "paths": {"/api/<i>": {"get": operation}},
        "components": {"schemas": {}},
    }
    page = reference_page(template, document, "http://<host>")
    assert '<p id="about">a &lt; b</p>' in page
    assert "<p>One.</p><p>&lt;b&gt;two&lt;/b&gt;</p>" in page
    assert "<pre>curl 'http://&lt;host&gt;/api/&lt;i&gt;'</pre>" in page


def test_the_page_describes_every_route_without_a_script(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path.replace("{id}", "ID") in page
    origin = str(client.base_url).rstrip("/")
    assert f"curl '{origin}/api/search?embedding=...'" in page
    assert "<script" not in page
