"""Parts of stored pictures and previews of uploads, over HTTP: right, bounded, and nothing else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image
from starlette.types import Message

from geosim.ingest.schema import Payload, point_id
from geosim.search.web.access import Access
from geosim.search.web.app import make_app
from geosim.search.web.pictures import UPLOAD_BYTES
from geosim.search.web.regions import RegionReader
from geosim.trainer.errors import QueryError
from tests.search.web.test_hostile import png_header, refused

LARGE = "rocks/marble/large.jpg"  # 900 x 600 pixels
REGION = f"/api/images/{point_id(LARGE)}/region"


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(answer.content), formats=["JPEG"])


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures, in grey levels."""
    first, second = (np.asarray(image.convert("RGB"), np.int16) for image in (one, other))
    assert first.shape == second.shape
    return float(np.abs(first - second).mean())


def test_a_part_at_full_and_at_reduced_scale(client: httpx.Client, served: Any) -> None:
    with Image.open(served.rocks / "marble" / "large.jpg") as image:
        whole = image.convert("RGB")
    part = picture(client.get(REGION, params={"box": "300,100,400,250"}))
    assert difference(part, whole.crop((300, 100, 700, 350))) < 8
    reduced = picture(client.get(REGION, params={"box": "300,100,400,250", "side": 100}))
    expected = whole.resize((100, 62), Image.Resampling.LANCZOS, (300, 100, 700, 350))
    assert difference(reduced, expected) < 8
    edge = picture(client.get(REGION, params={"box": "880,590,1024,1024"}))
    assert edge.size == (20, 10), "what lies outside is left out"
    assert "named person" not in str(part.info)


def test_a_part_is_kept_by_browsers_alone(client: httpx.Client) -> None:
    first = client.get(REGION, params={"box": "0,0,64,64"})
    assert first.headers["cache-control"] == "private, no-cache"
    kept = {"If-None-Match": first.headers["etag"]}
    assert client.get(REGION, params={"box": "0,0,64,64"}, headers=kept).status_code == 304
    assert client.get(REGION, params={"box": "0,0,64,65"}, headers=kept).status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"box": "0,0,0,10"},
        {"box": "-1,0,10,10"},
        {"box": "0,0,10"},
        {"box": "0,0,1e3,10"},
        {"box": "0,0,99999999,10"},
        {"box": "900,0,10,10"},
        {"box": "0,0,10,10\n"},
        {"box": "../../etc/passwd"},
        {"box": "0,0,10,10", "side": 2049},
        {"box": "0,0,10,10", "side": 0},
        {"box": "0,0,10,10", "path": "/etc/passwd"},
    ],
)
def test_parts_that_are_none(client: httpx.Client, served: Any, wanted: dict[str, Any]) -> None:
    refused(client.get(REGION, params=wanted), served, 422)


def test_parts_of_no_picture(client: httpx.Client, served: Any) -> None:
    box = {"box": "0,0,10,10"}
    unknown = client.get(f"/api/images/{point_id('none')}/region", params=box)
    refused(unknown, served, 404)
    refused(client.get("/api/images/..%2f..%2fetc/region", params=box), served, 404)
    path = served.rocks / "basalt" / "basalt-0005.jpg"
    address = f"/api/images/{point_id('rocks/basalt/basalt-0005.jpg')}/region"
    away = path.rename(path.with_suffix(".away"))
    try:
        gone = client.get(address, params=box)
    finally:
        away.rename(path)
    assert refused(gone, served, 404) == "the picture is not on this machine"
    assert client.get(address, params=box).status_code == 200


def test_nothing_is_decoded_for_a_page_that_left(served: Any) -> None:
    statuses = list[int]()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "GET",
        "path": REGION,
        "query_string": b"box=0,0,9,9",
        "headers": [(b"host", b"localhost")],
    }
    app = make_app(served.store, served.working, Access("127.0.0.1"))
    anyio.run(app, scope, receive, send)
    assert statuses == [204]


def test_an_indexed_image_has_a_size(client: httpx.Client) -> None:
    one = client.get(f"/api/points/{point_id(LARGE)}").json()
    assert (one["width"], one["height"], one["class"], one["path"]) == (900, 600, "marble", LARGE)
    assert client.get(f"/api/points/{point_id('none')}").status_code == 404


def scan(path: Path, side: int, **options: Any) -> Payload:
    """Write a smooth tiled TIFF; return what is stored of it."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    values = np.stack([255 * x, 255 * y, 128 + 100 * np.sin(20 * x) * np.cos(17 * y)], -1)
    tifffile.imwrite(path, values.astype(np.uint8), tile=(512, 512), photometric="rgb", **options)
    return Payload("scans/scan.tif", "", "0" * 64, side, side, "scans")


def test_parts_of_a_large_picture_are_those_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    stored, reads = scan(path, 5000), []

    def read(_: Payload) -> Path:
        reads.append(1)
        return path

    regions = RegionReader(read)
    with Image.open(path) as image:
        whole = image.convert("RGB")
    for box, side in (
        ((0, 0, 5000, 5000), 1024),  # from the overview
        ((1234, 2345, 800, 600), 1024),  # finer than it: from the file
        ((4000, 4500, 2000, 1000), 512),
    ):
        got = Image.open(io.BytesIO(regions.get(stored, box, side)))
        x, y, width, height = box
        inside = (x, y, min(5000, x + width), min(5000, y + height))
        expected = whole.resize(got.size, Image.Resampling.LANCZOS, inside)
        assert max(got.size) <= side
        assert difference(got, expected) < 2.5
    assert len(reads) == 1, "the overview is kept"
    with pytest.raises(QueryError, match="which has 5000 x 5000 pixels"):
        regions.get(stored, (5000, 0, 1, 1), 64)
    scan(path, 5000)
    regions.get(stored, (0, 0, 64, 64), 64)
    assert len(reads) == 2, "another file has another overview"


def test_only_so_many_overviews_are_kept(tmp_path: Path) -> None:
    reads = []
    image = io.BytesIO()
    Image.new("RGB", (400, 300), "#405060").save(image, "PNG")

    def read(payload: Payload) -> bytes:
        reads.append(payload.sha256)
        return image.getvalue()

    regions = RegionReader(read, kept_bytes=3 * 400 * 300 + 2 * len(image.getvalue()))
    one, other = (Payload("a/b.png", "", name * 64, 400, 300, "a") for name in "01")
    for payload in (one, one, other, one):
        regions.get(payload, (0, 0, 10, 10), 64)
    assert reads == [one.sha256, other.sha256, one.sha256]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    image = Image.linear_gradient("L").resize((640, 480)).convert("RGB")
    if kind == "pyramid":
        with tifffile.TiffWriter(buffer) as writer:
            options: Any = {"tile": (256, 256), "photometric": "rgb"}
            large = np.asarray(image.resize((3000, 2250)))
            writer.write(large, subifds=1, compression="jpeg", **options)
            writer.write(large[::2, ::2], subfiletype=1, compression="jpeg", **options)
    elif kind == "HEIF":  # its writer stays out of Pillow, where it would replace the reader
        pillow_heif.from_bytes(image.mode, image.size, image.tobytes()).save(buffer)
    else:
        image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("TIFF", (640, 480)),
        ("HEIF", (640, 480)),
        ("AVIF", (640, 480)),
        ("pyramid", (1024, 768)),
    ],
)
def test_a_preview(client: httpx.Client, kind: str, size: tuple[int, int]) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.post("/api/preview", content=encoded(kind), headers=headers)
    shown = picture(answer)
    assert shown.size == size
    assert answer.headers["cache-control"] == "no-store"
    expected = Image.linear_gradient("L").resize((640, 480)).convert("RGB").resize(size)
    assert difference(shown, expected) < 3
    small = client.post("/api/preview", content=encoded(kind), headers=headers, params={"side": 64})
    assert picture(small).size == (64, 48)


def test_previews_of_what_is_no_picture(client: httpx.Client, served: Any) -> None:
    for data, status in (
        (b"", 422),
        (b"text", 422),
        (png_header(50_000, 50_000), 413),
        (bytes(UPLOAD_BYTES + 1), 413),
    ):
        answer = client.post("/api/preview", content=data, headers={"Content-Type": "image/png"})
        refused(answer, served, status)
    text = client.post("/api/preview", content=b"x", headers={"Content-Type": "text/plain"})
    assert "received text/plain, where a picture is expected: JPEG, PNG" in refused(
        text, served, 415
    )
    for side in (63, 4097, "all"):
        answer = client.post(
            "/api/preview",
            content=encoded("TIFF"),
            headers={"Content-Type": "image/tiff"},
            params={"side": side},
        )
        refused(answer, served, 422)
