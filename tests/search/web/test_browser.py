"""The page in a real browser: what a user sees and does."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from geosim.ingest.schema import point_id
from geosim.search.web.pictures import UPLOAD_BYTES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# In CI the launch fails where there is no browser.
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed"
)

TIMEOUT = 60_000
"""Longest wait for a page, in milliseconds."""

expect.set_options(timeout=TIMEOUT)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as runner:
        launched = runner.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser, served: Any) -> Iterator[Open]:
    """Open an address in a new session; an error in its console fails the test."""
    errors: list[str] = []
    sessions = []

    def opened(path: str = "/", *, allowed: str = "$^", **settings: Any) -> Page:
        session = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        session.set_default_timeout(TIMEOUT)
        sessions.append(session)
        page = session.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text)
                if message.type == "error" and not re.search(allowed, message.text)
                else None
            ),
        )
        page.on("request", lambda request: errors.extend(elsewhere(request.url)))
        page.goto(served.url + path)
        return page

    yield opened
    for session in sessions:
        session.close()
    assert errors == []


def elsewhere(url: str) -> list[str]:
    """Return an address that a page must not load from: any but this machine's."""
    return [] if re.match(r"(data|blob):|http://127\.0\.0\.1:", url) else [f"loads {url}"]


def paths(page: Page) -> list[str]:
    return [text.strip() for text in page.locator("#hits .path").all_inner_texts()]


def search_from(page: Page, card: int = 0) -> None:
    page.locator(".card").nth(card).get_by_role("link", name="Search from this").click()


def send(page: Page, file: Any) -> None:
    page.set_input_files("#file", file)
    expect(page.locator("#share-note")).to_be_visible()
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")


def test_upload_click_back_forward_reload(visit: Open, served: Any, photo: Path) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)  # one of each class
    send(page, photo)
    expect(page.locator(".card")).to_have_count(10)
    hits = served.index.search(photo)
    assert paths(page) == [hit.path for hit in hits]
    assert page.locator(".rank").all_inner_texts() == [str(rank) for rank in range(1, 11)]
    assert page.locator(".score").all_inner_texts() == [f"{hit.score:.4f}" for hit in hits]
    expect(page.locator("#explanation")).to_contain_text("Predicted class")
    own = page.locator("#query img")
    assert own.get_attribute("src").startswith("data:image/")
    assert "photo.png" in own.get_attribute("alt")
    expect(page.get_by_role("status").first).to_contain_text("10 hits")
    shared = page.url

    search_from(page, 2)
    expect(page.locator("#query .path")).to_have_text(hits[2].path)
    similar = [hit.path for hit in served.index.search(hits[2].path)]
    expect(page.locator("#hits .path").first).to_have_text(similar[0])
    assert paths(page) == similar
    clicked = page.url

    page.go_back()
    expect(page.locator("#hits .path").first).to_have_text(hits[0].path)
    assert page.url == shared
    assert own.get_attribute("src").startswith("data:image/"), "this session still has it"
    page.go_forward()
    expect(page.locator("#hits .path").first).to_have_text(similar[0])
    assert page.url == clicked

    page.goto(shared)
    page.reload()
    expect(page.locator("#hits .path")).to_have_count(10)
    assert paths(page) == [hit.path for hit in hits]
    assert own.get_attribute("src").startswith("data:image/")

    other = visit(shared.removeprefix(served.url))  # another browser
    expect(other.locator("#hits .path")).to_have_count(10)
    assert paths(other) == [hit.path for hit in hits]
    expect(other.locator("#query")).to_contain_text("the picture is not kept")


def test_filters(visit: Open, served: Any, photo: Path) -> None:
    page = visit()
    send(page, photo)
    page.get_by_label("Class", exact=True).select_option("schist")
    expect(page.locator("#hits .class").first).to_contain_text("schist")
    assert paths(page) == [hit.path for hit in served.index.search(photo, label="schist")]
    page.get_by_label("Hits", exact=True).fill("3")
    page.get_by_label("Hits", exact=True).press("Enter")
    expect(page.locator(".card")).to_have_count(3)
    page.get_by_label("Class", exact=True).select_option("")
    page.get_by_label("Hits", exact=True).fill("60")
    page.get_by_label("One per").select_option("class")
    expect(page.locator(".card")).to_have_count(9)
    page.reload()
    expect(page.locator(".card")).to_have_count(9)
    expect(page.get_by_label("One per")).to_have_value("class")
    page.get_by_label("One per").select_option("")
    page.get_by_label("Score at least").fill("0.9999")
    page.get_by_label("Score at least").press("Enter")
    many = len(served.index.search(photo, 60, min_score=0.9999))
    expect(page.locator(".card")).to_have_count(many)


def test_positive_and_negative_examples(visit: Open, served: Any) -> None:
    page = visit("/?id=" + served.index.search("rocks/marble/marble-0002.jpg", 1)[0].id)
    expect(page.locator(".card")).to_have_count(10)
    first, second = paths(page)[:2]
    page.locator(".card").nth(0).get_by_role("button", name="More like this").click()
    page.locator(".card").nth(1).get_by_role("button", name="Less like this").click()
    tray = page.get_by_role("complementary", name="Examples")
    expect(tray.get_by_role("button", name=re.compile("^Remove"))).to_have_count(2)
    tray.get_by_role("button", name="Search with these").click()
    expect(page.locator("#query-title")).to_have_text("Several examples")
    expected = [hit.path for hit in served.index.recommend([first], [second])]
    assert paths(page) == expected
    page.reload()
    expect(page.locator("#hits .path").first).to_have_text(expected[0])
    expect(tray.get_by_role("button", name=re.compile("^Remove"))).to_have_count(2)
    tray.get_by_role("button", name="Clear").click()
    expect(tray).to_be_hidden()
    expect(page.locator("#results")).to_be_focused()


def test_uploaded_pictures_join_the_examples(
    visit: Open, served: Any, photo: Path, sample: Path
) -> None:
    page = visit()
    away = sample / "schist" / "schist-0001.jpg"
    send(page, away)
    page.get_by_role("button", name="Less like this: schist-0001.jpg").click()
    send(page, photo)
    page.get_by_role("button", name="More like this: photo.png").click()
    tray = page.get_by_role("complementary", name="Examples")
    expect(tray.locator(".example img")).to_have_count(2)
    page.get_by_role("link", name="Search", exact=True).click()
    expect(page.locator(".card")).to_have_count(9)
    tray.get_by_role("button", name="Search with these").click()
    expect(page.locator("#query-title")).to_have_text("Several examples")
    expected = [hit.path for hit in served.index.recommend([photo], [away])]
    assert paths(page) == expected
    expect(page.locator("#query img")).to_have_count(2)
    assert page.locator("#query img").first.get_attribute("alt") == "photo.png"
    page.reload()
    expect(page.locator("#hits .path")).to_have_count(10)
    assert paths(page) == expected
    expect(tray.get_by_role("button", name="Remove photo.png")).to_be_visible()

    other = visit(page.url.removeprefix(served.url))
    expect(other.locator("#hits .path")).to_have_count(10)
    assert paths(other) == expected
    expect(other.locator("#share-note")).to_be_visible()
    expect(other.locator("#query .missing")).to_have_count(2)
    expect(other.get_by_role("button", name="Remove an uploaded picture")).to_have_count(2)


def test_several_pictures_at_once(visit: Open, served: Any, photo: Path, sample: Path) -> None:
    page = visit(allowed="status of 422")
    pictures = [photo, sample / "marble" / "marble-0005.jpg"]
    send(page, [*pictures, photo])
    expect(page.locator("#query-title")).to_have_text("Several examples")
    assert paths(page) == [hit.path for hit in served.index.recommend(pictures)]
    page.set_input_files("#file", [photo] * 101)
    expect(page.locator("#notice")).to_have_text("These are 101 pictures; at most 100 are taken.")
    text = {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"x"}
    good = {"name": "good.png", "mimeType": "image/png", "buffer": photo.read_bytes()}
    page.set_input_files("#file", [good, text])
    expect(page.locator("#notice")).to_contain_text("Left out of the search:")
    expect(page.locator("#notice")).to_contain_text("notes.jpg: not a JPEG")
    expect(page.locator("#query .path")).to_have_text("good.png")
    assert paths(page) == [hit.path for hit in served.index.search(photo)]
    marble = {"name": "m.jpg", "mimeType": "image/jpeg", "buffer": pictures[1].read_bytes()}
    page.set_input_files("#file", [good, text, marble])
    expect(page.locator("#query img")).to_have_count(2)
    expect(page.locator("#notice")).to_contain_text("notes.jpg: not a JPEG")
    assert paths(page) == [hit.path for hit in served.index.recommend(pictures)]
    page.set_input_files("#file", [text, text])
    expect(page.locator("#notice")).to_have_text(
        re.compile("^notes.jpg: not a JPEG.*\\nnotes.jpg: ")
    )


def test_touch_screens_are_offered_the_camera(visit: Open, photo: Path) -> None:
    phone = visit(has_touch=True, is_mobile=True)
    expect(phone.get_by_text("Take a photo")).to_be_visible()
    assert phone.locator("#camera").get_attribute("capture") == "environment"
    phone.set_input_files("#camera", photo)
    expect(phone.locator("#query .path")).to_have_text("photo.png")
    expect(visit().get_by_text("Take a photo")).to_be_hidden()


NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => done(true)))"
"""Ends after what was already under way in the page: promises are settled between frames."""

SLOW_PREVIEW = """() => {
  const create = createImageBitmap;
  window.createImageBitmap = async (file) => {
    const bitmap = await create(file);
    await new Promise((go) => { window.release = go; });
    return bitmap;
  };
}"""


def test_a_late_upload_does_not_replace_a_newer_search(visit: Open, photo: Path) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)
    page.evaluate(SLOW_PREVIEW)
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.set_input_files("#file", photo)
    page.wait_for_function("() => Boolean(window.release)")
    search_from(page)
    expect(page.locator("#query-title")).to_have_text("From the collection")
    url = page.url
    page.evaluate("() => release()")
    page.wait_for_function(NEXT_FRAME)
    assert page.url == url
    expect(page.locator("#query-title")).to_have_text("From the collection")


HALF_AN_ANSWER = """() => {
  const json = Response.prototype.json;
  Response.prototype.json = async function () {
    Response.prototype.json = json;
    await new Promise((go) => { window.release = go; });
    throw new DOMException("aborted", "AbortError");
  };
}"""


def test_an_aborted_answer_is_no_error(visit: Open) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)
    page.evaluate(HALF_AN_ANSWER)
    search_from(page)
    page.wait_for_function("() => Boolean(window.release)")
    page.get_by_role("link", name="Search", exact=True).click()
    expect(page.locator("#status")).to_contain_text("One of each class")
    page.evaluate("() => release()")
    page.wait_for_function(NEXT_FRAME)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator(".card")).to_have_count(9)


def test_an_identical_image_is_marked(visit: Open, sample: Path) -> None:
    page = visit()
    send(page, sample / "marble" / "marble-0002.jpg")
    expect(page.locator(".card").first).to_contain_text("identical file")
    expect(page.get_by_text("identical file")).to_have_count(1)


def test_refused_pictures(visit: Open, tmp_path: Path, photo: Path) -> None:
    page = visit(allowed="status of 4")
    expect(page.locator(".card")).to_have_count(9)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    page.set_input_files("#file", broken)
    alert = page.locator("#notice")
    expect(alert).to_contain_text("broken.jpg: not a JPEG")
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"x"})
    expect(alert).to_contain_text("notes.txt: not a JPEG, PNG, WebP")
    expect(alert).to_contain_text("picture but text")
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(UPLOAD_BYTES + 1)
    page.set_input_files("#file", large)
    expect(alert).to_contain_text("large.png: this file has 33 MiB; at most 32 MiB are taken")
    assert alert.get_attribute("role") == "alert"
    send(page, photo)
    expect(alert).to_be_hidden()


def test_missing_pictures(visit: Open, served: Any) -> None:
    page = visit(allowed="status of 404")
    page.route("**/api/images/**", lambda route: route.fulfill(status=404))
    page.reload()
    expect(page.locator(".card .missing")).to_have_text(["the picture cannot be had"] * 9)


def test_pictures_refused_by_a_busy_server_are_requested_again(visit: Open) -> None:
    page = visit(allowed="status of 503")
    loaded = "() => [...document.querySelectorAll('.card img')].every((one) => one.naturalWidth)"
    expect(page.locator(".card img")).to_have_count(9)
    page.wait_for_function(loaded)  # no request is left under way
    refused: set[str] = set()

    def once(route: Route) -> None:
        image = route.request.url.partition("?")[0]
        if image in refused:
            route.continue_()
        else:
            refused.add(image)
            route.fulfill(status=503)

    page.route("**/api/images/**", once)
    page.reload()
    expect(page.locator(".card img")).to_have_count(9)
    page.wait_for_function(loaded)
    assert len(refused) == 9


ARRIVING = """async ([bytes, how]) => {
  const file = new File([new Uint8Array(bytes)], "arrived.png", { type: "image/png" });
  const data = new DataTransfer();
  data.items.add(file);
  const event = how === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize("how", ["paste", "drop"])
@pytest.mark.parametrize("start", ["/", "/map"])
def test_dropped_and_pasted_pictures(visit: Open, photo: Path, how: str, start: str) -> None:
    page = visit(start)
    expect(page.locator("#summary")).not_to_be_empty()
    page.evaluate(ARRIVING, [list(photo.read_bytes()), how])
    expect(page.locator("#query .path")).to_have_text("arrived.png")
    expect(page.locator(".card")).to_have_count(10)


def test_pasting_into_a_field_is_text(visit: Open, photo: Path) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.method))
    into_field = ARRIVING.replace("document.body", "document.querySelector('#options input')")
    page.evaluate(into_field, [list(photo.read_bytes()), "paste"])
    page.evaluate(ARRIVING, [list(photo.read_bytes()), "paste"])
    expect(page.locator(".card")).to_have_count(10)
    assert posts.count("POST") == 1


def test_changing_an_option_during_an_upload_keeps_the_picture(
    visit: Open, served: Any, photo: Path
) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)
    first: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method != "POST" or first:
            route.continue_()
        else:
            first.append(route)  # never answered

    page.route("**/api/search**", hold)
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_contain_text("Searching")
    page.get_by_label("Class", exact=True).select_option("schist")
    expect(page.locator("#query .path")).to_have_text("photo.png")
    assert paths(page) == [hit.path for hit in served.index.search(photo, label="schist")]


def test_options_of_the_first_page_apply_to_the_next_search(visit: Open) -> None:
    page = visit()
    page.get_by_label("Hits", exact=True).fill("4")
    page.get_by_label("Hits", exact=True).press("Enter")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator(".card")).to_have_count(9)
    search_from(page)
    expect(page.locator(".card")).to_have_count(4)


def test_a_hit_opened_before_new_options_are_answered_uses_them(visit: Open) -> None:
    page = visit()
    expect(page.locator(".card")).to_have_count(9)
    page.route("**/api/search**", lambda _: None)  # never answered
    page.get_by_label("Hits", exact=True).fill("4")
    page.get_by_label("Hits", exact=True).press("Enter")
    search_from(page)
    expect(page.locator(".card")).to_have_count(4)
    assert "k=4" in page.url


def test_options_typed_before_the_collection_is_loaded_stay(visit: Open, served: Any) -> None:
    page = visit("/docs")

    def type_first(route: Route) -> None:
        page.get_by_label("Hits", exact=True).fill("4")
        route.continue_()

    page.route("**/api/collection", type_first)
    page.goto(f"{served.url}/?class=schist")
    expect(page.locator(".card")).to_have_count(12)
    assert page.get_by_label("Hits", exact=True).input_value() == "4"
    page.get_by_label("Hits", exact=True).press("Enter")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    search_from(page)
    expect(page.locator(".card")).to_have_count(4)
    chosen = page.get_by_label("Class", exact=True)
    assert chosen.locator("option:checked").inner_text() == "schist (12)"
    assert chosen.locator("option").count() == 10


def test_bad_links(visit: Open, served: Any) -> None:
    page = visit("/docs", allowed="status of 4")
    known = f"/?id={point_id('rocks/marble/marble-0002.jpg')}"
    for link, reason in {
        "/?id=../../etc/passwd": "nothing is at this address; /docs lists what is",
        "/?id=zzz": 'id: expected the id of an indexed image, received "zzz"',
        "/?embedding=x": "embedding: expected an embedding of 171 characters, as a search returns "
        'it, received "x"',
        "/?like=zzz": 'positive example 1: expected the id of an indexed image, received "zzz"',
        f"/?like={known[5:]}&unlike=zzz": "negative example 1: expected the id of an indexed "
        'image, received "zzz"',
        f"/?like={known[5:]}&k=zzz": 'k: expected a number, received "zzz"',
        f"{known}&k=0": 'k: expected 1 or more, received "0"',
        f"{known}&k=zzz": 'k: expected a whole number, received "zzz"',
        f"{known}&min_score=2": 'min_score: expected 1 or less, received "2"',
        f"{known}&crop=zzz": "crop: a part of a picture is X,Y,W,H in pixels or per cent, such as "
        "100,50,400,300 or 10%,20%,50%,50%; received 'zzz'",
    }.items():
        page.goto(served.url + link)
        expect(page.locator("#notice")).to_have_text(
            f"The address of this page is refused: {reason}. Change it, choose a picture, or start "
            "anew by Search."
        )
        expect(page.locator("#results-title")).to_have_text("There is no answer")


def test_one_picture_of_one_class_is_no_ground(visit: Open, serve: Any, photo: Path) -> None:
    with serve() as served, served.client as client:
        points = [p.payload.id for batch in served.store.scan(vectors=False) for p in batch]
        served.store.delete(points[1:])
        answer = client.post(
            "/api/search", content=photo.read_bytes(), headers={"Content-Type": "image/png"}
        ).json()
        told = answer["explanation"]
        assert (told["predicted"], told["confidence"]) == ("", None)
        assert told["doubt"] == "there is only one class here"
        page = visit()
        page.goto(served.url)
        send(page, photo)
        panel = page.locator("#explanation")
        expect(panel).to_contain_text("Nearest class")
        expect(panel).to_contain_text("No class is predicted: there is only one class here.")
        expect(panel).not_to_contain_text("sure")
        page.get_by_label("Score at least").fill("1")
        page.get_by_label("Score at least").press("Enter")
        expect(page.locator("#status")).to_contain_text("No image fits: lower the score.")
        page.goto(f"{served.url}/?id={points[0]}")
        status = page.locator("#status")
        expect(status).to_contain_text("There is no other image in the collection.")


def test_a_failed_search_clears_the_last_one(visit: Open, photo: Path) -> None:
    page = visit(allowed="status of 4")
    send(page, photo)
    page.get_by_label("Hits", exact=True).evaluate("(one) => one.removeAttribute('max')")
    page.get_by_label("Hits", exact=True).fill("5000")
    page.get_by_label("Hits", exact=True).press("Enter")
    expect(page.locator("#results-title")).to_have_text("There is no answer")
    expect(page.locator("#share-note")).to_be_hidden()
    expect(page.locator("#query-title")).to_have_text("Which rocks look like this one?")
    assert page.title() == "geosim"


def test_names_with_html_are_shown_as_text(visit: Open, served: Any) -> None:
    code = next(name for name in served.index.classes if name.startswith("<img"))
    page = visit(
        f"/?one_per=class&k=60&id={served.index.search('rocks/marble/marble-0002.jpg')[0].id}"
    )
    expect(page.locator(".card")).to_have_count(9)
    card = page.locator(".card", has_text=code)
    expect(card).to_contain_text("<script>window.hacked=1<.jpg")
    expect(page.get_by_label("Class", exact=True)).to_contain_text(code)
    card.get_by_role("link", name="Search from this").click()
    expect(page.locator("#query")).to_contain_text(code)
    mapped = visit("/map")
    expect(mapped.locator("#legend")).to_contain_text(code)
    for one in (page, mapped):
        assert one.evaluate("() => window.hacked") is None
        assert one.locator("img[src=x]").count() == 0


def over_a_point(page: Page) -> Locator:
    """Move the mouse over the map until it selects a point; return the card that is shown."""
    box = page.locator("#map").bounding_box()
    tip = page.locator("#tip")
    for row in range(1, 30):
        for column in range(1, 45):
            page.mouse.move(
                box["x"] + box["width"] * column / 45, box["y"] + box["height"] * row / 30
            )
            if tip.is_visible():
                return tip
    raise AssertionError("no point was found")


def test_the_map(visit: Open, served: Any) -> None:
    page = visit("/map")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    expect(page.locator("#legend .toggle")).to_have_count(9)
    tip = over_a_point(page)
    path = tip.locator(".path").inner_text()
    expect(tip.locator("img")).to_have_js_property("complete", True)
    assert path.startswith("rocks/")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#query .path")).to_have_text(path)
    assert paths(page) == [hit.path for hit in served.index.search(path)]
    page.go_back()
    expect(page.locator("#map")).to_be_visible()


def test_the_maps_legend_hides_classes(visit: Open) -> None:
    page = visit("/map")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    for button in page.locator("#legend .toggle").all():
        if "marble" not in button.inner_text():
            button.click()
            expect(button).to_have_attribute("aria-pressed", "false")
    page.locator("#map").focus()
    page.keyboard.press("0")
    expect(page.locator("#tip .class")).to_have_text("marble")


def test_the_map_by_mouse_and_buttons(visit: Open) -> None:
    page = visit("/map")
    canvas = page.locator("#map")
    expect(canvas).to_have_attribute("data-drawn", "98")
    before = canvas.screenshot()
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").hover()
    expect_changed(canvas, before)
    zoomed = canvas.screenshot()
    box = canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 90, middle[1] + 40, steps=3)
    page.mouse.up()
    expect_changed(canvas, zoomed)
    assert page.url.endswith("/map"), "a drag is no click"
    dragged = canvas.screenshot()
    page.mouse.wheel(0, -400)
    expect_changed(canvas, dragged)


def expect_changed(canvas: Locator, before: bytes) -> None:
    """Wait for the next frame; the canvas must differ."""
    canvas.evaluate(
        "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
    )
    assert canvas.screenshot() != before


def test_the_map_is_skipped_to(visit: Open) -> None:
    page = visit("/map")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#map")).to_be_focused()


def test_by_keyboard_alone(visit: Open, served: Any, photo: Path) -> None:
    page = visit()
    page.on("filechooser", lambda chooser: chooser.set_files(photo))
    expect(page.locator(".card")).to_have_count(9)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    for _ in range(5):
        page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#share-note")).to_be_visible()
    expect(page.locator("#results")).to_be_focused()
    hits = served.index.search(photo)
    page.keyboard.press("Tab")
    expect(page.locator("#take summary")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".hit").first).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name=f"More like this: {hits[0].path}")).to_have_attribute(
        "aria-pressed", "true"
    )
    for _ in range(5):  # less, right, wrong, the next hit, a search from it
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#query .path")).to_have_text(hits[1].path)
    expect(page.locator("#results")).to_be_focused()

    page.get_by_role("link", name="Map").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "98")
    page.locator("#map").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    path = page.locator("#tip .path").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#query .path")).to_have_text(path)


def test_everything_has_a_name(visit: Open, photo: Path) -> None:
    page = visit()
    send(page, photo)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, img, canvas")]
          .filter((one) => one.checkVisibility() && !one.ariaHidden)
          .filter((one) => !(one.ariaLabel || one.alt || one.textContent.trim() || one.title
            || one.labels?.[0]?.textContent.trim() || one.getAttribute("alt") === ""))
          .map((one) => one.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(visit: Open, photo: Path, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    send(page, photo)
    page.locator(".card button").first.click()
    pale = page.evaluate(
        """() => {
          const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
          const light = (colour) => {
            context.clearRect(0, 0, 1, 1);
            context.fillStyle = colour;
            context.fillRect(0, 0, 1, 1);
            const part = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
            return 0.2126 * part(r / 255) + 0.7152 * part(g / 255) + 0.0722 * part(b / 255);
          };
          const ground = (one) => {
            const own = getComputedStyle(one).backgroundColor;
            const seen = own !== "rgba(0, 0, 0, 0)" || !one.parentElement;
            return seen ? own : ground(one.parentElement);
          };
          return [...document.querySelectorAll("body *")]
            .filter((one) => one.checkVisibility() && [...one.childNodes].some(
              (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()))
            .filter((one) => !one.closest(".visually-hidden, noscript, .skip, [disabled]"))
            .map((one) => {
              const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
              const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
              return [contrast, one.outerHTML.slice(0, 90)];
            })
            .filter(([contrast]) => contrast < 4.5);
        }"""
    )
    assert pale == []


@pytest.mark.parametrize("path", ["/", "/map", "/docs"])
def test_a_narrow_screen_needs_no_scrolling_sideways(visit: Open, photo: Path, path: str) -> None:
    page = visit(path)
    page.set_viewport_size({"width": 360, "height": 740})
    if path == "/":
        send(page, photo)
        page.locator(".card button").first.click()
    expect(page.locator(".card, #map, .route").first).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_the_documentation(visit: Open) -> None:
    page = visit("/docs")
    expect(page.locator("#routes")).to_contain_text("/api/points/{id}/similar")
    expect(page.locator("#routes")).to_contain_text("Only hits of this class of the collection.")


def test_the_login(browser: Browser, serve: Any) -> None:
    with serve(key="open-sesame-0123") as served:
        session = browser.new_context()
        page = session.new_page()
        page.goto(served.url)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        for _ in range(3):
            page.keyboard.press("Escape")
        expect(dialog).to_be_visible()
        dialog.get_by_label("Key").fill("wrong")
        dialog.get_by_role("button", name="Open").click()
        expect(dialog.get_by_role("alert")).to_have_text("This is not the key.")
        dialog.get_by_label("Key").fill("open-sesame-0123")
        dialog.get_by_label("Key").press("Enter")
        expect(page.locator(".card")).to_have_count(9)
        expect(dialog).to_be_hidden()
        page.reload()
        expect(page.locator(".card")).to_have_count(9)
        page.get_by_role("button", name="Log out").click()
        expect(dialog).to_be_visible()
        page.reload()
        expect(dialog).to_be_visible()
        session.close()
