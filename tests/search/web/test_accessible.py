"""The page for everybody: axe-core in each of its states, high contrast, and a zoom to 400 %."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from geosim.ingest.schema import point_id
from tests.search.described import describe
from tests.search.web.test_browser import TIMEOUT, browser, pytestmark, send

__all__ = ["browser", "pytestmark"]

AXE = "axe-core@4.11"
ROOT = Path(__file__).parents[3]
STORED = point_id("rocks/marble/marble-0002.jpg")

SERIOUS = """() => axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
  violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).flatMap(
    ({ id, nodes }) => nodes.map(({ html, failureSummary }) => [id, html, failureSummary])))"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as npm installs it below ``build``."""
    script = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        npm = shutil.which("npm")
        if npm is None and not os.environ.get("CI"):
            pytest.skip("npm, which installs axe-core, is not installed")
        flags = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        command = [npm or "npm", "install", *flags, "--prefix", ROOT / "build" / "axe", AXE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"npm cannot install axe-core: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(serve: Any) -> Iterator[tuple[str, str]]:
    """The addresses of a page over pictures with facts, and of one with a key."""
    with serve() as served, serve(host="0.0.0.0", key="0123456789abcdef") as locked:
        describe(served.store)
        yield served.url, locked.url


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strange") / "magenta.png"
    Image.new("RGB", (64, 64), "magenta").save(path)
    return path


@dataclass(frozen=True)
class Walk:
    """A page that goes from one state to the next."""

    page: Page
    url: str
    locked: str
    photo: Path
    strange: Path

    def go(self, path: str, until: str) -> None:
        self.page.goto(path if "://" in path else self.url + path)
        self.sees(until)

    def sees(self, what: str) -> None:
        expect(self.page.locator(what).first).to_be_visible()

    def open(self, panel: str) -> None:
        self.page.locator(f"{panel} summary").click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).first.click()


STATES: dict[str, Callable[[Walk], Any]] = {
    "start": lambda walk: walk.go("/", ".card"),
    "facts": lambda walk: walk.open("#facets"),
    "answer": lambda walk: send(walk.page, walk.photo),
    "tray": lambda walk: walk.page.locator(".card button").first.click(),
    "crop": lambda walk: walk.press("Select a part"),
    "unlike": lambda walk: send(walk.page, walk.strange),
    "a part": lambda walk: walk.go(f"/?id={STORED}&crop=25%25,25%25,50%25,50%25", ".part-outline"),
    "specimens": lambda walk: walk.go(f"/?id={STORED}&together_by=hole", ".card"),
    "examples": lambda walk: walk.go(f"/?like={STORED}", "#query .set"),
    "no hits": lambda walk: walk.go(f"/?id={STORED}&min_score=1", "#results-title"),
    "notice": lambda walk: walk.go("/?like=zzz", "#notice"),
    "fault": lambda walk: walk.go(f"/?id={STORED}&where=(", "#where-fault"),
    "take away": lambda walk: (walk.go(f"/?id={STORED}", ".card"), walk.open("#take")),
    "history": lambda walk: walk.open("#memory"),
    "lightbox": lambda walk: (walk.page.locator(".hit").first.click(), walk.sees("#look img")),
    "compare": lambda walk: (walk.press("Compare"), walk.sees(".pane + .pane img")),
    "overlay": lambda walk: walk.press("Overlay"),
    "map": lambda walk: walk.go("/map", "#map[data-drawn]"),
    "map, a point": lambda walk: walk.page.locator("#map").press("+"),
    "map, a fault": lambda walk: walk.go("/map?where=(", "#map-where[aria-invalid]"),
    "docs": lambda walk: walk.go("/docs", ".route"),
    "login": lambda walk: walk.go(walk.locked, "#login"),
    "a wrong key": lambda walk: (
        walk.page.get_by_label("Key", exact=True).fill("wrong"),
        walk.press("Open"),
        walk.sees("#login-notice"),
    ),
}
"""What brings the page from the state before to each of its states."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 390),
        pytest.param("dark", 1280, marks=pytest.mark.slow),
        pytest.param("light", 390, marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_serious_in_any_state(
    browser: Browser,
    pages: tuple[str, str],
    axe: str,
    photo: Path,
    strange: Path,
    scheme: Any,
    width: int,
) -> None:
    session = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",
        has_touch=width < 1000,
    )
    session.set_default_timeout(TIMEOUT)
    walk = Walk(session.new_page(), *pages, photo, strange)
    found = []
    for name, enter in STATES.items():
        enter(walk)
        walk.page.evaluate(axe)
        found += [(name, *one) for one in walk.page.evaluate(SERIOUS)]
    session.close()
    assert found == []


BACKGROUNDS = """(query) => [...document.querySelectorAll(query)].map(
  (one) => getComputedStyle(one).backgroundColor)"""


def test_high_contrast_keeps_swatches_bars_and_states(
    browser: Browser, pages: tuple[str, str], photo: Path
) -> None:
    session = browser.new_context(
        viewport={"width": 1280, "height": 900}, forced_colors="active", color_scheme="dark"
    )
    session.set_default_timeout(TIMEOUT)
    page = session.new_page()
    page.goto(pages[0])
    expect(page.locator(".card").first).to_be_visible()
    swatches = page.evaluate(BACKGROUNDS, "#hits .class:not(.none) .swatch")
    assert len(set(swatches)) == len(swatches) == 9, "one of each class"
    send(page, photo)
    (ground,) = page.evaluate(BACKGROUNDS, "#explanation")
    bars = page.evaluate(BACKGROUNDS, ".bar span")
    assert bars
    assert ground not in bars
    page.locator(".card button").first.click()
    pressed = page.evaluate(BACKGROUNDS, ".card button[aria-pressed=true]")
    others = page.evaluate(BACKGROUNDS, ".card button[aria-pressed=false]")
    assert set(pressed).isdisjoint(others)
    here = page.evaluate(BACKGROUNDS, "nav a[aria-current]")
    assert set(here).isdisjoint(page.evaluate(BACKGROUNDS, "nav a:not([aria-current])"))
    page.goto(f"{pages[0]}/map")
    expect(page.locator("#legend .swatch")).to_have_count(9)
    assert len(set(page.evaluate(BACKGROUNDS, "#legend .swatch"))) == 9
    session.close()


HIDDEN = """() => [
  ...[...document.querySelectorAll("header > :not([hidden])")]
    .filter((one) => !one.checkVisibility()),
  ...[...document.querySelectorAll("body *")].filter((one) => one.checkVisibility()
    && !one.closest(".visually-hidden, .skip, .legend, .frame, input, textarea, select")
    && ((one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible")
      || one.getBoundingClientRect().left < -1
      || one.getBoundingClientRect().right > innerWidth + 1)),
].map((one) => one.outerHTML.slice(0, 120))"""


def test_at_400_percent_nothing_is_hidden_or_scrolls_both_ways(
    browser: Browser, pages: tuple[str, str], photo: Path
) -> None:
    # 1280 x 1024 pixels at 400 %, as WCAG 1.4.10 has it.
    session = browser.new_context(viewport={"width": 320, "height": 256})
    session.set_default_timeout(TIMEOUT)
    page = session.new_page()

    def check() -> None:
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
        assert page.evaluate(HIDDEN) == []

    page.goto(pages[0])
    expect(page.locator(".card").first).to_be_visible()
    check()
    send(page, photo)
    page.locator(".card button").first.click()
    check()
    page.locator(".card").nth(4).scroll_into_view_if_needed()
    tray = page.locator("#tray").bounding_box()
    assert tray is not None
    assert tray["y"] > 256, "it lies below the hits and covers none"
    page.goto(f"{pages[0]}/map")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    check()
    shown = page.locator("#map").bounding_box()
    assert shown is not None
    assert shown["height"] > 256
    page.goto(f"{pages[0]}/docs")
    expect(page.locator(".route").first).to_be_visible()
    check()
    session.close()
