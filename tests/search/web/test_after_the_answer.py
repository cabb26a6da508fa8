"""What comes after an answer, over HTTP: more hits, lists, files to take away, marks."""

from __future__ import annotations

import csv
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from geosim.ingest.schema import Payload, ScoredPoint, point_id
from geosim.search.marks import Mark, Marks
from geosim.search.spreadsheet import BOM
from geosim.search.types import ranked_hits
from geosim.search.web.archive import LIST_NAME, TOO_LARGE, archive
from geosim.search.web.browse import Browser
from geosim.search.web.models import ListParameters
from geosim.trainer.working import Working

STORED = "rocks/marble/marble-0002.jpg"
SIMILAR = f"/api/points/{point_id(STORED)}/similar"


@pytest.fixture
def own(serve: Any) -> Iterator[Any]:
    """A page of the test's own."""
    with serve() as one:
        yield one


def rows_of(text: str) -> list[dict[str, str]]:
    assert text.startswith(BOM)
    return list(csv.DictReader(io.StringIO(text.removeprefix(BOM))))


def taken(client: httpx.Client, form: str, hits: list[dict[str, Any]], **more: Any) -> Any:
    body = {"format": form, "hits": [{"id": h["id"], "score": h.get("score")} for h in hits]}
    return client.post("/api/take-away", json={**body, **more})


@pytest.mark.parametrize("options", [{}, {"one_per": "class"}, {"min_score": -1, "k": 100}])
def test_pages_of_hits_are_the_whole_list(client: httpx.Client, options: dict[str, Any]) -> None:
    whole = client.get(SIMILAR, params={**options, "k": 1000}).json()
    assert not whole["more"]
    k, found, more = 7, [], True
    while more:
        page = client.get(SIMILAR, params={**options, "k": k, "offset": len(found)}).json()
        assert page["explanation"] == whole["explanation"]
        found, more = found + page["hits"], page["more"]
    assert found == whole["hits"]
    beyond = client.get(SIMILAR, params={**options, "k": k, "offset": 10_000}).json()
    assert (beyond["hits"], beyond["more"]) == ([], False)


def test_images_are_listed_in_pages_by_path(client: httpx.Client, served: Any) -> None:
    every = [one for b in served.store.scan(vectors=False) for one in b]
    marble = sorted(p.payload.path for p in every if p.payload.label == "marble")
    listed: list[str] = []
    while len(listed) < len(marble):
        page = {"class": "marble", "k": 9, "offset": len(listed), "show": "width,dataset"}
        answer = client.get("/api/images", params=page).json()
        assert answer["total"] == len(marble)
        assert answer["images"][0]["shown"]["dataset"] == "rocks"
        listed += [one["path"] for one in answer["images"]]
    assert listed == marble
    some = client.get("/api/images", params={"where": "width = 900"}).json()
    assert [one["path"] for one in some["images"]] == ["rocks/marble/large.jpg"]
    assert client.get("/api/images").json()["total"] == len(every)
    none = client.get("/api/images", params={"where": "width = 901"}).json()
    assert (none["total"], none["images"]) == (0, [])
    assert "no indexed image matches" in none["note"]
    assert client.get("/api/images", params={"where": "width ="}).status_code == 422
    assert client.get("/api/images", params={"class": "chalk"}).status_code == 422


def test_lists_are_alike_on_both_engines(any_store: Any) -> None:
    wanted = ListParameters.model_validate({"class": "marble", "where": "width = 64", "k": 5})
    page = Browser(any_store, pytest.fail).page(wanted)
    assert page.total == 12
    assert [one.path for one in page.images] == [
        f"rocks/marble/marble-{i:04}.jpg" for i in range(5)
    ]


def test_a_list_follows_the_collection(own: Any) -> None:
    with own.client as client:
        before = client.get("/api/images", params={"class": "marble"}).json()
        own.store.delete([before["images"][0]["id"]])
        after = client.get("/api/images", params={"class": "marble"}).json()
    assert after["total"] == before["total"] - 1
    assert after["images"] == before["images"][1:]


def test_a_table_tells_the_class_that_is_predicted_of_an_upload(
    client: httpx.Client, photo: Path
) -> None:
    kind = {"Content-Type": "image/png"}
    answer = client.post("/api/search", content=photo.read_bytes(), headers=kind).json()
    uploaded = {name: answer[name] for name in ("embedding", "sha256", "model")}
    said = answer["explanation"]
    file = taken(client, "csv", answer["hits"], uploaded=uploaded, name="photo.png")
    row, *_ = rows_of(file.text)
    assert row["query"] == "photo.png"
    assert row["predicted"] == said["predicted"]
    assert row["unlike"] == ("yes" if said["unlike"] else "no")
    (result,) = taken(client, "json", answer["hits"], uploaded=uploaded).json()
    assert result["explanation"]["predicted"] == said["predicted"]
    assert [one["class"] for one in result["explanation"]["votes"]] == [
        one["class"] for one in said["votes"]
    ]
    other = taken(client, "csv", answer["hits"], uploaded={**uploaded, "model": "0" * 12})
    assert other.status_code == 409


def test_hits_as_csv_and_json_are_those_of_the_command(client: httpx.Client) -> None:
    answer = client.get(SIMILAR, params={"k": 20}).json()
    about = {"query": point_id(STORED), "sha256": answer["sha256"], "show": "width"}
    file = taken(client, "csv", answer["hits"], **about)
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="geosim-hits.csv"' in file.headers["content-disposition"]
    rows = rows_of(file.text)
    assert [row["path"] for row in rows] == [hit["path"] for hit in answer["hits"]]
    assert [float(row["score"]) for row in rows] == [hit["score"] for hit in answer["hits"]]
    assert {row["query"] for row in rows} == {STORED}
    assert all(row["width"] for row in rows)
    (result,) = taken(client, "json", answer["hits"], **about).json()
    assert [hit["rank"] for hit in result["hits"]] == [*range(1, 21)]
    listed = client.get("/api/images", params={"class": "marble", "k": 3}).json()["images"]
    named = taken(client, "csv", listed, name="=cmd()")
    assert [row["score"] for row in rows_of(named.text)] == [""] * 3
    assert {row["query"] for row in rows_of(named.text)} == {"'=cmd()"}
    unknown = taken(client, "csv", [{"id": "00000000-0000-4000-8000-000000000000"}])
    assert unknown.status_code == 404


def test_a_contact_sheet(client: httpx.Client) -> None:
    hits = client.get(SIMILAR, params={"k": 33}).json()["hits"]
    sheet = Image.open(io.BytesIO(taken(client, "png", hits, query=point_id(STORED)).content))
    assert sheet.format == "PNG"
    assert sheet.height > 7 * 176  # 33 hits are seven lines of pictures
    pdf = taken(client, "pdf", hits, query=point_id(STORED))
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF")
    assert pdf.content.count(b"/Type /Page\n") == 2  # 30 hits on a page
    many = [{"id": point_id(STORED)}] * 301
    refused = taken(client, "png", many)
    assert refused.status_code == 422
    assert "at most 300 hits" in refused.json()["error"]


def test_the_pictures_of_hits_as_an_archive(own: Any, tmp_path: Any) -> None:
    with own.client as client:
        hits = client.get(SIMILAR, params={"k": 6}).json()["hits"]
        # One is gone and one was changed; a copy, as others use the folder.
        rocks = tmp_path / "rocks"
        places = json.loads(own.working.datasets.read_text())
        text = json.dumps(places).replace(str(own.rocks), str(rocks))
        shutil.copytree(own.rocks, rocks)
        own.working.datasets.write_text(text)
        local = [rocks.parent / hit["path"] for hit in hits]
        local[1].unlink()
        local[2].write_bytes(local[3].read_bytes())
        packed = taken(client, "zip", hits)
    assert packed.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(packed.content)) as file:
        assert file.testzip() is None
        rows = rows_of(file.read(LIST_NAME).decode())
        there = [hit for i, hit in enumerate(hits) if i not in (1, 2)]
        assert [row["path"] for row in rows] == [hit["path"] for hit in hits]
        assert sorted(file.namelist()) == sorted([LIST_NAME, *(hit["path"] for hit in there)])
        for hit in there:
            assert file.read(hit["path"]) == (rocks.parent / hit["path"]).read_bytes()
    assert rows[1]["note"] == "the picture is not on this machine"
    assert "was changed since it was indexed" in rows[2]["note"]


def test_an_archive_is_bounded_and_stays_in_its_folder(searcher: Any) -> None:
    names = [
        "a/../../b:c/CON|1.jpg",
        "a/b_c/CON_1.jpg",
        "a/B_C/con_1.jpg",
        "x/\u202egpj.exe ",
        "/e",
    ]
    payloads = [Payload(name, "", "0" * 64, 1, 1, "a") for name in names]
    found = [(ranked_hits([ScoredPoint(p, 1.0)], "", None)[0], p) for p in payloads]
    packed = b"".join(archive(found, lambda _: b"12345", most_bytes=20))
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        assert file.namelist() == [
            "a/b_c/CON_1.jpg",
            "a/b_c/CON_1 (2).jpg",
            "a/B_C/con_1 (3).jpg",
            "x/_u202egpj.exe_",
            LIST_NAME,
        ]
        assert rows_of(file.read(LIST_NAME).decode())[-1]["note"] == TOO_LARGE


def test_marks_are_kept_beside_the_collection_and_used(own: Any) -> None:
    with own.client as client:
        answer = client.get(SIMILAR, params={"k": 5}).json()
        right, wrong = answer["hits"][0], answer["hits"][1]
        assert {hit["mark"] for hit in answer["hits"]} == {None}
        about = {"query": answer["digest"], "name": "-1+1"}
        for hit, mark in ((right, "right"), (wrong, "right"), (wrong, "wrong")):
            counts = client.post("/api/marks", json={**about, "id": hit["id"], "mark": mark})
        assert counts.json() == {"right": 1, "wrong": 1}
        again = client.get(SIMILAR, params={"k": 5}).json()
        assert [hit["mark"] for hit in again["hits"]] == ["right", "wrong", None, None, None]
        # The same picture that is sent is the same query.
        data = (own.rocks.parent / STORED).read_bytes()
        sent = client.post("/api/search", content=data, headers={"Content-Type": "image/jpeg"})
        assert sent.json()["digest"] == answer["digest"]
        marked = {hit["path"]: hit["mark"] for hit in sent.json()["hits"]}
        assert marked[wrong["path"]] == "wrong"
        more = client.get(SIMILAR, params={"k": 6}).json()
        without = client.get(SIMILAR, params={"k": 5, "without_wrong": True}).json()
        expected = [hit["path"] for hit in more["hits"] if hit["path"] != wrong["path"]]
        assert [hit["path"] for hit in without["hits"]] == expected
        assert without["wrong"] == 1
        assert without["explanation"] == answer["explanation"]
        rows = rows_of(client.get("/api/marks").text)
        assert [(row["path"], row["class"], row["mark"]) for row in rows] == [
            (right["path"], right["class"], "right"),
            (wrong["path"], wrong["class"], "wrong"),
        ]
        assert {row["query_name"] for row in rows} == {"'-1+1"}
        assert own.store.count() == client.get("/api/collection").json()["points"]
        client.post("/api/marks", json={**about, "id": wrong["id"], "mark": None})
        assert len(rows_of(client.get("/api/marks").text)) == 1
        foreign = {"Origin": "http://evil.example"}
        body = {**about, "id": right["id"], "mark": "wrong"}
        assert client.post("/api/marks", json=body, headers=foreign).status_code == 403


def test_damaged_marks_are_told_and_never_lost(own: Any) -> None:
    file = own.working.marks / "geosim.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("{")
    with own.client as client:
        answer = client.get(SIMILAR).json()
        assert len(answer["hits"]) == 10
        body = {"query": answer["digest"], "id": answer["hits"][0]["id"], "mark": "right"}
        refused = client.post("/api/marks", json=body)
        assert refused.status_code == 503
        assert "log says why" in refused.json()["error"]
        assert client.get("/api/marks").status_code == 503
    assert file.read_text() == "{"


def test_with_a_key_marks_and_files_need_it(serve: Any) -> None:
    with serve(key="0123456789abcdef") as served, served.client as client:
        body = {"query": "0" * 64, "id": point_id(STORED), "mark": "right"}
        assert client.post("/api/marks", json=body).status_code == 401
        assert client.get("/api/marks").status_code == 401
        assert taken(client, "zip", [{"id": point_id(STORED)}]).status_code == 401
        bearer = {"Authorization": "Bearer 0123456789abcdef"}
        assert client.post("/api/marks", json=body, headers=bearer).json()["right"] == 1


def test_two_writers_lose_no_mark(tmp_path: Any) -> None:
    def write(number: int) -> None:
        marks = Marks(Working(tmp_path), "geosim")
        for i in range(20):
            marks.set(Mark("0" * 64, "", f"{number}/{i}", "", "right", "now"))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert len(Marks(Working(tmp_path), "geosim").of("0" * 64)) == 60
