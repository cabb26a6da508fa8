"""A search by a part of a picture, over HTTP: as by the Python API, with the part in the answer."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from geosim.ingest.schema import point_id
from tests.search.web.test_api import JPEG, STORED, as_json, upload

PART = "8,16,40,32"
"""Of pictures of 64 x 64 pixels."""

SIMILAR = f"/api/points/{point_id(STORED)}/similar"


def test_a_part_of_an_uploaded_picture(client: httpx.Client, served: Any, photo: Path) -> None:
    answer = upload(client, photo.read_bytes(), crop=PART, k=7)
    assert answer["hits"] == as_json(served.index.search(photo, 7, crop=PART))
    assert answer["query"] is None
    assert answer["crop"] == {
        "x": 8,
        "y": 16,
        "width": 40,
        "height": 32,
        "picture_width": 64,
        "picture_height": 64,
    }
    with Image.open(photo) as image:
        buffer = io.BytesIO()
        image.crop((8, 16, 48, 48)).save(buffer, "PNG")
    assert upload(client, buffer.getvalue(), k=7) == {**answer, "crop": None}
    link = {name: answer[name] for name in ("embedding", "sha256", "model")} | {"k": "7"}
    assert client.get("/api/search", params=link).json() == {**answer, "crop": None}
    assert upload(client, photo.read_bytes(), crop="0%,0%,100%,100%") == upload(
        client, photo.read_bytes()
    )


def test_a_part_of_an_indexed_picture(client: httpx.Client, served: Any) -> None:
    whole = client.get(SIMILAR, params={"k": 5}).json()
    answer = client.get(SIMILAR, params={"k": 5, "crop": "2%,2%,94%,94%"}).json()
    assert answer["hits"] == as_json(served.index.search(STORED, 5, crop="2%,2%,94%,94%"))
    assert STORED in [hit["path"] for hit in answer["hits"]]
    assert answer["query"] == whole["query"]
    assert answer["explanation"]["usual"] is None
    assert client.get(SIMILAR, params={"k": 5, "crop": "0,0,64,64"}).json() == whole
    assert whole["crop"] is None


def test_parts_that_are_not_in_the_picture(client: httpx.Client, photo: Path) -> None:
    for crop, reason in (
        ("40,0,32,32", "does not lie inside of the picture, which has 64 x 64 pixels"),
        ("0%,0%,5%,50%", "a part has at least 8 x 8"),
    ):
        posted = client.post(
            "/api/search", content=photo.read_bytes(), headers=JPEG, params={"crop": crop}
        )
        for answer in (posted, client.get(SIMILAR, params={"crop": crop})):
            assert answer.status_code == 422
            assert reason in answer.json()["error"]


def test_an_embedding_has_no_parts(client: httpx.Client, photo: Path) -> None:
    given = upload(client, photo.read_bytes())
    link = {name: given[name] for name in ("embedding", "sha256", "model")}
    assert client.get("/api/search", params={**link, "crop": PART}).status_code == 422
    body = {"positive": [link], "crop": PART}
    assert client.post("/api/recommend", json=body).status_code == 422


def test_a_part_of_a_picture_that_is_gone_or_was_changed(client: httpx.Client, served: Any) -> None:
    path = "rocks/basalt/basalt-0003.jpg"
    picture = served.rocks / "basalt" / "basalt-0003.jpg"
    address = f"/api/points/{point_id(path)}/similar"
    away = picture.with_suffix(".away")
    shutil.copy(picture, away)
    try:
        Image.new("RGB", (64, 64), "red").save(picture)
        changed = client.get(address, params={"crop": PART})
        picture.unlink()
        gone = client.get(address, params={"crop": PART})
        assert client.get(address).status_code == 200
    finally:
        away.rename(picture)
    assert changed.status_code == gone.status_code == 404
    assert "was changed since it was indexed" in changed.json()["error"]
    assert gone.json() == {"error": "the picture is not on this machine"}
    assert client.get(address, params={"crop": PART}).status_code == 200
    unknown = client.get(f"/api/points/{point_id('none')}/similar", params={"crop": PART})
    assert unknown.status_code == 404


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_is_applied_first(
    client: httpx.Client, served: Any, photo: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    buffer = io.BytesIO()
    with Image.open(photo) as image:
        upright = image.resize((96, 64))
    upright.transpose(turn).save(buffer, "PNG", exif=exif)
    expected = served.index.search(np.asarray(upright.crop((48, 32, 96, 64))))
    answer = upload(client, buffer.getvalue(), crop="50%,50%,50%,50%")
    assert [hit["path"] for hit in answer["hits"]] == [hit.path for hit in expected]
    assert answer["crop"]["picture_width"] == 96
