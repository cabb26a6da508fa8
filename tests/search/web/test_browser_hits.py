"""After the first answer, in a real browser: more, lists, files, marks, memory, many hits."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from geosim.ingest.schema import point_id
from geosim.search.web.archive import LIST_NAME
from tests.search.web.test_browser import Open, browser, paths, pytestmark, visit

__all__ = ["browser", "pytestmark", "visit"]

STORED = "rocks/marble/marble-0002.jpg"
PAGE = f"/?id={point_id(STORED)}"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def served(serve: Any) -> Iterator[Any]:
    """A page of this module's own: marks are written."""
    with serve() as one:
        yield one


def saved(page: Page, button: str) -> Path:
    """Take the hits away; return the file."""
    panel = page.locator("#take")
    if panel.get_attribute("open") is None:
        panel.locator("summary").click()
    with page.expect_download() as download:
        panel.get_by_role("button", name=button).click()
    expect(page.locator("#take-told")).to_contain_text("Saved")
    return Path(download.value.path())


def test_more_hits_by_keyboard_without_a_double(visit: Open, served: Any) -> None:
    page = visit(PAGE)
    expect(page.locator(".card")).to_have_count(10)
    more = page.get_by_role("button", name="More", exact=True)
    expected = [hit.path for hit in served.index.search(STORED, 30)]
    for count in (20, 30):
        more.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".card")).to_have_count(count)
        assert paths(page) == expected[:count]
        expect(page.locator(".hit").nth(count - 10)).to_be_focused()
    assert page.locator(".rank").all_inner_texts() == [str(rank) for rank in range(1, 31)]
    page.goto(served.url + f"/?id={point_id(STORED)}&k=97")
    expect(page.locator("#status")).to_contain_text("97 hits")
    expect(more).to_be_hidden()


@pytest.mark.parametrize("settings", [{}, PHONE], ids=["desk", "phone"])
def test_of_many_hits_only_those_near_the_window_are_in_the_document(
    visit: Open, served: Any, settings: dict[str, Any]
) -> None:
    page = visit(f"{PAGE}&k=97", **settings)
    expect(page.locator("#status")).to_contain_text("97 hits")
    expected = [hit.path for hit in served.index.search(STORED, 97)]
    first, cards = page.locator(".rank", has_text=re.compile("^1$")), page.locator(".card")
    expect(first).to_be_visible()
    assert cards.count() < 70
    assert cards.first.get_attribute("aria-setsize") == "97"
    height = page.evaluate("document.body.scrollHeight")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator(".rank", has_text=re.compile("^97$"))
    expect(last).to_be_visible()
    expect(first).to_have_count(0)
    assert cards.last.get_attribute("aria-posinset") == "97"
    assert paths(page) == expected[-cards.count() :]
    assert page.evaluate("document.body.scrollHeight") == pytest.approx(height, rel=0.15)
    # What has the keyboard's focus stays, and Tab goes on through hits that were not drawn.
    page.locator(".hit").last.focus()
    page.evaluate("scrollTo(0, 0)")
    expect(first).to_be_visible()
    expect(last).to_have_count(1)
    page.locator(".hit").first.focus()
    ranks = page.evaluate("""async () => {
      const seen = [];
      for (const rank of Array.from({ length: 60 }, (_, i) => `${i + 1}`)) {
        const links = [...document.querySelectorAll("#hits .hit")];
        const link = links.find((one) => one.querySelector(".rank").textContent === rank);
        if (!link) return seen;
        link.focus();
        seen.push(rank);
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      }
      return seen;
    }""")
    assert ranks == [str(rank) for rank in range(1, 61)]
    assert cards.count() < 80


def test_a_class_is_browsed_without_a_query(visit: Open, served: Any) -> None:
    page = visit()
    expect(page.locator("#status")).to_contain_text("One of each class")
    page.get_by_label("Class", exact=True).select_option("schist")
    expect(page.locator("#status")).to_contain_text("12 images, by path")
    every = sorted(p.payload.path for b in served.store.scan(vectors=False) for p in b)
    schist = [one for one in every if one.startswith("rocks/schist/")]
    assert paths(page) == schist
    page.get_by_label("Hits", exact=True).fill("5")
    page.get_by_label("Hits", exact=True).press("Enter")
    expect(page.locator(".card")).to_have_count(5)
    page.get_by_role("button", name="More", exact=True).click()
    expect(page.locator(".card")).to_have_count(10)
    assert paths(page) == schist[:10]
    page.get_by_role("link", name="Search", exact=True).click()
    page.get_by_label("Where", exact=True).fill("width = 900")
    page.get_by_label("Score at least").fill("0.5")
    page.get_by_label("Score at least").press("Enter")
    expect(page.locator("#status")).to_contain_text("1 image, by path. Without a picture")
    # Facets browse, too, also without facts.
    page.get_by_label("Where", exact=True).fill("")
    page.get_by_text("Narrow by class or fact").click()
    page.get_by_role("region", name="class").get_by_role("button", name="marble").click()
    expect(page.locator("#status")).to_contain_text("13 images, by path")


def test_hits_are_taken_away(visit: Open, served: Any, tmp_path: Path) -> None:
    page = visit(f"{PAGE}&k=12", permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator(".card")).to_have_count(12)
    expected = paths(page)
    text = saved(page, "CSV, for a spreadsheet").read_text(encoding="utf-8-sig")
    assert [row["path"] for row in csv.DictReader(io.StringIO(text))] == expected
    with zipfile.ZipFile(saved(page, "The pictures, .zip")) as file:
        assert {*file.namelist()} == {*expected, LIST_NAME}
    assert saved(page, "Contact sheet, PDF").read_bytes().startswith(b"%PDF")
    page.get_by_role("button", name="Copy paths").click()
    expect(page.locator("#take-told")).to_have_text("Copied 12 paths.")
    assert page.evaluate("navigator.clipboard.readText()").split("\n") == expected


def test_a_refused_file_is_told(visit: Open, served: Any) -> None:
    page = visit(PAGE, allowed="status of 404")
    expect(page.locator(".card")).to_have_count(10)
    gone = served.store.fetch([point_id(paths(page)[0])])[0]
    served.store.delete([gone.payload.id])
    page.locator("#take summary").click()
    page.get_by_role("button", name="JSON").click()
    expect(page.locator("#take-told")).to_contain_text("no indexed image has the id")
    served.store.upsert([gone.payload], gone.vector[None])


def test_wrong_hits_are_marked_and_left_out(visit: Open, served: Any) -> None:
    page = visit(PAGE)
    expect(page.locator(".card")).to_have_count(10)
    first, second = paths(page)[:2]
    page.get_by_role("button", name=f"Mark as right: {first}").click()
    wrong = page.get_by_role("button", name=f"Mark as wrong: {second}")
    wrong.focus()
    page.keyboard.press("Enter")
    expect(wrong).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#marked")).to_contain_text("1 image marked wrong")
    page.reload()
    expect(wrong).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Search again without the wrong ones").click()
    expect(page.locator("#marked")).to_contain_text("left out; scores are as before")
    expected = [hit.path for hit in served.index.search(STORED, 11) if hit.path != second]
    expect(page.locator("#hits .path").nth(1)).to_have_text(expected[1])
    assert paths(page) == expected
    expect(page.get_by_label("Marked wrong")).to_have_value("true")
    expect(page.locator("#filters-set")).to_contain_text("without the wrong ones")
    page.get_by_role("link", name="Show them").click()
    expect(wrong).to_be_visible()
    wrong.click()
    expect(wrong).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#marked")).to_be_hidden()


def test_searches_and_trays_are_remembered(visit: Open, served: Any) -> None:
    page = visit()
    expect(page.locator("#memory")).to_be_hidden()
    page.goto(served.url + PAGE)
    expect(page.locator(".card")).to_have_count(10)
    url = page.url
    first = paths(page)[0]
    page.get_by_role("button", name=f"More like this: {first}").click()
    tray = page.get_by_role("complementary", name="Examples")
    tray.get_by_label("Name of the tray").fill("صخر \u202ex")
    tray.get_by_label("Name of the tray").press("Enter")
    tray.get_by_role("button", name="Clear").click()
    page.goto(served.url)
    page.locator("#memory summary").click()
    memory = page.locator("#memory")
    expect(memory.get_by_role("link", name=STORED)).to_be_visible()
    memory.get_by_role("button", name="صخر \\u202ex", exact=True).click()
    expect(tray.get_by_role("button", name=f"Remove {first}")).to_be_visible()
    memory.get_by_role("link", name=STORED).click()
    expect(page.locator(".rank")).to_have_count(10)
    assert page.url == url
    memory.get_by_role("button", name="Forget searches").click()
    expect(memory.get_by_role("link")).to_have_count(0)
    memory.get_by_role("button", name=re.compile("^Forget صخر")).click()
    expect(memory).to_be_hidden()
    page.goto(served.url)  # a reload would search again, which is remembered
    expect(page.locator(".card").first).to_be_visible()
    expect(memory).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_filters_are_above_the_fold(visit: Open, served: Any, scheme: str) -> None:
    page = visit(PAGE, color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 720})
    expect(page.locator(".card")).to_have_count(10)
    for name in ("Hits", "Class", "Score at least", "Where"):
        box = page.get_by_label(name, exact=True).bounding_box()
        assert box["y"] + box["height"] < 720
    assert page.locator(".hit").first.bounding_box()["y"] < 720
    phone = visit(f"{PAGE}&class=schist&k=4", color_scheme=scheme, **PHONE)
    expect(phone.locator(".card")).to_have_count(4)
    summary = phone.locator("#filters > summary")
    box = summary.bounding_box()
    assert box["y"] + box["height"] < 844
    expect(summary).to_have_text(re.compile("hits 4, class schist"))
    expect(phone.get_by_label("Class", exact=True)).to_be_hidden()
    summary.tap()
    expect(phone.get_by_label("Class", exact=True)).to_have_value("schist")
    width = phone.evaluate("document.documentElement.scrollWidth")
    assert width == 390
