"""The metrics for Prometheus: what is counted, under which labels, and who may read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from geosim.trainer.errors import StoreUnreachableError

KEY = "0123456789abcdef"


def read(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the value of every sample by name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(found: Any, method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return found.get(("geosim_request_seconds_count", frozenset(labels.items())), 0)


def searches(found: Any, kind: str) -> float:
    return found["geosim_searches_total", frozenset({("kind", kind)})]


def test_requests_and_searches_are_counted_by_their_route(serve: Any, photo: Path) -> None:
    with serve() as served, served.client as client:
        first = client.post(
            "/api/search", content=photo.read_bytes(), headers={"content-type": "image/png"}
        ).json()
        ids = [hit["id"] for hit in first["hits"][:3]]
        for id_ in ids:
            assert client.get(f"/api/points/{id_}/similar").status_code == 200
        assert client.get(f"/api/images/{ids[0]}").status_code == 200
        assert client.get("/api/search", params={"embedding": first["embedding"]}).is_success
        assert client.post("/api/recommend", json={"positive": ids}).is_success
        assert client.post("/api/search", content=b"no", headers={"content-type": "image/png"})
        client.get("/static/page.js")
        client.get("/map")
        client.get("/nowhere")
        client.request("BREW", "/api/facets")
        found = read(client)
    assert requests(found, "POST", "/api/search", 200) == 1
    assert requests(found, "POST", "/api/search", 422) == 1
    assert requests(found, "GET", "/api/points/{id}/similar", 200) == 3
    assert requests(found, "GET", "/api/images/{id}", 200) == 1
    assert requests(found, "GET", "/map", 200) == 1
    assert requests(found, "other", "/api/facets", 405) == 1
    kinds = {"picture": 1, "embedding": 1, "indexed": 3, "examples": 1}
    assert {kind: searches(found, kind) for kind in kinds} == kinds
    assert found["geosim_picture_wait_seconds_count", frozenset()] == 3
    assert found["geosim_pictures_waiting", frozenset()] == 0
    assert found["geosim_requests_running", frozenset()] == 1, "the one for the metrics"
    routes = {dict(labels).get("route") for _, labels in found} - {None}
    assert not any(id_ in route for id_ in ids for route in routes)
    assert {"/static", "/map", ""} <= routes
    assert "/nowhere" not in routes


def test_the_collection_and_its_model_are_told(served: Any, client: httpx.Client) -> None:
    found = read(client)
    info = served.store.info()
    assert found["geosim_collection_points", frozenset()] == info.points == 98
    assert found["geosim_collection_readable", frozenset()] == 1
    (labels,) = [dict(labels) for name, labels in found if name == "geosim_info"]
    assert labels["model"] == info.model.fingerprint
    assert (labels["collection"], labels["backbone"]) == ("geosim", "colour-grid")
    assert labels["engine"] == served.store.engine()


def test_metrics_go_on_where_the_collection_cannot_be_read(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StoreUnreachableError("no server answers")

    with serve() as served, served.client as client:
        before = read(client)
        monkeypatch.setattr(served.store, "info", fail)
        after = read(client)
    assert before["geosim_collection_readable", frozenset()] == 1
    assert after["geosim_collection_readable", frozenset()] == 0
    assert after["geosim_collection_points", frozenset()] == 98, "as it was read last"


def test_they_need_the_key_and_are_no_part_of_the_api(serve: Any) -> None:
    with serve(host="0.0.0.0", key=KEY) as served, served.client as client:
        for path in ("/metrics", "/metrics%0A", "/metrics?x=1"):
            assert client.get(path).status_code == 401
        client.headers["Authorization"] = f"Bearer {KEY}"
        found = read(client)
        assert "/metrics" not in client.get("/openapi.json").json()["paths"]
    assert requests(found, "GET", "", 401) == 3
    with serve() as served, served.client as client:
        assert client.get("/metrics", headers={"Host": "evil.example"}).status_code == 421
