"""What a bad request is told: our words, what was expected, and what was received."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from geosim.ingest.schema import point_id
from tests.search.web.drawn import drawn

STORED = point_id("rocks/marble/marble-0002.jpg")
SIMILAR = f"/api/points/{STORED}/similar"
ONES = {"embedding": "A" * 170 + "w"}

LIBRARY_WORDS = re.compile(
    r"input|should|valid(?! HTTP)|uuid|string|integer|parse|pydantic|field|permitted|"
    r"uploadedimage|validation|dictionary|not found|not allowed|decode",
    re.IGNORECASE,
)


def told(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    text = str(answer.json()["error"])
    assert not LIBRARY_WORDS.search(text), text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"k": "0"}, 'k: expected 1 or more, received "0"'),
        ({"k": "1001"}, 'k: expected 1000 or less, received "1001"'),
        ({"k": "1.5"}, 'k: expected a whole number, received "1.5"'),
        ({"k": "zzz"}, 'k: expected a whole number, received "zzz"'),
        ({"k": "9" * 5000}, "k: expected a smaller number"),
        ({"k": ""}, "k: expected a whole number"),
        ({"min_score": "zzz"}, 'min_score: expected a number, received "zzz"'),
        ({"min_score": "nan"}, 'min_score: expected a number, received "nan"'),
        ({"min_score": "2"}, 'min_score: expected 1 or less, received "2"'),
        ({"exact": "zzz"}, 'exact: expected true or false, received "zzz"'),
        ({"class": ""}, "class: expected a value, received nothing; or leave it out"),
        ({"where": "x" * 4001}, "where: expected 4000 characters or fewer"),
        ({"one_per": "x" * 201}, "one_per: expected 200 characters or fewer"),
        ({"zzz": "1"}, "zzz is unknown here; leave it out, or see /docs"),
        ({"k": "\x1b[2J"}, 'k: expected a whole number, received "\\x1b[2J"'),
    ],
)
def test_a_parameter_of_a_search(
    client: httpx.Client, parameters: dict[str, str], text: str
) -> None:
    assert told(client.get(SIMILAR, params=parameters), 422) == text
    assert text in told(client.get("/api/search", params={**ONES, **parameters}), 422)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/api/points/zzz/similar", 'id: expected the id of an indexed image, received "zzz"'),
        (f"/api/images/{STORED}?side=9999", 'side: expected 1024 or less, received "9999"'),
        ("/api/search", "embedding is missing; /docs describes it"),
        (
            "/api/search?embedding=zzz",
            "embedding: expected an embedding of 171 characters, as a search returns it, received "
            '"zzz"',
        ),
        (
            f"/api/search?embedding={ONES['embedding']}&sha256=zzz",
            'sha256: expected 64 hexadecimal digits, 0-9 and a-f, received "zzz"',
        ),
        ("/api/facets?values=0", 'values: expected 1 or more, received "0"'),
        ("/api/map/matching", "where is missing; /docs describes it"),
    ],
)
def test_an_address(client: httpx.Client, address: str, text: str) -> None:
    assert told(client.get(address), 422) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "positive is missing; /docs describes it"),
        ({"positive": "zzz"}, 'positive: expected a list, received "zzz"'),
        ({"positive": []}, "positive: expected 1 or more"),
        ({"positive": [STORED] * 101}, "positive: expected 100 or fewer, received 101"),
        (
            {"positive": ["zzz"]},
            'positive example 1: expected the id of an indexed image, received "zzz"',
        ),
        (
            {"positive": [STORED], "negative": [STORED, 5]},
            "negative example 2: expected the id of an indexed image, received 5",
        ),
        (
            {"positive": [{"embedding": "zzz"}]},
            "positive example 1, embedding: expected an embedding of 171 characters, as a search "
            'returns it, received "zzz"',
        ),
        ({"positive": [{}]}, "positive example 1, embedding is missing; /docs describes it"),
        (
            {"positive": [{**ONES, "zzz": 1}]},
            "positive example 1, zzz is unknown here; leave it out, or see /docs",
        ),
        ({"positive": [STORED], "k": "5"}, 'k: expected a number, received "5"'),
        ({"positive": [STORED], "class": 5}, "class: expected text, received 5"),
        ([1], "the body: expected a JSON object"),
    ],
)
def test_a_body(client: httpx.Client, body: Any, text: str) -> None:
    assert told(client.post("/api/recommend", json=body), 422) == text


def test_a_body_that_is_no_json(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    for body, status in (
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b"\xff", 400),
        (b"", 422),
        (b"[" * 60_000, 400),
    ):
        answer = client.post("/api/recommend", content=body, headers=headers)
        assert "/docs describes" in told(answer, status)


def test_nothing_is_there_or_answers(client: httpx.Client) -> None:
    for path in ("/zzz", "/api/zzz", "/static/zzz", "/static/", "/api/points//similar"):
        assert told(client.get(path), 404) == "nothing is at this address; /docs lists what is"
    assert told(client.put("/api/search"), 405) == "this address answers GET, HEAD, POST alone"


PATHS = (
    *("/", "/map", "/docs", "/openapi.json", "/metrics", "/static/app.js", "/api/search"),
    *("/api/recommend", SIMILAR, f"/api/images/{STORED}", f"/api/images/{STORED}.jpg"),
    *("/api/collection", "/api/facets", "/api/map", "/api/map/matching?where=not+has(zzz)"),
)


@pytest.mark.parametrize("path", PATHS)
def test_a_refused_method_names_all_that_are_answered(client: httpx.Client, path: str) -> None:
    methods = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "ZZZ")
    answers = {method: client.request(method, path) for method in methods}
    refused = [one for one in answers.values() if one.status_code == 405]
    answered = [method for method, one in answers.items() if one.status_code != 405]
    assert {one.headers["allow"] for one in refused} == {", ".join(answered)}
    if "GET" in answered:
        assert "HEAD" in answered
        assert answers["HEAD"].status_code in (answers["GET"].status_code, 200)
        assert answers["HEAD"].content == b""


def test_the_document_has_every_bound(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    found = {one["name"]: one for one in document["paths"]["/api/search"]["get"]["parameters"]}
    assert found["embedding"]["schema"]["minLength"] == 171
    assert found["embedding"]["schema"]["pattern"].startswith("^[A-Za-z0-9_-]{170}")
    assert found["class"]["schema"]["anyOf"][0]["minLength"] == 1

    def unbounded(schema: dict[str, Any]) -> bool:
        kinds = [
            schema,
            *schema.get("anyOf", ()),
            *([schema["items"]] if "items" in schema else ()),
        ]
        return any(
            one.get("type") in ("number", "integer") and "minimum" not in one for one in kinds
        )

    free = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, one in schema.get("properties", {}).items()
        if unbounded(one)
    }
    values = {"FacetAnswer.least", "FacetAnswer.greatest", "SpecimenAnswer.value"}
    assert free <= values, "only facts may have any number"


@pytest.mark.parametrize(
    ("name", "value"),
    [("k", "3"), ("offset", True), ("min_score", "0"), ("exact", "true"), ("without_wrong", 1)],
)
def test_json_has_numbers_and_no_texts_for_them(
    client: httpx.Client, name: str, value: object
) -> None:
    body = {"positive": [STORED], name: value}
    answer = client.post("/api/recommend", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(f"{name}: expected ")


def test_an_area_without_images_is_told(client: httpx.Client) -> None:
    area = f"{drawn(client)['drawing']},0,0,1,0,0,1"
    wanted = {"area": area, "one_per": "class"}
    answer = client.get(f"/api/points/{STORED}/similar", params=wanted).json()
    assert answer["hits"] == []
    assert answer["note"] == "no indexed image is in this part"
