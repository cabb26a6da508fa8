"""Very many classes, and names of any script, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from geosim.ingest.schema import Change
from tests.search.web.test_browser import Open, browser, pytestmark, visit

__all__ = ["browser", "pytestmark", "visit"]

OVERRIDE = "x\u202egpj.exe"
NAMES = ["花崗岩の薄片" * 12, "صخر جيري رسوبي", "אבן חול", OVERRIDE, "granite", "Granite gneiss"]


@pytest.fixture(scope="module")
def served(serve: Any) -> Iterator[Any]:
    """A page whose pictures have a class each, the first of them `NAMES`."""
    with serve() as one:
        points = [point.payload for batch in one.store.scan(vectors=False) for point in batch]
        points.sort(key=lambda payload: payload.path)
        names = [*NAMES, *(f"tuff {number}" for number in range(len(points) - len(NAMES)))]
        one.store.update(
            [Change((p.id,), {"class": name}) for p, name in zip(points, names, strict=True)]
        )
        yield one


def legend(page: Page) -> Any:
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    return page.locator("#legend-panel")


def pressed(page: Page) -> list[str]:
    return page.locator('#legend .toggle[aria-pressed="true"] .name').all_inner_texts()


def test_the_class_is_found_by_typing(visit: Open, served: Any) -> None:
    page = visit()
    expect(page.locator("#status")).to_contain_text("One of 60 of the 98 classes")
    box = page.get_by_role("combobox", name="Class", exact=True)
    box.fill("gneiss")
    box.press("Enter")
    expect(box).to_have_value("Granite gneiss")
    expect(page.locator("#status")).to_contain_text("1 image, by path")
    expect(page.locator("#hits .class")).to_have_text("Granite gneiss")
    box.fill("uff 1")
    box.press("Enter")
    assert "11 classes have this" in box.evaluate("(input) => input.validationMessage")
    box.fill("granite")  # one has exactly this name, and another has it in its name
    box.press("Enter")
    expect(page.locator("#hits .class")).to_have_text("granite")
    page.reload()
    expect(box).to_have_value("granite")


def test_the_legend_is_searched_and_remembers(visit: Open, served: Any) -> None:
    page = visit("/map")
    panel = legend(page)
    panel.get_by_role("button", name="none").click()
    assert pressed(page) == []
    panel.get_by_label("Find a class").fill("GRANITE")
    expect(page.locator("#legend .toggle")).to_have_count(2)
    panel.get_by_role("button", name="Only Granite gneiss").click()
    assert pressed(page) == ["Granite gneiss"]
    expect(page.locator("#legend-title")).to_have_text("Classes (1 of 98)")
    page.locator("#legend .toggle").last.focus()
    page.keyboard.press("Space")
    assert len(pressed(page)) == 2
    page.locator("#map").focus()
    page.keyboard.press("0")
    expect(page.locator("#tip .class")).to_have_text(NAMES[-1])
    page.reload()
    legend(page)
    expect(page.locator("#legend-title")).to_have_text("Classes (2 of 98)")
    panel.get_by_role("button", name="all", exact=True).click()
    assert len(pressed(page)) == 98


@pytest.mark.parametrize("size", [(1280, 900), (390, 844), (320, 225)])
def test_the_legend_leaves_the_points_visible(
    visit: Open, served: Any, size: tuple[int, int]
) -> None:
    page = visit("/map")
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    page.reload()
    panel = legend(page)
    if width < 600:  # 1,280 at 400 % is 320
        expect(page.locator("#legend")).to_be_hidden()
    box, map_box = panel.bounding_box(), page.locator("#map").bounding_box()
    assert box["width"] * box["height"] < map_box["width"] * map_box["height"] / 2


def test_names_are_isolated_and_disguise_nothing(visit: Open, served: Any) -> None:
    page = visit("/?k=98")
    expect(page.locator("#hits .class").first).to_be_visible()
    page.goto(served.url + "/?class=" + "x%E2%80%AEgpj.exe")
    name = page.locator("#hits .class bdi")
    expect(name).to_have_text("x\\u202egpj.exe")
    for text in NAMES[:3]:
        page.get_by_role("combobox", name="Class", exact=True).fill(text)
        page.get_by_role("combobox", name="Class", exact=True).press("Enter")
        expect(name).to_have_text(text)
        card, box = page.locator(".card").bounding_box(), name.bounding_box()
        assert card["x"] <= box["x"]
        assert box["x"] + box["width"] <= card["x"] + card["width"]
        assert name.evaluate("(one) => getComputedStyle(one).unicodeBidi") == "isolate"
    page.locator(".hit").click()
    hidden = page.evaluate(
        "[...document.querySelectorAll('body *')].some((one) => [...one.childNodes].some((node) =>"
        " node.nodeType === 3 && /[\\u202a-\\u202e]/.test(node.data)))"
    )
    assert not hidden
