"""Frames of the page's map while it is moved, and of a list of hits while it is scrolled."""

from __future__ import annotations

import shutil
import struct
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
import numpy as np
import orjson

from tests.benches import common

if TYPE_CHECKING:
    from playwright.sync_api import Page

FRAMES = 120
"""Frames per round."""

HITS = 1_000
"""Hits of the list that is scrolled; the most that a search of the page asks for at once."""

MOST_HITS = 200
"""Hits in the document at once, at most: those of the window and of about three beside it."""

SCROLLS = {"scrolled, 50 pixels a frame": 50, "scrolled, 200 pixels a frame": 200}
"""CSS pixels per frame: three and thirteen windows a second."""

MILLION, CLASSES = 1_000_000, 60

TIMEOUT = 120.0
"""Seconds for the browser."""

MOVE = """async ([how, frames]) => {
  const canvas = document.getElementById("map");
  const box = canvas.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const pointer = { pointerId: 1, pointerType: "mouse", bubbles: true, cancelable: true };
  const moves = {
    drag: (n) => {
      const turn = (2 * Math.PI * (n + 1)) / 30;
      const to = { clientX: x + 24 * Math.sin(turn), clientY: y + 24 * Math.sin(2 * turn) };
      canvas.dispatchEvent(new PointerEvent("pointermove", { ...pointer, ...to, buttons: 1 }));
    },
    wheel: (n) => {
      const delta = { clientX: x, clientY: y, deltaY: n % 30 < 15 ? -60 : 60 };
      canvas.dispatchEvent(new WheelEvent("wheel", { ...pointer, ...delta }));
    },
  };
  let drawn = 0;
  const observer = new MutationObserver((seen) => { drawn += seen.length; });
  observer.observe(canvas, { attributeFilter: ["data-drawn"] });
  const starts = [];
  for (let n = 0; n < frames + 2; n += 1) {
    starts.push(await new Promise((begin) => requestAnimationFrame(begin)));
    if (n < frames) moves[how](n);
  }
  observer.disconnect();
  return [starts.slice(1), drawn];
}"""
"""Moves the map once per frame; returns when frames began, in ms, and how many were drawn."""


SCROLL = """async ([pixels, frames]) => {
  scrollTo(0, 0);
  const starts = [];
  let [most, blank] = [0, 0];
  for (let n = 0; n < frames + 2; n += 1) {
    starts.push(await new Promise((begin) => requestAnimationFrame(begin)));
    if (document.elementFromPoint(innerWidth / 2, innerHeight / 2).matches(".gap")) blank += 1;
    most = Math.max(most, document.querySelectorAll("#hits .card").length);
    scrollBy(0, pixels);
  }
  return [starts.slice(1), most, blank];
}"""
"""Scrolls once per frame; returns when frames began, in ms, the most hits that were in the document
at once, and in how many frames the middle of the window had none yet."""


def measure(settings: common.Settings, url: str, points: int, image: str) -> list[common.Row]:
    """Measure frames of the page at an address; needs playwright and Chromium.

    Args:
        settings: how often to measure.
        url: address of the page.
        points: images of its collection.
        image: id of one, by which is searched.

    Raises:
        BenchError: a frame was not drawn, or hits out of view were in the document.
    """
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None or find_spec("playwright") is None:
        click.echo("playwright or Chromium is missing; frames of the map are skipped", err=True)
        return []
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"]) as browser,
    ):
        rows, body = [], made_up(MILLION)
        for count in (points, MILLION):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(TIMEOUT * 1000)
            if count == MILLION:
                page.route("**/api/map", lambda route: route.fulfill(body=body))
            page.goto(f"{url}map")
            page.locator(f'#map[data-drawn="{count}"]').wait_for()
            turns = {
                "dragged": partial(move, page, "drag", 0),
                "zoomed by the wheel": partial(move, page, "wheel", 0),
                "dragged, near": partial(move, page, "drag", 5),
            }
            taken = common.interleaved("frames", turns, settings.runs)
            rows += common.milliseconds(f"a frame of the map, {count:,} points", taken)
            page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        hits = min(HITS, points - 1)
        page.goto(f"{url}?id={image}&k={hits}")
        page.locator("#status", has_text=f"{hits:,} hits").wait_for(timeout=TIMEOUT * 1000)
        scrolls = {how: partial(scroll, page, pixels) for how, pixels in SCROLLS.items()}
        taken = common.interleaved("frames of hits", scrolls, settings.runs)
        rows += common.milliseconds(f"a frame of the list, {hits:,} hits", taken)
    return rows


def scroll(page: Page, pixels: int) -> float:
    """Return the median seconds between two frames while hits are scrolled by so many pixels."""
    starts, most, blank = page.evaluate(SCROLL, [pixels, FRAMES])
    if most > MOST_HITS or blank:
        raise common.BenchError(f"{most} hits were in the document; {blank} frames had none")
    return float(np.median(np.diff(starts))) / 1000


def move(page: Page, how: str, zoom: int) -> float:
    """Return the median seconds between two frames while the map is moved, zoomed in so often."""
    page.locator("#zoom-all").click()
    for _ in range(zoom):
        page.locator("#zoom-in").click()
    page.locator("#map").hover()
    if how == "drag":
        page.mouse.down()
    starts, drawn = page.evaluate(MOVE, [how, FRAMES])
    page.mouse.up()
    if drawn < FRAMES:
        raise common.BenchError(f"the map was drawn in {drawn} of {FRAMES} frames")
    return float(np.median(np.diff(starts))) / 1000


def made_up(count: int) -> bytes:
    """Return a map as the API sends it: a cluster for each of `CLASSES`."""
    generator = np.random.default_rng(0)
    sizes = np.full(CLASSES, count // CLASSES)
    sizes[0] += count - sizes.sum()
    centres = np.repeat(generator.uniform(0.15, 0.85, (CLASSES, 2)), sizes, axis=0)
    places = (centres + generator.normal(0, 0.04, centres.shape)).clip(0, 1) * 65_535
    classes = [f"class-{number:02d}" for number in range(CLASSES)]
    about = {"tag": "", "drawing": "0" * 12, "classes": classes, "sizes": sizes.tolist()}
    head = orjson.dumps(about)
    head += b" " * (-len(head) % 4)
    return struct.pack("<I", len(head)) + head + places.T.astype("<u2").tobytes()
