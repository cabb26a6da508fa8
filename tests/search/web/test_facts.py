"""The API searches by facts, tells the facts of hits, and counts their values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from geosim.ingest.schema import point_id
from tests.search.described import ODD, describe, facts

STORED = "rocks/marble/marble-0002.jpg"


@pytest.fixture(scope="module")
def page(serve: Any) -> Iterator[Any]:
    """A page whose pictures have facts."""
    with serve() as served:
        describe(served.store)
        yield served


def similar(client: httpx.Client, **parameters: Any) -> dict[str, Any]:
    answer = client.get(f"/api/points/{point_id(STORED)}/similar", params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_search_by_facts_is_that_of_the_commands(page: Any, photo: Any) -> None:
    with page.client as client:
        for wanted in (
            {"where": "depth >= 2921 and not class = marble", "k": 20},
            {"where": "near(51.0, -0.1, 25 km) or not has(location)"},
            {"one_per": "hole"},
            {"not_same": "hole", "k": 30},
            {"where": "has(hole)", "one_per": "depth", "not_same": "class", "min_score": 0.9},
        ):
            answer = similar(client, **wanted)
            expected = page.index.search(STORED, **wanted)
            assert [hit["path"] for hit in answer["hits"]] == [hit.path for hit in expected]
            assert answer["note"] is None
            for hit in answer["hits"]:
                assert hit["facts"] == facts(hit["path"])
            assert answer["query"]["facts"] == facts(STORED)
            free = similar(client)["explanation"]
            assert answer["explanation"] == free, "filters do not decide the vote"
        show = f'hole,"{ODD}",dataset,location'
        for hit in similar(client, show=show, k=50)["hits"]:
            own = facts(hit["path"])
            values = [own.get("hole"), own.get(ODD), "rocks", own.get("location")]
            assert list(hit["shown"].items()) == list(
                zip(["hole", ODD, "dataset", "location"], values, strict=True)
            )
        body = {"positive": [point_id(STORED)], "where": "hole = A-1", "not_same": "hole"}
        told = client.post("/api/recommend", json=body).json()
        assert {hit["facts"]["hole"] for hit in told["hits"]} == {"A-1"}
        uploaded = client.post(
            "/api/search?not_same=hole&where=has(hole)",
            content=photo.read_bytes(),
            headers={"content-type": "image/png"},
        ).json()
        assert uploaded["note"] == "its hole is not known, so no hit is left out by it"
        again = {name: uploaded[name] for name in ("embedding", "sha256", "model")}
        link = client.get("/api/search", params={**again, "where": "has(hole)"}).json()
        assert link["hits"] == uploaded["hits"]


def test_a_fault_of_an_expression_has_its_place(page: Any) -> None:
    with page.client as client:
        address = f"/api/points/{point_id(STORED)}/similar"
        for text, place in (("depth > deep", 8), ("class = marble and", 18), ("ü = 3", 0)):
            for url in (address, "/api/facets"):
                answer = client.get(url, params={"where": text})
                assert (answer.status_code, answer.json()["place"]) == (422, place)
        nothing = similar(client, where="hole = x")
        assert (nothing["hits"], nothing["note"]) == ([], "no indexed image matches hole = x")
        assert nothing["explanation"] == similar(client)["explanation"]
        body = {"positive": [point_id(STORED)], "where": "hole = x", "class": "marble"}
        none = client.post("/api/recommend", json=body).json()
        told = "no indexed image of the class 'marble' matches hole = x"
        assert (none["hits"], none["note"]) == ([], told)
        longest = f"hole = '{chr(0x1F5FF) * 3990}'"  # four bytes each, twelve in an address
        assert client.get(address, params={"where": longest}).status_code in (200, 431)
        assert client.get(address, params={"where": "a" * 4001}).status_code == 422


def test_facets_are_counted(page: Any) -> None:
    batches = page.store.scan(vectors=False)
    images = [point.payload for batch in batches for point in batch]
    with page.client as client:
        for where, chosen in (
            (None, images),
            ("hole = A-1", [one for one in images if one.facts.get("hole") == "A-1"]),
            ("depth > 1e9", []),
        ):
            parameters = {} if where is None else {"where": where}
            answer = client.get("/api/facets", params=parameters)
            assert answer.status_code == 200
            found = {one["name"]: one for one in answer.json()["facets"]}
            assert list(found) == ["class", "dataset", *sorted(facts(STORED))]
            holes = Counter(one.facts["hole"] for one in chosen if one.facts)
            expected = sorted(holes.items(), key=lambda one: (-one[1], one[0]))
            counts = [(one["name"], one["count"]) for one in found["hole"]["values"]]
            assert counts == expected
            having = [one.facts for one in chosen if one.facts]
            assert found["hole"]["images"] == found["depth"]["images"] == len(having)
            for name, kind in (("depth", "number"), ("sampled", "date")):
                values = [one[name] for one in having]
                assert found[name]["kind"] == kind
                ends = (found[name]["least"], found[name]["greatest"])
                assert ends == ((min(values), max(values)) if values else (None, None))
            assert found["location"]["kind"] == "geo"
            assert found["oriented"]["kind"] == ("yes/no" if values else "text")
        few = client.get("/api/facets", params={"values": 2}).json()["facets"]
        hole = next(one for one in few if one["name"] == "hole")
        assert (len(hole["values"]), hole["more"]) == (2, True)
        for wrong in ({"values": 0}, {"values": 201}, {"where": ""}, {"other": 1}):
            assert client.get("/api/facets", params=wrong).status_code == 422
