"""Specimens in a real browser: chosen, shown with their pictures, kept in the address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from geosim.ingest.schema import point_id
from geosim.search.searcher import Searcher
from geosim.search.types import Result, SearchOptions
from tests.search.described import describe
from tests.search.web.test_browser import Open, browser, paths, pytestmark, send, visit
from tests.search.web.test_browser_facts import option

__all__ = ["browser", "pytestmark", "visit"]

STORED = "rocks/marble/marble-0002.jpg"


@pytest.fixture(scope="module")
def served(serve: Any) -> Iterator[Any]:
    """A page whose pictures are of four holes, and of eleven depths."""
    with serve() as one:
        describe(one.store)
        yield one


def ranked(served: Any, *queries: Any, by: str, **options: Any) -> Result:
    searcher = Searcher(served.store, served.working)
    (result,) = searcher.search_specimens(queries, by, SearchOptions(**options), together=True)
    return result


def shows(page: Page, expected: Result) -> None:
    """Check the cards: a specimen each, with its pictures."""
    note = expected.note or ""
    expect(page.locator("#status")).to_contain_text(note)
    expect(page.locator(".card")).to_have_count(len(expected.hits))
    assert paths(page) == [hit.path for hit in expected.hits]
    for card, hit in zip(page.locator(".card").all(), expected.hits, strict=True):
        assert hit.specimen is not None
        assert card.locator(".score").inner_text() == f"{hit.score:.4f}"
        hidden = hit.specimen.images - len(hit.specimen.best)
        more = f", {hidden} not shown" if hidden else ""
        expect(card.locator(".specimen p")).to_have_text(f"{hit.specimen.images} images{more}")
        links = [one.get_attribute("href") or "" for one in card.locator(".set a").all()]
        others = hit.specimen.best[1:]
        assert [one.id in link for one, link in zip(others, links, strict=True)] == [True] * len(
            others
        )


def test_specimens_are_ranked_and_shown(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(STORED)}&show=depth")
    expect(page.locator(".card")).to_have_count(10)
    choice = page.get_by_label("Together by")
    page.get_by_label("One per").select_option("class")
    choice.focus()
    page.keyboard.type("hole")
    choice.press("Tab")
    expect(page.locator("#results-title")).to_have_text("Most similar specimens")
    expected = ranked(served, STORED, by="hole")
    shows(page, expected)
    expect(page.locator("#status")).to_contain_text("3 specimens; searched by hole: 24 images of")
    assert (option(page, "together_by"), option(page, "one_per")) == ("hole", "")
    for other in ("One per", "Leave out same"):
        expect(page.get_by_label(other)).to_be_disabled()
    first = page.locator(".card").first
    assert first.locator("dd").first.inner_text() == expected.hits[0].shown["hole"]
    page.reload()
    shows(page, expected)
    expect(choice).to_have_value("hole")

    other = first.locator(".set a").first
    title = other.get_attribute("title") or ""
    other.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("h2")).to_have_text(title.partition(",")[0])
    dialog.get_by_role("link", name="Search from this").click()
    expect(page.locator("#query .path")).to_have_text(title.partition(",")[0])
    shows(page, ranked(served, title.partition(",")[0], by="hole"))
    choice.select_option("depth")
    expect(page.locator("#status")).to_contain_text("10 specimens")
    box = page.get_by_label("Where", exact=True)
    box.fill("depth > 1e9")
    box.press("Enter")
    expect(page.locator("#status")).to_contain_text(
        "No specimen fits; no indexed image matches depth > 1e9"
    )
    expect(page.locator("#results-title")).to_have_text("No hits")
    expect(page.locator("#notice")).to_be_hidden()
    box.fill("")
    box.press("Enter")
    choice.select_option("")
    expect(page.locator("#results-title")).to_have_text("Most similar images")
    expect(page.get_by_label("One per")).to_be_enabled()
    expect(page.locator(".specimen")).to_have_count(0)


def test_specimens_of_new_pictures_and_of_examples(
    visit: Open, served: Any, photo: Path, sample: Path
) -> None:
    page = visit("/?together_by=hole")
    send(page, photo)
    shows(page, ranked(served, photo, by="hole"))
    shared = page.url
    page.goto(shared)
    shows(page, ranked(served, photo, by="hole"))
    send(page, [photo, sample / "schist" / "schist-0005.jpg"])
    expect(page.locator("#query-title")).to_have_text("Several examples")
    shows(page, ranked(served, photo, "rocks/schist/schist-0005.jpg", by="hole"))


def test_a_part_is_searched_for_alone(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(STORED)}&together_by=hole")
    expect(page.locator(".specimen")).to_have_count(3)
    page.get_by_role("button", name="Select a part").press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#query-title")).to_have_text("Part, from the collection")
    expect(page.locator(".specimen")).to_have_count(0)
    page.get_by_label("Together by").select_option("hole")
    expect(page.locator("#query-title")).to_have_text("From the collection")
    expect(page.locator(".specimen")).to_have_count(3)
    assert option(page, "crop") == ""


@pytest.mark.parametrize("width", [390, 1280])
def test_cards_of_specimens_fit(visit: Open, width: int) -> None:
    page = visit(f"/?id={point_id(STORED)}&together_by=hole&show=depth")
    page.set_viewport_size({"width": width, "height": 844})
    expect(page.locator(".specimen")).to_have_count(3)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
