"""Specimens of a collection of tiles, on both engines, against a ranking by hand."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from geosim.ingest.schema import Payload
from geosim.ingest.store.base import VectorStore
from geosim.search.searcher import Searcher
from geosim.search.types import SearchOptions
from geosim.trainer.errors import QueryError
from geosim.trainer.working import Working

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

QUERY = "d/s0-0.png"
SIDE = 10


def payloads() -> list[Payload]:
    """Twelve specimens of one to three pictures, of two to nine tiles; two pictures of none."""
    made = []
    for number in range(12):
        for picture in range(1 + number % 3 if number else 2):
            facts = {"specimen": f"S {number}"}
            for tile in range(2 + (number + 3 * picture) % 8):
                path = f"d/s{number}-{picture}.png"
                made.append(tile_of(path, tile, facts))
    return [*made, *(tile_of(f"d/x{n}.png", tile, {}) for n in range(2) for tile in range(3))]


def tile_of(path: str, tile: int, facts: dict[str, str]) -> Payload:
    box = (SIDE * tile, 0, SIDE, SIDE)
    return Payload(path, "", path * 2, 100, SIDE, "d", facts=facts, box=box)


@pytest.fixture
def tiles(empty: VectorStore) -> VectorStore:
    """Tiles in each engine; there is neither a model nor a picture."""
    made = payloads()
    vectors = np.random.default_rng(2).normal(size=(len(made), 32)).astype(np.float32)
    empty.upsert(made, vectors)
    empty.index_facts({"specimen": "keyword"})
    return empty


def vectors_of(store: VectorStore) -> dict[Payload, np.ndarray]:
    points = [point for batch in store.scan(vectors=True) for point in batch]
    points.sort(key=lambda point: (point.payload.path, point.payload.box))
    return {one.payload: np.asarray(one.vector, np.float64) for one in points}


def ranking(
    stored: dict[Payload, np.ndarray], queries: list[list[np.ndarray]], own: str | None
) -> list[tuple[float, str, Payload, int]]:
    """Return score, specimen, best tile and number of pictures of the others, best first."""
    members = defaultdict(list)
    for payload in stored:
        if payload.facts.get("specimen") not in {None, own}:
            members[payload.facts["specimen"]].append(payload)
    found = []
    for specimen, several in members.items():
        pairs = [
            np.array([[vector @ stored[one] for one in several] for vector in picture])
            for picture in queries
        ]
        score = np.mean([one.max(axis=1).mean() for one in pairs])
        nearest = several[int(np.concatenate(pairs).max(axis=0).argmax())]
        found.append((round(float(score), 6), specimen, nearest, len({p.path for p in several})))
    return sorted(found, key=lambda one: -one[0])


def pictures_of(
    stored: dict[Payload, np.ndarray], specimen: str | None, path: str | None = None
) -> list[list[np.ndarray]]:
    pictures = defaultdict(list)
    for payload, vector in stored.items():
        if payload.facts.get("specimen") == specimen and path in (None, payload.path):
            pictures[payload.path].append(vector)
    return [*pictures.values()]


@pytest.mark.parametrize("k", [1, 4, 50])
def test_tiles_are_compared_with_tiles_and_each_picture_counts_the_same(
    tiles: VectorStore, tmp_path: Path, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geosim.search.specimens.FIRST_ROUND", 1)
    stored = vectors_of(tiles)
    searcher = Searcher(tiles, Working(tmp_path))
    (result,) = searcher.search_specimens([QUERY], "specimen", SearchOptions(k=k))
    assert result.error is None, result.error
    assert result.note == "searched by specimen: 7 tiles of 2 images of S 0"
    expected = ranking(stored, pictures_of(stored, "S 0"), "S 0")[:k]
    assert [hit.shown["specimen"] for hit in result.hits] == [one[1] for one in expected]
    assert [hit.score for hit in result.hits] == pytest.approx([e[0] for e in expected], abs=2e-6)
    for hit, (_, specimen, nearest, images) in zip(result.hits, expected, strict=True):
        assert (hit.path, hit.id) == (nearest.path, nearest.id)
        assert hit.box is not None
        assert (hit.box.x, hit.box.y, hit.box.width, hit.box.height) == nearest.box
        assert hit.specimen is not None
        assert (hit.specimen.value, hit.specimen.images) == (specimen, images)
        assert hit.specimen.best[0].path == hit.path
        assert len({one.path for one in hit.specimen.best}) == len(hit.specimen.best) == images
        scores = [one.score for one in hit.specimen.best]
        assert scores == sorted(scores, reverse=True)


def test_a_picture_without_a_specimen_stands_for_itself(tiles: VectorStore, tmp_path: Path) -> None:
    stored = vectors_of(tiles)
    searcher = Searcher(tiles, Working(tmp_path))
    new = np.random.default_rng(9).normal(size=32).astype(np.float32)
    (result,) = searcher.search_specimens([new], "specimen", SearchOptions(k=5))
    unit = new.astype(np.float64) / np.linalg.norm(new)
    expected = ranking(stored, [[unit]], None)[:5]
    assert [hit.shown["specimen"] for hit in result.hits] == [one[1] for one in expected]
    (both,) = searcher.search_specimens([QUERY, new], "specimen", together=True)
    expected = ranking(stored, [*pictures_of(stored, "S 0"), [unit]], "S 0")
    assert [hit.shown["specimen"] for hit in both.hits] == [one[1] for one in expected][:10]
    assert both.note is not None
    assert both.note.endswith("and 1 whose specimen is not known, and that stands for itself")


def test_of_many_tiles_some_are_drawn_and_it_is_told(
    tiles: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geosim.search.specimens.MOST_TILES", 4)
    searcher = Searcher(tiles, Working(tmp_path))
    (one,) = searcher.search_specimens([QUERY], "specimen")
    (again,) = searcher.search_specimens([QUERY], "specimen")
    assert one == again
    assert one.note == "searched by specimen: 4 of 7 tiles of 2 images of S 0"
    assert len(one.hits) == 10
    monkeypatch.setattr("geosim.search.specimens.MOST_READ", 6)
    with pytest.raises(QueryError, match=r"7 tiles have the specimen of the query, .* at most 6"):
        list(searcher.search_specimens([QUERY], "specimen"))
    with pytest.raises(QueryError, match="ask for fewer hits, or name a field that tells"):
        list(searcher.search_specimens([np.ones(32, np.float32)], "specimen"))
