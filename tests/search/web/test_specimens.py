"""The API ranks specimens, each with its pictures, as the Python API does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from geosim.ingest.schema import point_id
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search.searcher import Searcher
from geosim.search.types import LISTED_IMAGES, Result, SearchOptions
from geosim.search.web.access import Access
from geosim.search.web.app import make_app
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.tiles import parse_tile_size
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.search.described import describe, facts

STORED = "rocks/marble/marble-0002.jpg"
OTHER = "rocks/schist/schist-0005.jpg"
SIMILAR = f"/api/points/{point_id(STORED)}/similar"
PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def page(serve: Any) -> Iterator[Any]:
    """A page whose pictures are of four holes, of up to 24 pictures; some of none."""
    with serve() as served:
        describe(served.store)
        yield served


def ranked(page: Any, *queries: Any, by: str = "hole", **options: Any) -> Result:
    searcher = Searcher(page.store, page.working)
    (result,) = searcher.search_specimens(queries, by, SearchOptions(**options), together=True)
    assert result.error is None
    return result


def check(answer: dict[str, Any], expected: Result) -> None:
    assert answer["note"] == expected.note
    assert [hit["rank"] for hit in answer["hits"]] == [*range(1, len(expected.hits) + 1)]
    assert [hit["score"] for hit in answer["hits"]] == [hit.score for hit in expected.hits]
    for hit, one in zip(answer["hits"], expected.hits, strict=True):
        assert one.specimen is not None
        assert (hit["path"], hit["shown"]) == (one.path, dict(one.shown))
        found = hit["specimen"]
        assert (found["value"], found["images"]) == (one.specimen.value, one.specimen.images)
        assert [(p["path"], p["score"]) for p in found["best"]] == [
            (picture.path, picture.score) for picture in one.specimen.best
        ]
        assert found["best"][0]["path"] == hit["path"]
        assert len(found["best"]) == min(found["images"], LISTED_IMAGES)
        for picture in found["best"]:
            assert picture["facts"] == facts(picture["path"])
            assert picture["picture"] == f"/api/images/{picture['id']}"


def test_specimens_with_their_pictures(page: Any, photo: Path) -> None:
    with page.client as client:

        def get(address: str, **parameters: Any) -> dict[str, Any]:
            answer = client.get(address, params=parameters)
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        answer = get(SIMILAR, together_by="hole")
        expected = ranked(page, STORED)
        check(answer, expected)
        assert answer["note"] == "searched by hole: 24 images of A-2"
        assert {hit["specimen"]["value"] for hit in answer["hits"]} == {"A-0", "A-1", "A-3"}
        assert sorted(hit["specimen"]["images"] for hit in answer["hits"]) == [16, 24, 24]
        votes = {vote["class"]: vote["votes"] for vote in answer["explanation"]["votes"]}
        voters = get(SIMILAR, not_same="hole")["hits"]
        assert votes == Counter(hit["class"] for hit in voters), "its own hole does not vote"
        wanted = {"k": 7, "class": "marble", "min_score": 0.2, "show": "depth"}
        options = {"k": 7, "label": "marble", "min_score": 0.2, "show": ("depth",)}
        for where in ("depth < 2960", "not hole = A-1"):
            answer = get(SIMILAR, together_by="depth", where=where, **wanted)
            check(answer, ranked(page, STORED, by="depth", where=where, **options))
            best = answer["hits"][0]["specimen"]["best"]
            assert all(one["shown"] == {} for one in best)

        posted = client.post(
            "/api/search?together_by=hole", content=photo.read_bytes(), headers=PNG
        ).json()
        check(posted, ranked(page, photo))
        assert "whose hole is not known, and that stands for itself" in posted["note"]
        link = {name: posted[name] for name in ("embedding", "sha256", "model")}
        check(get("/api/search", together_by="hole", **link), ranked(page, photo))

        ids = [point_id(STORED), point_id(OTHER)]
        body = {"positive": ids, "together_by": "hole"}
        together = client.post("/api/recommend", json=body).json()
        check(together, ranked(page, STORED, OTHER))
        assert together["note"] == "searched by hole: 48 images of 2 values"

        nothing = get(SIMILAR, together_by="hole", where="hole = x")
        assert (nothing["hits"], nothing["note"]) == ([], "no indexed image matches hole = x")


def test_what_specimens_are_not_ranked_with(page: Any) -> None:
    with page.client as client:
        for wrong, reason in (
            ({"one_per": "class"}, "specimens are ranked without one_per and not_same"),
            ({"not_same": "class"}, "specimens are ranked without one_per and not_same"),
            ({"crop": "0,0,32,32"}, "leave out crop or together_by"),
            ({"together_by": "location"}, "is a place, and no two are equal"),
            ({"together_by": "thing"}, "no indexed image has a fact 'thing'"),
            ({"together_by": ""}, "together_by: "),
        ):
            answer = client.get(SIMILAR, params={"together_by": "hole", **wrong})
            assert answer.status_code == 422
            assert reason in answer.json()["error"]
        body = {"positive": [point_id(STORED)], "negative": [point_id(OTHER)]}
        answer = client.post("/api/recommend", json={**body, "together_by": "hole"})
        assert answer.status_code == 422
        assert "leave out negative or together_by" in answer.json()["error"]


def test_specimens_of_tiles_say_where(working: Working, sample: Path) -> None:
    tiles = parse_tile_size("40")
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(sample), load_model(working.model), store, working, tiles=tiles)
        describe(store)
        ids = [point.payload.id for batch in store.scan(vectors=False) for point in batch]
        app = make_app(store, working, Access("127.0.0.1", None))
        expected = Searcher(store, working).search_specimens([STORED], "hole")
        shown = {hit.path: hit for one in expected for hit in one.hits}

        async def ask() -> dict[str, Any]:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1"
            ) as client:
                own = f"{STORED}#xywh=0,0,40,40"
                assert point_id(own) in ids
                address = f"/api/points/{point_id(own)}/similar"
                answer = await client.get(address, params={"together_by": "hole"})
                assert answer.status_code == 200, answer.text
                return dict(answer.json())

        answer = anyio.run(ask)
        assert answer["note"] == "searched by hole: 96 tiles of 24 images of A-2"
        assert {hit["path"] for hit in answer["hits"]} == {*shown}
        for hit in answer["hits"]:
            assert hit["score"] == shown[hit["path"]].score
            for one in (hit, *hit["specimen"]["best"]):
                box = [one["box"][name] for name in ("x", "y", "width", "height")]
                name = f"{one['path']}#xywh={','.join(map(str, box))}"
                assert one["id"] == point_id(name)
