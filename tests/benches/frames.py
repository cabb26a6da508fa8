"""The page's map in Chromium: how long its frames take while it is moved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tests.benches.children import BenchError

FRAMES = 120
"""Frames per round, four times around or in and out: two seconds at 60 a second."""

PATIENCE = 120.0
"""Seconds that the browser may take to show the map: a busy machine is slow, not broken."""

DRAG, WHEEL = "drag", "wheel"
VERSION = "version"
"""Asks which browser it is: no time."""

MOVE = """async ([how, frames]) => {
  const canvas = document.getElementById("map");
  const box = canvas.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const usual = { pointerId: 1, pointerType: "mouse", bubbles: true, cancelable: true };
  const acts = {
    drag: (n) => {
      const turn = (2 * Math.PI * (n + 1)) / 30;
      const [right, down] = [24 * Math.sin(turn), 24 * Math.sin(2 * turn)];
      const to = { clientX: x + right, clientY: y + down };
      canvas.dispatchEvent(new PointerEvent("pointermove", { ...usual, ...to, buttons: 1 }));
    },
    wheel: (n) => {
      const delta = { clientX: x, clientY: y, deltaY: n % 30 < 15 ? -60 : 60 };
      canvas.dispatchEvent(new WheelEvent("wheel", { ...usual, ...delta }));
    },
  };
  let drawn = 0;
  const watch = new MutationObserver((seen) => { drawn += seen.length; });
  watch.observe(canvas, { attributeFilter: ["data-drawn"] });
  const begun = [];
  for (let n = 0; n < frames + 2; n += 1) {
    begun.push(await new Promise((begin) => requestAnimationFrame(begin)));
    if (n < frames) acts[how](n);
  }
  watch.disconnect();
  return [begun.slice(1), drawn];
}"""
"""Moves the map once in every frame, so that each is drawn anew, and returns when frames began, in
ms: each lasts from then until the next. The drag stays within the map's margin and all points in
view; the wheel goes in to five times the size, and out again. Chromium's mouse is pointer 1."""


def chromium() -> str | None:
    """Return the browser, or None: there is none on this machine."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def build(url: str, points: int) -> Callable[[str], Any]:
    """Open the map; return what moves it by `DRAG` or `WHEEL` and counts the seconds per frame.

    Args:
        url: the server's address; its map is drawn.
        points: how many the map must show.
    """
    from playwright.sync_api import sync_playwright

    # Both end with this process, or with its pipe to them.
    browser = (
        sync_playwright().start().chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
    )
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(f"{url}map")
    page.locator(f'#map[data-drawn="{points}"]').wait_for()
    box = page.locator("#map").bounding_box()
    if box is None:
        raise BenchError("the map is not shown")

    def run(asked: str) -> Any:
        if asked == VERSION:
            return browser.version
        page.locator("#zoom-all").click()
        if asked == DRAG:
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.mouse.down()
        begun, drawn = page.evaluate(MOVE, [asked, FRAMES])
        if asked == DRAG:
            page.mouse.up()
        if drawn < FRAMES:
            raise BenchError(f"the map was drawn in {drawn} of {FRAMES} frames")
        return [(after - before) / 1000 for before, after in pairwise(begun)]

    return run
