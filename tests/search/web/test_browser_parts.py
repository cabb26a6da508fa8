"""A part of a picture in a real browser: drawn, kept in the address, shown and cleared."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from geosim.ingest.plan import IMAGE_ROUTE
from geosim.ingest.schema import point_id
from tests.search.web.test_browser import Open, browser, paths, pytestmark, send, visit

__all__ = ["browser", "pytestmark", "visit"]

STORED = "rocks/marble/marble-0002.jpg"
LARGE = "rocks/marble/large.jpg"  # 900 x 600 pixels


def draw(page: Page, left: float, top: float, right: float, bottom: float) -> None:
    """Draw a rectangle with the mouse, from corner to corner, in shares of the picture."""
    box = page.locator(".part").bounding_box()
    assert box is not None
    start, end = (
        (box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        for x, y in ((left, top), (right, bottom))
    )
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, end[1])
    page.mouse.move(*end)
    page.mouse.up()


def crop_of(page: Page) -> str:
    (crop,) = parse_qs(urlsplit(page.url).query)["crop"]
    return crop


def shares(crop: str) -> list[float]:
    return [float(field.rstrip("%")) / 100 for field in crop.split(",")]


def outlined(page: Page) -> list[float]:
    """Return where the outline is, in shares of the picture."""
    area = page.locator(".part").bounding_box()
    inner = page.locator(".part-outline").bounding_box()
    assert area is not None
    assert inner is not None
    return [
        (inner["x"] - area["x"]) / area["width"],
        (inner["y"] - area["y"]) / area["height"],
        inner["width"] / area["width"],
        inner["height"] / area["height"],
    ]


def searched(page: Page, title: str) -> Locator:
    """Wait for an answer to a search by a part; return its outline."""
    expect(page.locator("#query-title")).to_have_text(title)
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    outline = page.locator(".part-outline")
    expect(outline).to_be_visible()
    return outline


def test_a_part_of_an_indexed_picture(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(LARGE)}&k=12")
    expect(page.locator(".card")).to_have_count(12)
    expect(page.locator("#query")).to_contain_text("Draw a rectangle on it")
    whole = paths(page)
    draw(page, 0.7, 0.8, 0.2, 0.1)  # from its lower right corner
    searched(page, "Part, from the collection")
    crop = crop_of(page)
    assert shares(crop) == pytest.approx([0.2, 0.1, 0.5, 0.7], abs=0.01)
    assert outlined(page) == pytest.approx(shares(crop), abs=0.01)
    expected = [hit.path for hit in served.index.search(LARGE, 12, crop=crop)]
    assert paths(page) == expected
    assert LARGE in expected, "the picture itself is among the hits"
    expect(page.locator("#query .path")).to_have_text(LARGE)
    page.get_by_label("Hits", exact=True).fill("3")
    page.get_by_label("Hits", exact=True).press("Enter")
    expect(page.locator(".card")).to_have_count(3)
    assert crop_of(page) == crop, "options leave the part"
    page.go_back()
    expect(page.locator(".card")).to_have_count(12)

    page.reload()
    searched(page, "Part, from the collection")
    assert paths(page) == expected
    other = visit(page.url.removeprefix(served.url))  # another browser
    searched(other, "Part, from the collection")
    assert outlined(other) == pytest.approx(shares(crop), abs=0.01)

    page.get_by_role("button", name="Whole picture").click()
    expect(page.locator("#query-title")).to_have_text("From the collection")
    expect(page.locator(".card")).to_have_count(12)
    assert paths(page) == whole
    assert "crop" not in page.url
    expect(page.locator(".part-outline")).to_be_hidden()
    page.go_back()
    searched(page, "Part, from the collection")


def test_a_part_in_pixels_is_shown_where_it_is(visit: Open) -> None:
    page = visit(f"/?id={point_id(LARGE)}&crop=90,60,450,300")
    searched(page, "Part, from the collection")
    assert outlined(page) == pytest.approx([0.1, 0.1, 0.5, 0.5], abs=0.01)
    expect(page.locator("#query")).to_contain_text("Part 10%,10%,50%,50%")


def test_a_part_of_an_uploaded_picture(visit: Open, served: Any, photo: Path) -> None:
    page = visit()
    send(page, photo)
    whole, address = paths(page), page.url
    draw(page, 0.125, 0.25, 0.75, 0.75)
    searched(page, "Part of your picture")
    first = crop_of(page)
    assert shares(first) == pytest.approx([0.125, 0.25, 0.625, 0.5], abs=0.01)
    assert paths(page) == [hit.path for hit in served.index.search(photo, crop=first)]
    expect(page.locator("#query .path")).to_have_text("photo.png")
    draw(page, 0.5, 0.9, -0.2, -0.3)  # another part of the same picture, up to its edges
    expect(page.locator("#query")).to_contain_text("Part 0%,0%,")
    searched(page, "Part of your picture")
    crop = crop_of(page)
    assert shares(crop) == pytest.approx([0, 0, 0.5, 0.9], abs=0.01)
    expected = [hit.path for hit in served.index.search(photo, crop=crop)]
    assert paths(page) == expected
    page.get_by_label("Class", exact=True).select_option("schist")
    expect(page.locator("#hits .class").first).to_contain_text("schist")
    assert crop_of(page) == crop
    page.go_back()

    page.reload()  # the file is gone, its small copy is not
    searched(page, "Part of your picture")
    assert paths(page) == expected
    assert outlined(page) == pytest.approx(shares(crop), abs=0.01)
    expect(page.get_by_role("button", name="Select a part")).to_have_count(0)
    other = visit(page.url.removeprefix(served.url))
    expect(other.locator("#query")).to_contain_text("the picture is not kept")
    expect(other.locator("#query")).to_contain_text(f"Part {crop}")
    assert paths(other) == expected

    page.get_by_role("button", name="Whole picture").click()
    expect(page.locator("#query-title")).to_have_text("Your picture")
    expect(page.locator("#query")).to_contain_text("Choose the picture again")
    assert paths(page) == whole
    assert page.url == address


def test_parts_are_examples(visit: Open, served: Any, photo: Path) -> None:
    page = visit(f"/?id={point_id(STORED)}&crop=25%25,25%25,50%25,50%25")
    searched(page, "Part, from the collection")
    page.get_by_role("button", name=f"More like this: part of {STORED}").click()
    page.get_by_role("button", name="Search with these").click()
    expect(page.locator("#query-title")).to_have_text("Several examples")
    expect(page.locator("#query img")).to_have_attribute("alt", f"part of {STORED}")
    crop = "25%,25%,50%,50%"
    assert paths(page) == [hit.path for hit in served.index.recommend([STORED], crop=crop)]


def test_a_part_is_selected_once_the_picture_is_there(visit: Open, served: Any) -> None:
    page, held = visit(), list[Route]()
    page.route(f"**{IMAGE_ROUTE}{point_id(LARGE)}*", lambda route: held.append(route))  # noqa: PLW0108 - no builtin
    page.goto(f"{served.url}/?id={point_id(LARGE)}")
    expect(page.locator("#query-title")).to_have_text("From the collection")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    select = page.get_by_role("button", name="Select a part")
    expect(select).to_have_count(0)
    for route in held:
        route.continue_()
    select.press("Enter")
    expect(page.get_by_role("application", name="Part of the picture")).to_be_focused()


def test_a_part_by_keys(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(LARGE)}")
    expect(page.locator(".part")).to_be_visible()
    page.get_by_role("button", name="Select a part").press("Enter")
    area = page.get_by_role("application", name="Part of the picture")
    expect(area).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#query")).to_contain_text("Part 25%,25%,50%,50%")
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator("#query")).to_contain_text("Part 23%,23%,54%,52%")
    page.keyboard.press("Escape")
    expect(page.locator(".part-outline")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    searched(page, "Part, from the collection")
    assert crop_of(page) == "25%,27%,50%,50%"
    expected = [hit.path for hit in served.index.search(LARGE, crop="25%,27%,50%,50%")]
    assert paths(page) == expected
    area.focus()
    for _ in range(24):
        page.keyboard.press("Shift+ArrowUp")
    expect(page.locator("#query")).to_contain_text("Part 25%,27%,50%,2%")
    page.keyboard.press("Enter")
    expect(page.locator("#query")).to_contain_text("Draw a larger rectangle.")
    for _ in range(13):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#query")).to_contain_text("Part 50%,27%,50%,2%")
    page.keyboard.press("Delete")
    expect(page.locator("#query-title")).to_have_text("From the collection")
    assert "crop" not in page.url


def test_a_click_is_no_part(visit: Open) -> None:
    page = visit(f"/?id={point_id(STORED)}")
    expect(page.locator(".part")).to_be_visible()
    address = page.url
    draw(page, 0.5, 0.5, 0.5, 0.5)
    expect(page.locator("#query")).to_contain_text("Draw a larger rectangle.")
    expect(page.locator(".part-outline")).to_be_hidden()
    assert page.url == address


def test_a_part_by_touch(visit: Open, photo: Path) -> None:
    page = visit(has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 360, "height": 740})
    send(page, photo)
    area = page.locator(".part")
    expect(area).to_be_visible()
    touches = page.context.new_cdp_session(page)

    def swipe() -> None:
        box = area.bounding_box()
        assert box is not None
        for kind, share in (("touchStart", 0.25), ("touchMove", 0.5), ("touchMove", 0.75)):
            at = {"x": box["x"] + share * box["width"], "y": box["y"] + share * box["height"]}
            touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
        touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    address = page.url
    swipe()
    assert page.url == address, "a finger scrolls"
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("button", name="Select a part").tap()
    area.scroll_into_view_if_needed()
    swipe()
    searched(page, "Part of your picture")
    assert shares(crop_of(page)) == pytest.approx([0.25, 0.25, 0.5, 0.5], abs=0.02)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_a_part_of_a_picture_on_its_side(visit: Open, photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = tmp_path / "turned.jpg"
    with Image.open(photo) as image:
        image.resize((320, 160)).save(turned, exif=exif)
    page = visit()
    send(page, turned)
    area = page.locator(".part").bounding_box()
    assert area is not None
    assert area["height"] / area["width"] == pytest.approx(2, abs=0.02)
    draw(page, 0.5, 0.75, 1, 1)
    searched(page, "Part of your picture")
    expect(page.locator("#query")).to_contain_text("Part 50%,75%,50%,25%")
