"""The JSON API: what it answers is what the Python API answers, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import geosim.search.web.map
from geosim.ingest.plan import IMAGE_ROUTE
from geosim.ingest.schema import ModelRef, Payload, point_id
from geosim.search.explain import novelty_threshold
from geosim.search.types import Hit
from geosim.search.web.app import FOLDER
from geosim.search.web.pictures import Thumbnails
from tests.search.web.drawn import drawn

STORED = "rocks/marble/marble-0002.jpg"
JPEG = {"Content-Type": "image/jpeg"}


def upload(client: httpx.Client, data: bytes, **parameters: Any) -> dict[str, Any]:
    answer = client.post("/api/search", content=data, headers=JPEG, params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def as_json(hits: tuple[Hit, ...]) -> list[dict[str, Any]]:
    return [
        {
            "rank": hit.rank,
            "score": hit.score,
            "path": hit.path,
            "class": hit.label,
            "id": hit.id,
            "identical": hit.identical,
            "picture": f"/api/images/{hit.id}",
            "box": None,
            "facts": {},
            "shown": {},
            "specimen": None,
            "mark": None,
        }
        for hit in hits
    ]


def test_an_uploaded_picture(client: httpx.Client, served: Any, photo: Path) -> None:
    answer = upload(client, photo.read_bytes())
    assert answer["hits"] == as_json(served.index.search(photo))
    assert len(answer["hits"]) == 10
    assert answer["query"] is None
    assert answer["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    explanation = answer["explanation"]
    assert explanation["predicted"] == explanation["votes"][0]["class"]
    assert sum(vote["votes"] for vote in explanation["votes"]) == 10
    assert explanation["best"] == answer["hits"][0]["score"]


def test_its_embedding_gives_the_same_answer(client: httpx.Client, photo: Path) -> None:
    first = upload(client, photo.read_bytes(), k=7)
    link = {name: first[name] for name in ("embedding", "sha256", "model")} | {"k": "7"}
    assert client.get("/api/search", params=link).json() == first
    vector = np.frombuffer(base64.urlsafe_b64decode(first["embedding"] + "="), dtype="<f4")
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_what_another_model_embedded_is_refused(serve: Any, photo: Path) -> None:
    with serve() as served, served.client as client:
        given = upload(client, photo.read_bytes())
        link = {name: given[name] for name in ("embedding", "sha256", "model")}
        model = client.get("/api/collection").json()["model"]["fingerprint"]
        assert model.startswith(given["model"])
        assert client.get("/api/search", params=link).json() == given
        assert client.post("/api/recommend", json={"positive": [link]}).status_code == 200
        old = {**link, "model": "0123456789ab"}
        for answer in (
            client.get("/api/search", params=old),
            client.post("/api/recommend", json={"positive": [point_id(STORED)], "negative": [old]}),
        ):
            assert answer.status_code == 409
            told = answer.json()["error"]
            assert f"by the model 0123456789ab, and the collection is of {model[:12]}" in told
            assert "search with the picture itself again" in told

        served.store.drop()  # as another process does to a server's collection
        served.store.create(ModelRef("f" * 64, "colour-grid"))
        answer = client.post("/api/search", content=photo.read_bytes(), headers=JPEG)
        assert answer.status_code == 503
        assert "another model made the collection, and it is not here" in answer.json()["error"]
        assert client.get("/api/search", params=link).status_code == 409


def test_an_embedding_of_any_length_counts_by_its_direction(client: httpx.Client) -> None:
    vector = np.linspace(1, 2, 32, dtype="<f4")

    def scores(scaled: Any) -> dict[str, float]:
        text = base64.urlsafe_b64encode(scaled.astype("<f4").tobytes()).rstrip(b"=").decode()
        hits = client.get("/api/search", params={"embedding": text}).json()["hits"]
        return {hit["path"]: hit["score"] for hit in hits}

    for factor in (1.6e38, 1e37, 1e-30):
        assert scores(vector * factor) == pytest.approx(scores(vector), abs=2e-6)


def test_an_identical_image_comes_first_and_is_marked(client: httpx.Client, sample: Path) -> None:
    answer = upload(client, (sample / "marble" / "marble-0002.jpg").read_bytes())
    assert (answer["hits"][0]["path"], answer["hits"][0]["identical"]) == (STORED, True)
    assert not any(hit["identical"] for hit in answer["hits"][1:])
    assert not answer["explanation"]["unlike"]
    link = {name: answer[name] for name in ("embedding", "sha256", "model")}
    assert client.get("/api/search", params=link).json() == answer


def test_an_indexed_image(client: httpx.Client, served: Any) -> None:
    answer = client.get(f"/api/points/{point_id(STORED)}/similar", params={"k": 5}).json()
    assert answer["hits"] == as_json(served.index.search(STORED, 5))
    assert STORED not in [hit["path"] for hit in answer["hits"]]
    assert (answer["query"]["path"], answer["query"]["class"]) == (STORED, "marble")


@pytest.mark.parametrize(
    "wanted",
    [
        {"k": 3},
        {"k": 4, "label": "marble"},
        {"min_score": 0.97},
        {"one_per": "class"},
        {"one_per": "dataset"},
        {"one_per": "class", "min_score": 0.9, "k": 2},
    ],
)
def test_what_is_wanted(
    client: httpx.Client, served: Any, photo: Path, wanted: dict[str, Any]
) -> None:
    named = {("class" if name == "label" else name): value for name, value in wanted.items()}
    answer = upload(client, photo.read_bytes(), **named)
    assert answer["hits"] == as_json(served.index.search(photo, **wanted))


def test_filters_do_not_decide_the_vote(client: httpx.Client, photo: Path) -> None:
    free = upload(client, photo.read_bytes())["explanation"]
    assert upload(client, photo.read_bytes(), **{"class": "schist"})["explanation"] == free
    assert upload(client, photo.read_bytes(), one_per="class")["explanation"] == free
    assert upload(client, photo.read_bytes(), min_score=0.9999)["explanation"] == free
    for k in (1, 90):
        assert upload(client, photo.read_bytes(), k=k)["explanation"] == free


def test_what_is_usual_is_measured_in_the_background(
    client: httpx.Client, served: Any, photo: Path, eventually: Any
) -> None:
    usual = eventually(lambda: upload(client, photo.read_bytes())["explanation"]["usual"])
    measured = novelty_threshold(served.store, served.working)
    assert measured is not None
    assert usual == measured
    foreign = Image.new("RGB", (40, 40), "#00ff00")
    buffer = io.BytesIO()
    foreign.save(buffer, "PNG")
    explanation = upload(client, buffer.getvalue())["explanation"]
    assert explanation["unlike"] == (explanation["best"] < usual)
    indexed = client.get(f"/api/points/{point_id(STORED)}/similar").json()["explanation"]
    assert not indexed["unlike"]


def test_several_examples(client: httpx.Client, served: Any) -> None:
    positive = [STORED, "rocks/marble/marble-0005.jpg"]
    negative = ["rocks/schist/schist-0001.jpg"]
    body = {
        "positive": [point_id(path) for path in positive],
        "negative": [point_id(path) for path in negative],
        "k": 6,
        "class": "marble",
    }
    answer = client.post("/api/recommend", json=body).json()
    assert answer["hits"] == as_json(served.index.recommend(positive, negative, 6, label="marble"))
    assert [one["path"] for one in answer["positive"]] == positive
    assert [one["path"] for one in answer["negative"]] == negative
    assert answer["embedding"] is None


def test_uploaded_pictures_among_several_examples(
    client: httpx.Client, served: Any, photo: Path, sample: Path
) -> None:
    copy = (sample / "schist" / "schist-0001.jpg").read_bytes()
    given = [upload(client, data) for data in (photo.read_bytes(), copy)]
    new, known = ({name: one[name] for name in ("embedding", "sha256", "model")} for one in given)
    body = {"positive": [new, point_id(STORED)], "negative": [known], "k": 200}
    answer = client.post("/api/recommend", json=body).json()
    expected = served.index.recommend([photo, STORED], [copy], 200)
    assert answer["hits"] == as_json(expected)
    assert "rocks/schist/schist-0001.jpg" not in [hit["path"] for hit in answer["hits"]]
    assert answer["positive"][0] == new
    assert answer["positive"][1]["path"] == STORED
    assert answer["negative"] == [known]


def test_a_hundred_uploaded_pictures_each_way(client: httpx.Client, photo: Path) -> None:
    given = upload(client, photo.read_bytes())
    one = {name: given[name] for name in ("embedding", "sha256", "model")}
    body = {"positive": [one] * 100, "negative": [one] * 100}
    first = client.post("/api/recommend", json=body).json()["hits"][0]
    assert (first["path"], first["score"]) == (given["hits"][0]["path"], given["hits"][0]["score"])


def test_ids_are_the_collections_own_and_no_file_is_asked_for(
    client: httpx.Client, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the server runs, a stored path may happen to name a file.
    monkeypatch.chdir(served.rocks.parent)
    with opened_files() as files:
        client.get(f"/api/points/{point_id(STORED)}/similar")
        client.post("/api/recommend", json={"positive": [point_id(STORED)]})
    assert not [path for path, _ in files if "marble" in path]


def test_pictures_are_reduced_never_enlarged_and_made_anew(client: httpx.Client) -> None:
    address = f"/api/images/{point_id('rocks/marble/large.jpg')}"
    for side, size in [(64, (64, 42)), (256, (256, 171)), (1024, (900, 600))]:
        answer = client.get(address, params={"side": side})
        assert answer.headers["content-type"] == "image/jpeg"
        assert b"named person" not in answer.content
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.format, image.size) == ("JPEG", size)
    default = client.get(address)
    assert default.content == client.get(address, params={"side": 256}).content
    assert client.get(address, params={"side": 63}).status_code == 422
    assert client.get(address, params={"side": 1025}).status_code == 422


def test_the_address_that_an_ingest_stores_shows_the_picture(client: httpx.Client) -> None:
    answer = client.get(f"{IMAGE_ROUTE}{point_id(STORED)}.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cross-origin-resource-policy"] == "same-site"
    assert answer.content == client.get(f"/api/images/{point_id(STORED)}").content
    assert client.get(f"{IMAGE_ROUTE}none.jpg").status_code == 422


def test_a_browser_keeps_pictures_but_asks_whether_they_were_replaced(
    client: httpx.Client,
) -> None:
    first = client.get(f"/api/images/{point_id(STORED)}")
    assert first.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    second = client.get(f"/api/images/{point_id(STORED)}", headers=known)
    assert (second.status_code, second.content) == (304, b"")
    other = client.get(f"/api/images/{point_id(STORED)}", params={"side": 64}, headers=known)
    assert other.status_code == 200


def test_a_picture_that_is_not_here(client: httpx.Client, served: Any) -> None:
    picture = served.rocks / "basalt" / "basalt-0000.jpg"
    moved = picture.rename(picture.with_suffix(".away"))
    try:
        address = f"/api/images/{point_id('rocks/basalt/basalt-0000.jpg')}"
        answer = client.get(address, params={"side": 99})
    finally:
        moved.rename(picture)
    assert answer.status_code == 404
    assert answer.json() == {"error": "the picture is not on this machine"}
    unknown = client.get(f"/api/images/{point_id('rocks/basalt/none.jpg')}")
    assert unknown.status_code == 404


def test_a_replaced_picture_is_not_shown_as_the_indexed_one(
    client: httpx.Client, served: Any
) -> None:
    picture = served.rocks / "basalt" / "basalt-0001.jpg"
    address = f"/api/images/{point_id('rocks/basalt/basalt-0001.jpg')}"
    before = picture.read_bytes()
    try:
        Image.new("RGB", (40, 40), "red").save(picture)
        answer = client.get(address, params={"side": 98})
    finally:
        picture.write_bytes(before)
    assert answer.status_code == 404
    assert "was changed since it was indexed" in answer.json()["error"]
    assert client.get(address, params={"side": 98}).status_code == 200


def test_few_thumbnails_are_kept(served: Any) -> None:
    thumbnails = Thumbnails(served.working, cache_bytes=6000)
    point = served.store.fetch([point_id(STORED)])[0].payload
    first = thumbnails.get(point, 64)
    assert thumbnails.get(point, 64) is first
    payloads: list[Payload] = [
        p.payload for batch in served.store.scan(vectors=False) for p in batch
    ]
    for payload in [p for p in payloads if "marble-" in p.path]:
        thumbnails.get(payload, 64)
    assert thumbnails.get(point, 64) is not first
    assert sum(map(len, thumbnails._cache.values())) <= 6000


def test_the_collection(client: httpx.Client, served: Any) -> None:
    answer = client.get("/api/collection").json()
    assert answer["points"] == 98
    counts = {one["name"]: one["count"] for one in answer["classes"]}
    assert counts == served.index.classes
    assert answer["datasets"] == [{"name": "rocks", "count": 98}]
    assert answer["model"]["backbone"] == "colour-grid"
    assert answer["engine"].startswith("Qdrant Edge")


def test_the_map(client: httpx.Client, served: Any) -> None:
    plan = drawn(client)
    assert plan["ids"] == [point_id(one["path"]) for one in plan["images"]]
    names = np.repeat(plan["classes"], plan["sizes"]).tolist()
    assert names == [one["class"] for one in plan["images"]]
    counts = dict(zip(plan["classes"], plan["sizes"], strict=True))
    assert counts == served.index.classes
    answer = client.get("/api/map")
    assert len(answer.content) < 1000 + 4 * 98
    known = {"If-None-Match": answer.headers["etag"]}
    assert client.get("/api/map", headers=known).status_code == 304
    wanted = {"wanted": [plan["ids"][7], str(uuid.UUID(int=5)), plan["ids"][3]]}
    found = client.post("/api/map/points", json=wanted).json()["points"]
    assert [one["row"] for one in found] == [7, 3]


def test_points_of_another_map(client: httpx.Client) -> None:
    drawn(client)
    answer = client.post("/api/map/points", json={"tag": "other", "rows": [0]})
    told = "the map has changed; load it again"
    assert (answer.status_code, answer.json()["error"]) == (409, told)
    beyond = client.post("/api/map/points", json={"rows": [10**12, 1]})
    assert [one["row"] for one in beyond.json()["points"]] == [1]


def test_a_search_in_an_area_of_the_map(client: httpx.Client) -> None:
    plan = drawn(client)
    x, y = plan["places"].T.tolist()
    inside = {one for one, a, b in zip(plan["ids"], x, y, strict=True) if a < 30_000 and a < b}
    assert 5 < len(inside) < 90
    area = f"{plan['drawing']},0,0,30000,30000,30000,65535,0,65535"
    found = client.get(f"/api/points/{plan['ids'][0]}/similar", params={"area": area, "k": 98})
    assert {one["id"] for one in found.json()["hits"]} == inside - {plan["ids"][0]}
    half = {"area": area, "k": 98, "positive": plan["ids"][:1], "class": "marble"}
    both = client.post("/api/recommend", json=half).json()["hits"]
    assert {one["class"] for one in both} <= {"marble"}
    nothing = f"{plan['drawing']},0,0,0,1,1,0"
    empty = client.get(f"/api/points/{plan['ids'][0]}/similar", params={"area": nothing})
    assert (empty.status_code, empty.json()["hits"]) == (200, [])


@pytest.mark.parametrize(
    ("area", "status", "text"),
    [("0" * 12 + ",0,0,1,0,0,1", 409, "drawn anew"), ("wrong", 422, "area")],
)
def test_an_area_that_is_none(client: httpx.Client, area: str, status: int, text: str) -> None:
    plan = drawn(client)
    answer = client.get(f"/api/points/{plan['ids'][0]}/similar", params={"area": area})
    assert answer.status_code == status
    assert text in answer.json()["error"]


def test_an_area_with_too_many(served: Any, client: httpx.Client, monkeypatch: Any) -> None:
    plan = drawn(client)
    monkeypatch.setattr(geosim.search.web.map, "MOST_IN_AREA", 97)
    area = f"{plan['drawing']},0,0,65536,0,65536,65536,0,65536"
    answer = client.get(f"/api/points/{plan['ids'][0]}/similar", params={"area": area})
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "the area holds 98 images; a search takes one of at most 97: select a smaller one",
    )


def test_twenty_at_once_get_their_own_answers(served: Any, sample: Path) -> None:
    pictures = sorted(sample.rglob("*.jpg"))[::5][:20]

    def ask(path: Path) -> tuple[str, list[dict[str, Any]]]:
        with served.client as client:
            return str(path), upload(client, path.read_bytes(), k=5)["hits"]

    with ThreadPoolExecutor(20) as pool:
        answers = dict(pool.map(ask, pictures))
    assert len(answers) == 20
    for path, hits in answers.items():
        assert hits == as_json(served.index.search(Path(path).read_bytes(), 5))


@contextmanager
def opened_files() -> Iterator[list[tuple[str, int]]]:
    """Note what Python opens in this process, by name and mode, during the block."""
    noted: list[tuple[str, int]] = []
    active = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open":
            noted.append((str(arguments[0]), int(arguments[2] or 0)))
        elif active and event == "sqlite3.connect":
            noted.append((str(arguments[0]), -1))

    sys.addaudithook(hook)
    try:
        yield noted
    finally:
        active = False


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_uploads_are_never_written_to_disk(
    serve: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    large = io.BytesIO()
    Image.effect_noise((2500, 2500), 90).save(large, "PNG")
    with serve() as served, served.client as client:
        # What is measured at the start is kept, rightly.
        eventually(lambda: upload(client, photo.read_bytes())["explanation"]["usual"])
        before = snapshot(served.working.root)
        with opened_files() as files:
            upload(client, photo.read_bytes())
            upload(client, large.getvalue())
            client.post("/api/search", content=b"no picture", headers=JPEG)
        assert snapshot(served.working.root) == before
    written = [path for path, mode in files if mode & 3]
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_the_documentation_is_complete_and_needs_no_internet(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/api/search",
        "/api/points/{id}/similar",
        "/api/recommend",
        "/api/images/{id}",
        "/api/images/{id}/region",
        "/api/points/{id}",
        "/api/preview",
        "/api/collection",
        "/api/facets",
        "/api/images",
        "/api/marks",
        "/api/take-away",
        "/api/map",
        "/api/map/matching",
        "/api/map/points",
    }
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), (path, parameter["name"])
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "innerHTML" not in text
        assert "//" not in text.replace("// ", "").replace("http://www.w3.org/2000/svg", ""), file
    for page in ("/", "/map", "/docs"):
        answer = client.get(page)
        assert answer.headers["content-type"].startswith("text/html")
        for address in [part.split('"')[0] for part in answer.text.split('="/static/')[1:]]:
            found = client.get(f"/static/{address}")
            assert found.status_code == 200
            assert found.headers["cache-control"] == "no-cache"
            again = client.get(
                f"/static/{address}", headers={"If-None-Match": found.headers["etag"]}
            )
            assert again.status_code == 304
