"""Pictures without a class in the API and on the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from geosim.ingest.remove import remove
from geosim.ingest.schema import point_id
from geosim.ingest.sync import sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from tests.search.web.drawn import drawn

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LOOSE = 12 + 7
NEW = "photos/schist-0000.jpg"


@pytest.fixture(scope="module")
def page_of(serve: Any, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page over `odd`, and all of its schists and one picture of each other class without it."""
    photos = tmp_path_factory.mktemp("data") / "photos"
    photos.mkdir()
    for path in (*sample.glob("schist/*.jpg"), *sample.glob("*/*-0000.jpg")):
        shutil.copy(path, photos)
    with serve() as served:
        model = load_model(served.working.model)
        sync(open_dataset(photos), model, served.store, served.working)
        yield served


def test_the_api_answers_with_null_for_no_class(page_of: Any, eventually: Any) -> None:
    with page_of.client as client:
        about = client.get("/api/collection").json()
        assert about["without_class"] == LOOSE
        assert sum(one["count"] for one in about["classes"]) == about["points"] - LOOSE
        similar = f"/api/points/{point_id(NEW)}/similar"
        answer = client.get(similar, params={"k": 1000}).json()
        assert (answer["query"]["path"], answer["query"]["class"]) == (NEW, None)
        assert sum(hit["class"] is None for hit in answer["hits"]) == LOOSE - 1
        explanation = answer["explanation"]
        assert explanation["without_class"] > 0
        assert explanation["without_class"] + sum(v["votes"] for v in explanation["votes"]) == 10
        grouped = client.get(similar, params={"one_per": "class"}).json()
        assert len(grouped["hits"]) == len(about["classes"])
        assert all(hit["class"] for hit in grouped["hits"])
        plan = drawn(client)
        assert plan["classes"] == [*(one["name"] for one in about["classes"]), None]
        assert plan["sizes"][-1] == LOOSE


@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="chromium is missing")
def test_the_page_shows_what_has_no_class(page_of: Any) -> None:
    expect.set_options(timeout=60_000)
    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{page_of.url}/?id={point_id(NEW)}&k=60")
        expect(page.locator(".card")).to_have_count(60)
        expect(page.locator("#summary")).to_contain_text(f"9 classes, {LOOSE} without one")
        expect(page.locator("#query .class")).to_have_text("no class")
        expect(page.locator(".card .class.none").first).to_have_text("no class")
        expect(page.locator(".card .class.other")).to_have_count(0)
        expect(page.locator("#explanation")).to_contain_text("the others have no class")
        page.goto(f"{page_of.url}/?id={point_id('rocks/schist/schist-0003.jpg')}&k=60")
        expect(page.locator(".card .class.other").first).to_be_visible()
        expect(page.locator(".card .class.none.other")).to_have_count(0)
        page.goto(f"{page_of.url}/?id={point_id(NEW)}&one_per=class")
        expect(page.locator("#status")).to_contain_text(f"{LOOSE} images without a class left out")
        page.goto(f"{page_of.url}/map")
        expect(page.locator("#legend li").last).to_contain_text(f"no class{LOOSE}")
        remove(page_of.store, "rocks", page_of.working.datasets)
        page.goto(page_of.url)
        expect(page.locator("#summary")).to_have_text(f"{LOOSE} images, no classes")
        expect(page.locator(".card .class.none")).to_have_count(12)
        page.goto(f"{page_of.url}/?id={point_id(NEW)}&one_per=class")
        expect(page.locator("#notice")).to_contain_text("no indexed image has a class")
        browser.close()
    assert errors == []
