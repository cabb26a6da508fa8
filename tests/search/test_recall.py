"""Searches of large collections by the engine's index: told, measured, and exact where asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from geosim.ingest.schema import ModelRef, Payload
from geosim.ingest.store.base import VectorStore
from geosim.search.explain import novelty_threshold
from geosim.search.recall import index_recall
from geosim.search.searcher import Searcher
from geosim.search.status import render, status
from geosim.search.types import SearchOptions
from geosim.trainer.working import Working
from tests.memory import ENGINES, engine

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

POINTS = 300
QUERY = "rocks/a/004.jpg"


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(name: str, tmp_path: Path) -> Iterator[VectorStore]:
    """A collection of random directions, every tenth with the bytes of the one before."""
    vectors = np.random.default_rng(3).normal(size=(POINTS, 32)).astype(np.float32)
    labels = ["ab"[number % 2] for number in range(POINTS)]
    hashes = [f"{number - (number % 10 == 1):064x}" for number in range(POINTS)]
    payloads = [
        Payload(f"rocks/{label}/{number:03}.jpg", label, sha256, 9, 9, "rocks")
        for number, (label, sha256) in enumerate(zip(labels, hashes, strict=True))
    ]
    with engine(name, tmp_path / "qdrant") as opened:
        opened.create(ModelRef("0" * 64, "colour-grid"))
        opened.upsert(payloads, vectors)
        yield opened


@pytest.fixture
def large(name: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let `POINTS` be many; return whether the engine has an index for them."""
    monkeypatch.setattr("geosim.ingest.store.server_search.EXACT_POINTS", POINTS - 1)
    monkeypatch.setattr("geosim.ingest.store.server_search.RECOUNT_SECONDS", 0.0)
    return name != "edge"


def test_a_small_collection_is_searched_exactly(store: VectorStore, tmp_path: Path) -> None:
    assert not store.approximates()
    (result,) = Searcher(store, Working(tmp_path)).search([QUERY])
    assert not result.approximate
    assert index_recall(store, Working(tmp_path)) is None
    assert "every search is exact" in render(status(store, Working(tmp_path)))


def test_a_large_one_is_searched_by_its_index_and_says_so(
    store: VectorStore, large: bool, tmp_path: Path
) -> None:
    assert store.approximates() == large
    searcher = Searcher(store, Working(tmp_path))
    exact, by_index, every = (
        next(iter(searcher.search([QUERY], options)))
        for options in (SearchOptions(exact=True), SearchOptions(), SearchOptions(min_score=-1))
    )
    assert (exact.approximate, by_index.approximate, every.approximate) == (False, large, False)
    assert len(every.hits) == POINTS - 1
    assert exact.hits == every.hits[:10]
    assert {hit.path for hit in by_index.hits} <= {hit.path for hit in every.hits}
    (filtered,) = searcher.search([QUERY], SearchOptions(label="b"))
    assert not filtered.approximate, "the index misses many of a filter's hits"
    together = searcher.recommend([QUERY, "rocks/b/003.jpg"])
    assert together.approximate == large


def test_recall_is_measured_and_kept(store: VectorStore, large: bool, tmp_path: Path) -> None:
    working = Working(tmp_path)
    recall = index_recall(store, working)
    if not large:
        assert recall is None
        return
    assert recall is not None
    assert recall.recall == 1, "so few points are compared one by one"
    assert (recall.queries, recall.exact_ms > 0, recall.index_ms > 0) == (100, True, True)
    told = render(status(store, working))
    assert "finds 100.00 % of the ten nearest" in told
    (kept,) = working.derived.glob("*-recall.json")
    content = json.loads(kept.read_bytes())
    kept.write_text(json.dumps({**content, "value": {**content["value"], "recall": 0.5}}))
    assert "finds 50.00 % of the ten nearest" in render(status(store, working))


def test_the_usual_score_is_the_same_by_searches(
    large: bool, store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.approximates() == large
    found = novelty_threshold(store, Working(tmp_path / "large"))
    monkeypatch.setattr("geosim.ingest.store.server_search.EXACT_POINTS", POINTS)
    assert not store.approximates()
    assert found == pytest.approx(novelty_threshold(store, Working(tmp_path / "small")), abs=1e-6)
    assert found is not None
