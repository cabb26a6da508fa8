"""Many copies of one picture: the work of a search does not grow with their square."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from geosim.ingest.schema import Filter, Point, ScoredPoint, VectorQuery
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search.searcher import Searcher
from geosim.search.types import SearchOptions
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

COPIES = 300


class CountingStore(EdgeStore):
    """Counts the points that the engine returns."""

    points = 0

    def _scroll(
        self, where: Filter | None, offset: Any, vectors: bool, limit: int
    ) -> tuple[list[Point], Any]:
        points, following = super()._scroll(where, offset, vectors, limit)
        self.points += len(points)
        return points, following

    def _query(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        answers = super()._query(queries, limit)
        self.points += sum(map(len, answers))
        return answers


@pytest.fixture
def copied(rocks: Path, working: Working) -> Iterator[CountingStore]:
    """A collection with `COPIES` more copies of marble-0002, in two classes."""
    source = rocks / "marble" / "marble-0002.jpg"
    for number in range(COPIES):
        label = ("schist", "zz")[number % 2]
        (rocks / label).mkdir(exist_ok=True)
        shutil.copy(source, rocks / label / f"copy-{number:03}.jpg")
    with CountingStore(working.qdrant, "geosim") as store:
        sync(open_dataset(rocks), load_model(working.model), store, working)
        store.points = 0
        yield store


def test_each_copy_finds_the_first_others_by_path(
    copied: CountingStore, working: Working, rocks: Path
) -> None:
    same = sorted(
        ["rocks/marble/marble-0002.jpg"]
        + [f"rocks/{('schist', 'zz')[n % 2]}/copy-{n:03}.jpg" for n in range(COPIES)]
    )
    queries: list[str | Path] = [*same, rocks / "marble" / "marble-0002.jpg"]
    results = list(Searcher(copied, working).search(queries, SearchOptions(5)))
    for query, result in zip([*same, same[0]], results, strict=True):
        assert [hit.path for hit in result.hits] == [path for path in same if path != query][:5]
        assert all(hit.identical and hit.score == 1 for hit in result.hits)
    # Those of each answer, and the copies once.
    assert copied.points < len(queries) * (5 + 16) + 2 * COPIES


def test_pictures_that_are_not_indexed_share_the_copies(
    copied: CountingStore, working: Working, rocks: Path, tmp_path: Path
) -> None:
    queries = [tmp_path / f"{number}.jpg" for number in range(100)]
    for query in queries:
        shutil.copy(rocks / "marble" / "marble-0002.jpg", query)
    results = list(Searcher(copied, working).search(queries, SearchOptions(3, "zz")))
    expected = [f"rocks/zz/copy-{number:03}.jpg" for number in (1, 3, 5)]
    assert all([hit.path for hit in result.hits] == expected for result in results)
    assert copied.points < len(queries) * (3 + 16) + 3 * COPIES


def test_more_hits_than_copies_go_on_with_other_pictures(
    copied: CountingStore, working: Working
) -> None:
    (result,) = Searcher(copied, working).search(
        ["rocks/marble/marble-0002.jpg"], SearchOptions(COPIES + 20)
    )
    assert [hit.identical for hit in result.hits] == [True] * COPIES + [False] * 20
    assert len({hit.path for hit in result.hits}) == COPIES + 20


def test_a_recommendation_leaves_out_all_copies_of_its_examples(
    copied: CountingStore, working: Working
) -> None:
    searcher = Searcher(copied, working)
    result = searcher.recommend(
        ["rocks/zz/copy-001.jpg", "rocks/marble/marble-0003.jpg"], ["rocks/basalt/basalt-0001.jpg"]
    )
    assert len(result.hits) == 10
    assert not any("copy" in hit.path or "marble-0002" in hit.path for hit in result.hits)
    assert copied.points < 100
