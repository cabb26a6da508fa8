"""Facts in a real browser: the expression, its faults, facets, fields shown on the cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from geosim.ingest.schema import point_id
from tests.search.described import ODD, describe, facts
from tests.search.web.test_browser import Open, browser, paths, pytestmark, search_from, visit

__all__ = ["browser", "pytestmark", "visit"]

STORED = "rocks/marble/marble-0002.jpg"
REFUSED = "422"


@pytest.fixture(scope="module")
def served(serve: Any) -> Iterator[Any]:
    """A page whose pictures have facts."""
    with serve() as one:
        describe(one.store)
        yield one


def option(page: Page, name: str) -> str:
    return parse_qs(urlsplit(page.url).query).get(name, [""])[0]


def settled(page: Page, count: int) -> list[str]:
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator(".rank")).to_have_count(count)
    return paths(page)


def test_an_expression_and_its_faults(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(STORED)}&k=20", allowed=REFUSED)
    settled(page, 20)
    box = page.get_by_label("Where", exact=True)
    box.fill('depth >= 2921 and hole = "A-1"')
    box.press("Enter")
    expected = served.index.search(STORED, 20, where='depth >= 2921 and hole = "A-1"')
    expect(page.locator("#hits .path").first).to_have_text(expected[0].path)
    assert settled(page, len(expected)) == [hit.path for hit in expected]
    assert option(page, "where") == 'depth >= 2921 and hole = "A-1"'

    # A fault is told at its place, and the hits stay.
    box.fill("depth > déép and")
    box.press("Enter")
    fault = page.locator("#where-fault")
    expect(fault).to_contain_text("expected a condition, such as depth >= 2900, received the end")
    box.fill("not \U0001f5ff = 1")
    box.press("Enter")
    expect(fault.locator("mark")).to_have_text("\U0001f5ff = 1")
    expect(fault).to_contain_text("no indexed image has a fact")
    assert paths(page) == [hit.path for hit in expected]
    assert box.get_attribute("aria-invalid") == "true"
    box.fill("hole = none")
    box.press("Enter")
    expect(page.locator("#status")).to_contain_text(
        "No image fits; no indexed image matches hole = none"
    )
    expect(page.locator("#notice")).to_be_hidden()
    expect(fault).to_be_hidden()
    page.goto(f"{served.url}/?where=hole+%3D+none")
    expect(page.locator("#status")).to_contain_text("no indexed image matches hole = none")
    expect(page.locator("#notice")).to_be_hidden()


def test_facets_count_and_add_to_the_expression(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(STORED)}&k=20", allowed=REFUSED)
    settled(page, 20)
    box = page.get_by_label("Where", exact=True)
    page.get_by_text("Narrow by class or fact").click()
    hole = page.get_by_role("region", name="hole")
    expect(hole.get_by_role("button")).to_have_count(4)
    expect(hole).to_contain_text("88 images")
    hole.get_by_role("button", name="A-1").click()
    expect(hole.get_by_role("button")).to_have_count(1)
    assert option(page, "where") == 'hole = "A-1"'
    depth = page.get_by_role("region", name="depth")
    expect(depth).to_contain_text("2910.5 to 2994.5")
    depth.get_by_label("depth from").fill("2920")
    depth.get_by_label("depth to").fill("2960.5")
    depth.get_by_role("button").click()
    expect(depth).to_contain_text("2952.5 to 2952.5")
    text = 'hole = "A-1" and depth >= 2920 and depth <= 2960.5'
    assert option(page, "where") == text
    assert box.input_value() == text
    sampled = page.get_by_role("region", name="sampled")
    expect(sampled).to_contain_text("2024-05-06 to 2024-05-06")
    assert settled(page, 8) == [hit.path for hit in served.index.search(STORED, 20, where=text)]
    box.fill(f"{text} and")
    box.press("Enter")
    expect(page.locator("#where-fault")).to_contain_text("received the end")
    expect(depth).to_contain_text("2952.5 to 2952.5")
    page.go_back()
    page.go_back()
    expect(depth).to_contain_text("2910.5 to 2994.5")
    assert box.input_value() == 'hole = "A-1"'
    page.reload()
    settled(page, 20)
    assert box.input_value() == 'hole = "A-1"'


def test_fields_on_cards_and_hits_of_other_holes(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(STORED)}&k=12")
    settled(page, 12)
    page.get_by_text("Show with each image").click()
    for name in ("hole", "depth", ODD, "location"):
        page.get_by_label(name, exact=True).check()
        named = page.locator(".card").first.get_by_text(name, exact=True)
        expect(named).to_be_visible()
    for card, path in zip(page.locator(".card").all(), settled(page, 12), strict=True):
        own = facts(path)
        told = card.locator("dd").all_inner_texts()
        place = own.get("location")
        values = [own.get(ODD), own.get("depth"), own.get("hole")]
        values.append(f"{place['lat']:g}, {place['lon']:g}" if place else None)
        assert told == ["–" if one is None else str(one).removesuffix(".0") for one in values]
    page.get_by_label("Leave out same").select_option("hole")
    others = served.index.search(STORED, 12, not_same="hole")
    expect(page.locator("#hits .path").first).to_have_text(others[0].path)
    assert settled(page, 12) == [hit.path for hit in others]
    page.get_by_label("One per").select_option("hole")
    settled(page, 3)
    assert (option(page, "not_same"), option(page, "one_per")) == ("hole", "hole")
    shown = option(page, "show")
    page.reload()
    settled(page, 3)
    assert option(page, "show") == shown
    assert page.get_by_label(ODD, exact=True).is_checked()
    assert not page.get_by_label("sampled", exact=True).is_checked()


def test_the_start_is_of_the_images_that_match(visit: Open) -> None:
    page = visit("/?where=hole%20%3D%20A-1&show=hole")
    expect(page.locator(".card")).to_have_count(24)
    assert set(page.locator(".card dd").all_inner_texts()) == {"A-1"}
    search_from(page)
    settled(page, 10)
    assert option(page, "where") == "hole = A-1"
