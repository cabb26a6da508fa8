"""Which points of the map match an expression: in the API, and in a real browser."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from geosim.ingest.schema import point_id
from tests.search.described import describe, facts
from tests.search.web.drawn import answered, drawn
from tests.search.web.test_browser import Open, browser, expect_changed, pytestmark, visit

__all__ = ["browser", "pytestmark", "visit"]


@pytest.fixture(scope="module")
def served(serve: Any) -> Iterator[Any]:
    """A page whose pictures have facts."""
    with serve() as one:
        describe(one.store)
        yield one


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ("hole = A-1", lambda own: own.get("hole") == "A-1"),
        ("has(depth)", lambda own: "depth" in own),
        ("not has(depth)", lambda own: "depth" not in own),
        ("depth > 1e9", lambda _: False),
        ("not depth > 1e9", lambda _: True),
    ],
)
def test_a_bit_per_point(client: httpx.Client, served: Any, where: str, matches: Any) -> None:
    plan = drawn(client)
    answer = answered(client, "GET", "/api/map/matching", params={"where": where}).json()
    bits = np.frombuffer(base64.b64decode(answer["mask"]), np.uint8)
    mask = np.unpackbits(bits, count=len(plan["ids"]), bitorder="little").astype(bool)
    expected = [matches(facts(one["path"])) for one in plan["images"]]
    assert mask.tolist() == expected
    assert (answer["matches"], answer["tag"]) == (sum(expected), plan["tag"])


def test_a_fault_has_its_place(client: httpx.Client, served: Any) -> None:
    drawn(client)
    wrong = client.get("/api/map/matching", params={"where": "depth > deep"})
    assert (wrong.status_code, wrong.json()["place"]) == (422, 8)
    assert client.get("/api/map/matching").status_code == 422
    known = client.get("/api/map/matching", params={"where": "hole = A-1"}).headers["etag"]
    same = {"If-None-Match": known}
    again = client.get("/api/map/matching", params={"where": "hole = A-1"}, headers=same)
    assert again.status_code == 304


def told(page: Page, text: str) -> None:
    expect(page.locator("#map-matches")).to_have_text(text)


def test_points_that_do_not_match_are_dimmed(visit: Open, served: Any) -> None:
    page = visit("/map", allowed="422")
    canvas = page.locator("#map")
    expect(canvas).to_have_attribute("data-drawn", "98")
    told(page, "")
    before = canvas.screenshot()
    box = page.get_by_label("Show where")
    box.fill("path = rocks/marble/marble-0002.jpg")
    box.press("Enter")
    told(page, "1 of 98 images match")
    assert page.url.endswith("/map?where=path+%3D+rocks%2Fmarble%2Fmarble-0002.jpg")
    expect_changed(canvas, before)
    canvas.focus()
    for key in ("0", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        expect(page.locator("#tip .path")).to_have_text("rocks/marble/marble-0002.jpg")
    box.fill("hole = A-1 and")
    box.press("Enter")
    expect(page.locator("#map-matches")).to_contain_text("received the end")
    expect(page.locator("#map-matches")).to_contain_text("at character 15")
    assert box.get_attribute("aria-invalid") == "true"
    box.fill("depth > 1e9")
    box.press("Enter")
    told(page, "None of 98 images match")
    box.fill("hole = A-1")
    box.press("Enter")
    told(page, "24 of 98 images match")
    page.reload()
    told(page, "24 of 98 images match")
    canvas.focus()
    page.keyboard.press("0")
    path = page.locator("#tip .path").inner_text()
    assert facts(path)["hole"] == "A-1"
    page.keyboard.press("Enter")
    expect(page.locator("#query .path")).to_have_text(path)
    expect(page.locator("#option-where")).to_have_value("hole = A-1")
    page.get_by_role("link", name="Map").click()
    told(page, "24 of 98 images match")
    page.get_by_role("link", name="Search", exact=True).click()
    expect(page.locator("#option-where")).to_have_value("hole = A-1")
    page.goto(served.url + "/map")
    told(page, "")


def test_the_map_is_renewed_while_the_page_runs(visit: Open, served: Any) -> None:
    """Pictures that were replaced, at the same number, are on it; those that went are not."""
    served.store.release()  # as a command that ended
    page = visit("/map", allowed="404")  # the new one has no file
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    old_id = point_id("rocks/basalt/basalt-0011.jpg")
    (point,) = served.store.fetch([old_id])
    old = point.payload
    new = replace(old, path="rocks/basalt/renewed.jpg")
    served.store.delete([old.id])
    served.store.upsert([new], point.vector[None])
    served.store.release()
    try:
        page.locator("#map-where").fill("path = rocks/basalt/renewed.jpg")
        page.locator("#map-where").press("Enter")
        told(page, "1 of 98 images match")
        page.locator("#map").focus()
        page.keyboard.press("0")
        expect(page.locator("#tip .path")).to_have_text("rocks/basalt/renewed.jpg")
        with served.client as client:
            assert {new.id, old.id} & set(drawn(client)["ids"]) == {new.id}
    finally:
        served.store.delete([new.id])
        served.store.upsert([old], point.vector[None])
        served.store.release()
