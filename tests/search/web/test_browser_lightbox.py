"""Looking closely in a real browser: zoom, neighbours, comparison; by mouse, finger and keys."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from geosim.ingest.schema import point_id
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.search.web.axe import faults, needs_axe
from tests.search.web.test_browser import Open, browser, paths, pytestmark, send, visit

__all__ = ["browser", "pytestmark", "visit"]

LARGE = "rocks/marble/large.jpg"  # 900 x 600 pixels


def answered(page: Page) -> Page:
    expect(page.locator(".card")).to_have_count(10)
    return page


def zoomed(page: Page) -> float:
    return float(page.locator(".stage").get_attribute("data-zoom") or "")


def shown(page: Page) -> Locator:
    """Return the whole pictures, once they are there."""
    pictures = page.locator(".pane > img:first-child")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.pane > img')].every((one) => one.naturalWidth)"
    )
    return pictures


def place(picture: Locator) -> dict[str, float]:
    box = picture.bounding_box()
    assert box is not None
    return dict(box)


def test_a_hit_is_looked_at(visit: Open, served: Any) -> None:
    page = answered(visit(f"/?id={point_id(LARGE)}"))
    hits, address = served.index.search(LARGE), page.url
    dialog = page.get_by_role("dialog")
    page.locator(".hit").nth(1).click()
    expect(dialog.get_by_role("heading")).to_have_text(hits[1].path)
    expect(dialog.locator(".look-caption")).to_contain_text(f"score {hits[1].score:.4f}")
    expect(dialog.locator(".look-caption .rank")).to_have_text("2")
    expect(dialog.locator(".class")).to_have_text(hits[1].label)
    assert page.url == address
    before = place(shown(page))
    stage = place(page.locator(".stage"))
    assert before["height"] == pytest.approx(stage["height"], abs=1), "all of it, as large as fits"
    at = (before["x"] + before["width"] / 3, before["y"] + before["height"] / 3)
    page.mouse.move(*at)
    page.mouse.wheel(0, -600)
    expect(page.locator(".stage")).not_to_have_attribute("data-zoom", "1.000")
    after = place(shown(page))
    shares = ((at[0] - after["x"]) / after["width"], (at[1] - after["y"]) / after["height"])
    assert shares == pytest.approx((1 / 3, 1 / 3), abs=0.01), "what is under the mouse stays"
    page.mouse.down()
    page.mouse.move(at[0] - 69, at[1] - 49)
    page.mouse.up()
    moved = place(shown(page))
    assert (moved["x"] - after["x"], moved["y"] - after["y"]) == pytest.approx((-69, -49), abs=1)
    expect(dialog.locator("output")).to_have_text(f"{round(100 * moved['width'] / 64)} %")
    dialog.get_by_role("button", name="Show all").click()
    assert place(shown(page)) == before
    dialog.get_by_role("button", name="Next picture").click()
    expect(dialog.get_by_role("heading")).to_have_text(hits[2].path)
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".hit").nth(2)).to_be_focused()
    assert page.url == address


def test_the_history(visit: Open, served: Any) -> None:
    page = answered(visit(f"/?id={point_id(LARGE)}"))
    hits, address, searches = served.index.search(LARGE), page.url, []
    page.on("request", lambda one: searches.append(one.url) if "similar" in one.url else None)
    dialog = page.get_by_role("dialog")
    page.locator(".hit").first.click()
    expect(dialog).to_be_visible()
    page.go_back()
    expect(dialog).to_be_hidden()
    page.go_forward()
    expect(dialog.get_by_role("heading")).to_have_text(hits[0].path)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.wait_for_function("() => !history.state?.look")
    assert searches == [], "the hits are still there"
    page.locator(".hit").first.click()
    dialog.get_by_role("link", name="Search from this").click()
    expect(page.locator("#query .path")).to_have_text(hits[0].path)
    expect(dialog).to_be_hidden()
    page.go_back()
    expect(page.locator("#query .path")).to_have_text(LARGE)
    expect(dialog).to_be_hidden()
    assert page.url == address
    with page.context.expect_page() as other:
        page.locator(".card .button").first.click(modifiers=["Control"])
    expect(other.value.locator("#query .path")).to_have_text(hits[0].path)
    expect(dialog).to_be_hidden()


def test_by_keys_alone(visit: Open, served: Any) -> None:
    page = answered(visit(f"/?id={point_id(LARGE)}"))
    hits = served.index.search(LARGE)
    dialog = page.get_by_role("dialog")
    heading = dialog.get_by_role("heading")
    page.locator("#results").focus()
    page.keyboard.press("Tab")  # take away
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(heading).to_have_text(hits[0].path)
    expect(page.locator(".stage")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(heading).to_have_text(hits[1].path)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text(LARGE)
    expect(dialog.locator(".look-caption")).to_contain_text("Query")
    expect(dialog.get_by_role("button", name="Previous picture")).to_be_disabled()
    page.keyboard.press("PageDown")
    shown(page)
    for key in ("+", "+", "+", "-"):
        page.keyboard.press(key)
    assert zoomed(page) == pytest.approx(1.5**2, abs=0.01)
    before = place(shown(page))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    after = place(shown(page))
    assert after["x"] < before["x"]
    assert after["y"] < before["y"]
    expect(heading).to_have_text(hits[0].path)
    expect(dialog.locator("output")).to_have_text(re.compile(r"^\d+ %$"))
    page.keyboard.press("0")
    assert zoomed(page) == 1
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("() => !document.activeElement.closest('main, header, #tray')")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".hit").first).to_be_focused()


def touch(page: Page, *steps: tuple[str, list[tuple[float, float]]]) -> None:
    touches = page.context.new_cdp_session(page)
    for kind, points in steps:
        at = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})


def test_by_fingers(visit: Open, served: Any) -> None:
    page = visit(f"/?id={point_id(LARGE)}", has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 844})
    answered(page)
    hits = served.index.search(LARGE)
    heading = page.get_by_role("dialog").get_by_role("heading")
    page.locator(".hit").first.tap()
    expect(heading).to_have_text(hits[0].path)
    shown(page)
    touch(page, ("touchStart", [(300, 400)]), ("touchMove", [(200, 405)]), ("touchEnd", []))
    expect(heading).to_have_text(hits[1].path)
    shown(page)
    touch(
        page,
        ("touchStart", [(180, 400)]),
        ("touchStart", [(180, 400), (220, 400)]),
        ("touchMove", [(120, 400), (220, 400)]),
        ("touchMove", [(120, 400), (280, 400)]),
        ("touchEnd", []),
    )
    assert zoomed(page) == pytest.approx(4, abs=0.2)
    touch(page, ("touchStart", [(300, 400)]), ("touchMove", [(200, 400)]), ("touchEnd", []))
    expect(heading).to_have_text(hits[1].path)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.evaluate("() => document.querySelector('.look').scrollWidth") <= 390


def test_the_query_beside_a_hit(visit: Open, served: Any, photo: Path) -> None:
    page = visit()
    send(page, photo)
    dialog, hits = page.get_by_role("dialog"), served.index.search(photo)
    page.get_by_role("button", name="Look closely").click()
    expect(dialog.get_by_role("heading")).to_have_text("photo.png")
    assert shown(page).get_attribute("src").startswith("blob:")
    page.keyboard.press("ArrowRight")
    dialog.get_by_role("button", name="Compare").click()
    expect(dialog.locator(".pane")).to_have_count(2)
    expect(dialog.locator(".look-other")).to_contain_text("photo.png")
    expect(dialog.get_by_role("heading")).to_have_text(hits[0].path)

    def in_step() -> tuple[dict[str, float], dict[str, float]]:
        both = [place(one) for one in shown(page).all()]
        panes = [place(one) for one in page.locator(".pane").all()]
        own, other = (
            {**one, "x": one["x"] - pane["x"], "y": one["y"] - pane["y"]}
            for one, pane in zip(both, panes, strict=True)
        )
        assert own == pytest.approx(other, abs=1), "both have 64 x 64 pixels"
        return own, other

    before, _ = in_step()
    page.mouse.move(200, 300)
    page.mouse.wheel(0, -600)
    expect(page.locator(".stage")).not_to_have_attribute("data-zoom", "1.000")
    after, _ = in_step()
    assert after["width"] > 2 * before["width"]
    page.locator(".stage").focus()
    page.keyboard.press("0")
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading")).to_have_text(hits[1].path)
    expect(dialog.locator(".look-other")).to_contain_text("photo.png")

    dialog.get_by_role("button", name="Overlay").press("Enter")
    first, second = (place(one) for one in shown(page).all())
    assert first == pytest.approx(second, abs=1)
    top = page.locator(".pane").nth(1)
    expect(top).to_have_css("opacity", "0.5")
    slider = dialog.get_by_role("slider")
    slider.press("End")
    expect(top).to_have_css("opacity", "1")
    slider.press("Home")
    expect(top).to_have_css("opacity", "0")
    expect(dialog.get_by_role("heading")).to_have_text(hits[1].path)

    dialog.get_by_role("button", name="Pin this one").click()
    expect(dialog.locator(".look-other")).to_contain_text(hits[1].path)
    expect(dialog.get_by_role("heading")).to_have_text(hits[2].path)
    dialog.get_by_role("button", name="Compare").click()
    expect(dialog.locator(".pane")).to_have_count(1)


def test_an_upload_after_the_page_was_left(visit: Open, served: Any, photo: Path) -> None:
    page = visit()
    send(page, photo)
    page.reload()  # the file is gone, its small copy is not
    answered(page)
    page.get_by_role("button", name="Look closely").click()
    assert shown(page).get_attribute("src").startswith("data:image/")
    other = answered(visit(page.url.removeprefix(served.url)))  # another browser has no picture
    expect(other.get_by_role("button", name="Look closely")).to_have_count(0)
    other.locator(".hit").first.click()
    expect(other.get_by_role("button", name="Previous picture")).to_be_disabled()


def test_a_part_is_outlined(visit: Open) -> None:
    page = visit(f"/?id={point_id(LARGE)}&crop=10%25,20%25,50%25,40%25")
    answered(page)
    page.get_by_role("button", name="Look closely").click()
    whole, part = place(shown(page)), place(page.locator(".pane .part-outline"))
    assert (part["x"] - whole["x"]) / whole["width"] == pytest.approx(0.1, abs=0.01)
    assert part["height"] / whole["height"] == pytest.approx(0.4, abs=0.01)


@pytest.fixture(scope="module")
def scans(odd: Working, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A collection of two scans of 6,000 x 4,000 pixels, of which each shows its own place."""
    root = tmp_path_factory.mktemp("scans")
    working = Working(root / "working")
    working.root.mkdir()
    working.model.symlink_to(odd.model)
    (root / "scans").mkdir()
    y, x = np.mgrid[:4000, :6000]
    values = np.stack([x * 256 // 6000, y * 256 // 4000, x * 0], -1).astype(np.uint8)
    for name, scan in (("a", values), ("b", 255 - values)):
        tifffile.imwrite(root / "scans" / f"{name}.tif", scan, tile=(512, 512), photometric="rgb")
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(root / "scans"), load_model(working.model), store, working)
    return working


@pytest.fixture
def scanned(visit: Open, serve: Any, scans: Working) -> Iterator[Page]:
    with serve(of=scans) as served:
        page = visit()
        page.goto(f"{served.url}/?id={point_id('scans/a.tif')}")
        yield page
        page.close()


def test_a_scan_is_loaded_by_parts(scanned: Page) -> None:
    page, parts = scanned, list[str]()
    page.on("request", lambda one: parts.append(one.url) if "/region" in one.url else None)
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("button", name="Look closely").click()
    shown(page)
    percent = page.get_by_role("dialog").locator("output")
    expect(percent).to_have_text(re.compile(r"^(1\d|2[01]) %$"))
    for key in ("+", "+", "+", "+", "+", "+", "ArrowRight"):
        page.keyboard.press(key)
    detail = page.locator(".pane > img:nth-child(2)")
    expect(detail).to_have_attribute("data-sharp", "1")
    assert detail.evaluate("(one) => one.naturalWidth") < 2048
    with Image.open(io.BytesIO(page.locator(".stage").screenshot())) as image:
        red, green, blue = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert (red, green) == pytest.approx((128, 128), abs=12), "near the middle of the scan"
    assert blue < 12
    before = place(detail)
    page.keyboard.press("ArrowLeft")
    assert place(detail)["x"] == pytest.approx(before["x"] + 80, abs=1)
    expect(percent).to_have_text(re.compile(r"^(1|2)\d\d %$"))
    assert 1 <= len(parts) <= 8, "what is there is not loaded again for a small step"


FILES = {
    "TIFF": ("scan.tif", "image/tiff"),
    "HEIF": ("photo.heic", ""),
    "AVIF": ("photo.avif", "image/avif"),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_picture_is_shown(visit: Open, photo: Path, tmp_path: Path, kind: str) -> None:
    name, mime = FILES[kind]
    path = tmp_path / name
    with Image.open(photo) as image:
        large = image.convert("RGB").resize((1200, 900))
    if kind == "HEIF":  # its writer stays out of Pillow, where it would replace the reader
        pillow_heif.from_bytes("RGB", large.size, large.tobytes()).save(path)
    else:
        large.save(path, kind)
    page = visit()
    send(page, {"name": name, "mimeType": mime, "buffer": path.read_bytes()})
    expect(page.locator("#query .path")).to_have_text(name)
    assert page.locator("#query img").get_attribute("src").startswith("data:image/")
    expect(page.get_by_role("button", name="Select a part")).to_be_visible()
    page.get_by_role("button", name="Look closely").click()
    assert shown(page).evaluate("(one) => one.naturalWidth") == 1200
    page.get_by_role("dialog").get_by_role("button", name="Compare").click()
    expect(page.locator(".pane")).to_have_count(2)


def test_an_upload_is_cancelled(visit: Open, photo: Path) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)
    page.route("**/api/search**", lambda _: None)  # never answered
    page.set_input_files("#file", photo)
    expect(page.get_by_role("progressbar", name="Upload")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_contain_text("The upload was cancelled.")
    expect(page.get_by_role("progressbar")).to_be_hidden()
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator(".card")).to_have_count(9)
    page.unroute("**/api/search**")
    page.get_by_label("Hits", exact=True).fill("4")
    page.get_by_label("Hits", exact=True).press("Enter")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator("#share-note")).to_be_hidden()  # it is not sent again
    page.get_by_label("Hits", exact=True).fill("")
    send(page, photo)
    expect(page.get_by_role("progressbar")).to_be_hidden()
    assert len(paths(page)) == 10


def test_progress_is_told(visit: Open, photo: Path) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)
    page.evaluate(
        """() => {
          const bar = document.querySelector(".progress progress");
          window.seen = [];
          new MutationObserver(() => window.seen.push(bar.getAttribute("value")))
            .observe(bar, { attributes: true });
        }"""
    )
    send(page, photo)
    seen = page.evaluate("() => window.seen")
    assert seen[0] == "0"
    assert seen[-1] is None, "sent: the server works"


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_can_use_it(visit: Open, photo: Path, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    send(page, photo)
    assert faults(page) == []
    page.get_by_role("button", name="Select a part").click()
    page.keyboard.press("ArrowDown")
    assert faults(page) == []
    page.locator(".hit").first.click()
    shown(page)
    assert faults(page) == []
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Overlay").click()
    shown(page)
    assert faults(page) == []
