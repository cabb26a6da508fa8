"""The map in a real browser: a query and its hits on it, areas of it, its far ends, many points."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.search.web.drawn import drawn
from tests.search.web.test_browser import Open, browser, expect_changed, pytestmark, send, visit

__all__ = ["browser", "pytestmark", "visit"]


def opened(visit: Open, path: str = "/map", **settings: Any) -> Page:
    page = visit(path, **settings)
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    return page


def test_a_query_and_its_hits_are_marked(visit: Open, served: Any, photo: Path) -> None:
    """From the answer to the map and back; of an uploaded picture, too."""
    (first, *_) = served.index.search("rocks/marble/marble-0002.jpg")
    page = visit(f"/?id={first.id}&k=7")
    expect(page.locator(".card")).to_have_count(7)
    page.get_by_role("link", name="Map").click()
    told = page.locator("#map-matches")
    expect(told).to_contain_text("Marked: 1 query, 7 hits.")
    canvas = page.locator("#map")
    marked = canvas.screenshot()
    told.get_by_role("link", name="Back to the answer").click()
    expect(page.locator(".card")).to_have_count(7)
    assert page.url.endswith(f"/?id={first.id}&k=7")
    page.goto(served.url + "/map")
    expect(canvas).to_have_attribute("data-drawn", "98")
    expect_changed(canvas, marked)
    page.goto(served.url)
    send(page, photo)
    page.get_by_role("link", name="Map").click()
    expect(told).to_contain_text("Marked: 1 query, 10 hits, the query among its nearest.")


def test_an_area_by_mouse(visit: Open, served: Any) -> None:
    page = opened(visit)
    page.get_by_role("button", name="Select an area").click()
    box = page.locator("#map").bounding_box()
    left, top = box["x"] + box["width"] * 0.25, box["y"] + 2
    page.mouse.move(left, top)
    page.mouse.down()
    right, bottom = box["x"] + box["width"] * 0.55, box["y"] + box["height"] - 2
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    panel = page.locator("#area")
    images = number_in(panel)
    assert 12 < images < 90
    panel.get_by_role("button", name="List").click()
    expect(panel.locator("li")).to_have_count(min(24, images))
    while (more := panel.get_by_role("button", name="More")).is_enabled():
        before = panel.locator("li").count()
        more.click()
        expect(panel.locator("li")).not_to_have_count(before)
    listed = {one.get_attribute("title") for one in panel.locator("li a").all()}
    assert len(listed) == images
    panel.get_by_role("button", name="Search among them").click()
    expect(page.locator("#area-note")).to_be_visible()
    expect(page.locator(".card")).to_have_count(min(24, images))
    assert set(page.locator("#hits .path").all_inner_texts()) <= listed
    page.get_by_role("link", name="Map").click()
    assert number_in(panel) == images
    panel.get_by_role("button", name="Search by them").click()
    expect(page.locator("#query li")).to_have_count(images)
    page.go_back()
    page.go_back()
    expect(page.locator("#area-note")).to_be_visible()
    page.get_by_role("button", name="Anywhere", exact=True).click()
    expect(page.locator("#area-note")).to_be_hidden()
    assert "area" not in page.url


def number_in(panel: Locator) -> int:
    told = panel.get_by_role("status")
    expect(told).to_contain_text("in the area")
    return int(told.inner_text().split()[0])


def test_an_area_by_touch(visit: Open) -> None:
    page = opened(visit, has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 780})
    page.get_by_role("button", name="Select an area").tap()
    touch(page, [(60, 130), (330, 130), (330, 640), (60, 640)])
    images = number_in(page.locator("#area"))
    assert images > 20
    page.locator("#area").get_by_role("button", name="Clear").click()
    expect(page.locator("#area")).to_be_hidden()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def touch(page: Page, corners: list[tuple[int, int]]) -> None:
    session = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(corners):
        kind = "touchMove" if number else "touchStart"
        points = {"touchPoints": [{"x": x, "y": y}]}
        session.send("Input.dispatchTouchEvent", {"type": kind, **points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_an_area_by_keyboard(visit: Open) -> None:
    page = opened(visit)
    page.get_by_role("button", name="Select an area").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#lasso")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    panel = page.locator("#area")
    small = number_in(panel)
    expect(panel).to_be_focused()
    page.get_by_role("button", name="Select an area").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    assert number_in(panel) > small
    page.keyboard.press("Tab")
    expect(panel.get_by_role("button", name="List")).to_be_focused()
    page.get_by_role("button", name="Select an area").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.get_by_role("button", name="Select an area")).to_be_focused()


def test_an_empty_view_leads_back(visit: Open) -> None:
    page = opened(visit)
    hint = page.locator("#map-empty")
    expect(hint).to_be_hidden()
    page.locator("#map").hover(position={"x": 640, "y": 5})
    for _ in range(12):
        page.mouse.wheel(0, -900)
    expect(hint).to_be_visible()
    hint.get_by_role("button", name="Show all").click()
    expect(hint).to_be_hidden()
    expect(page.locator("#map")).to_be_focused()


def test_how_far_the_drawing_is_is_told(visit: Open, served: Any) -> None:
    with served.client as client:
        drawn(client)
    page = visit()
    expect(page.locator(".card").first).to_be_visible()
    told = {"doing": "placing", "done": 340_000, "total": 1_000_000}
    answers = [told, None]

    def answer(route: Route) -> None:
        one = answers.pop(0)
        if one is None:
            expect(page.locator("#map-status")).to_contain_text("placing, 34 %")
            expect(page.locator("#map-status progress")).to_have_js_property("value", 340_000)
            route.continue_()
        else:
            route.fulfill(status=202, json=one)

    page.route("**/api/map", answer)
    page.get_by_role("link", name="Map").click()
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    expect(page.locator("#map-status")).to_have_text("")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_many_are_shown_by_density_and_few_as_points(visit: Open, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    head = {
        "tag": "t",
        "drawing": "0" * 12,
        "classes": ["granite", None],
        "sizes": [60_000, 40_000],
    }
    generator = np.random.default_rng(0)
    places = generator.normal(0.5, 0.1, (2, 100_000)).clip(0, 1) * 65_535
    text = orjson.dumps(head)
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I", len(text)) + text + places.astype("<u2").tobytes()
    page.route("**/api/map", lambda route: route.fulfill(body=body))
    page.get_by_role("link", name="Map").click()
    canvas = page.locator("#map")
    expect(canvas).to_have_attribute("data-drawn", "100000")
    expect(canvas).to_have_attribute("data-as", "density")
    before = canvas.screenshot()
    page.locator("#legend .toggle", has_text="granite").click()
    expect_changed(canvas, before)
    page.locator("#legend .toggle", has_text="granite").click()
    for _ in range(8):
        page.get_by_role("button", name="Zoom in").click()
    expect(canvas).to_have_attribute("data-as", "points")
    page.get_by_role("button", name="Select an area").click()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert number_in(page.locator("#area")) > 50
    page.get_by_role("button", name="Zoom all", exact=True).or_(page.locator("#zoom-all")).click()
    expect(canvas).to_have_attribute("data-as", "density")
