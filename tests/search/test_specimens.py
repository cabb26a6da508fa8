"""Searches by all pictures of a specimen, against a ranking of all specimens by hand."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.ingest.schema import Change, point_id
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.search.searcher import Searcher
from geosim.search.types import SearchOptions
from geosim.trainer.errors import QueryError
from geosim.trainer.sample.textures import draw
from geosim.trainer.working import Working

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

Run = Callable[..., Result]
QUERY = "rocks/marble/marble-0004.jpg"


def specimen_of(path: str) -> str | None:
    """Return the specimen of a picture: three of a class are one, the last has none."""
    label, _, number = path.rpartition("/")[2].partition(".")[0].rpartition("-")
    return None if number == "0011" else f"{label} {int(number) // 3}"


def describe(store: VectorStore) -> dict[str, np.ndarray]:
    """Give the images of a store their specimens; return the vectors by path."""
    points = [point for batch in store.scan(vectors=True) for point in batch]
    of_value = defaultdict(list)
    for point in points:
        if (value := specimen_of(point.payload.path)) is not None:
            of_value[value].append(point_id(point.payload.path))
    store.update([Change(tuple(ids), facts={"specimen": v}) for v, ids in of_value.items()])
    store.index_facts({"specimen": "keyword"})
    return {one.payload.path: np.asarray(one.vector, np.float64) for one in points}


def ranking(
    query: list[np.ndarray], vectors: dict[str, np.ndarray], own: set[str | None]
) -> list[tuple[float, str, str]]:
    """Return score, path and specimen of all specimens but ``own``, best first."""
    members = defaultdict(list)
    for path in sorted(vectors):
        if specimen_of(path) not in {None, *own}:
            members[specimen_of(path)].append(path)
    unit = [one / np.linalg.norm(one) for one in query]
    found = []
    for specimen, paths in members.items():
        pairs = np.array([[one @ vectors[path] for path in paths] for one in unit])
        score = round(float(pairs.max(axis=1).mean()), 6)
        found.append((-score, paths[int(pairs.max(axis=0).argmax())], str(specimen)))
    return [(-score, path, specimen) for score, path, specimen in sorted(found)]


@pytest.mark.parametrize("k", [1, 5, 100])
def test_specimens_are_ranked_by_the_mean_of_their_best_pairs(
    any_store: VectorStore, indexed: Working, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_ROUND", "VALUES_BATCH"):
        monkeypatch.setattr(f"geosim.search.specimens.{name}", 1)
    vectors = describe(any_store)
    searcher = Searcher(any_store, indexed)
    queries = [QUERY, "rocks/basalt/basalt-0009.jpg"]
    for query, result in zip(
        queries,
        searcher.search_specimens(queries, "specimen", SearchOptions(k=k)),
        strict=True,
    ):
        own = specimen_of(query)
        pictures = [vector for path, vector in vectors.items() if specimen_of(path) == own]
        assert len(pictures) == (3 if query == QUERY else 2)
        expected = ranking(pictures, vectors, {own})[:k]
        assert len(expected) == min(k, 31)
        assert [hit.rank for hit in result.hits] == list(range(1, len(expected) + 1))
        assert [hit.score for hit in result.hits] == pytest.approx(
            [score for score, _, _ in expected], abs=2e-6
        )
        assert [hit.shown["specimen"] for hit in result.hits] == [
            specimen for _, _, specimen in expected
        ]
        assert result.hits[0].path == expected[0][1]
        assert result.indexed is not None


def test_what_a_search_leaves_out_does_not_count(any_store: VectorStore, indexed: Working) -> None:
    vectors, searcher = describe(any_store), Searcher(any_store, indexed)
    options = SearchOptions(k=100, where="class = marble or class = schist", min_score=0.5)
    (result,) = searcher.search_specimens([QUERY], "specimen", options)
    pictures = [one for path, one in vectors.items() if specimen_of(path) == specimen_of(QUERY)]
    some = {path: one for path, one in vectors.items() if "marble" in path or "schist" in path}
    expected = [one for one in ranking(pictures, some, {specimen_of(QUERY)}) if one[0] >= 0.5]
    assert [hit.shown["specimen"] for hit in result.hits] == [one for _, _, one in expected]
    assert {hit.label for hit in result.hits} <= {"marble", "schist"}


def test_new_pictures_stand_for_themselves_alone_or_together(
    any_store: VectorStore, indexed: Working, sample: Path, tmp_path: Path
) -> None:
    vectors, searcher = describe(any_store), Searcher(any_store, indexed)
    new = [tmp_path / "one.png", tmp_path / "two.png"]
    for number, path in enumerate(new, 700):
        Image.fromarray(draw("marble", number, size=64)).save(path)
    embedded = [searcher.resolve(path).vector for path in new]
    found = searcher.search_specimens(new, "specimen")
    for result, vector in zip(found, embedded, strict=True):
        assert vector is not None
        expected = ranking([vector.astype(np.float64)], vectors, set())
        assert [hit.shown["specimen"] for hit in result.hits] == [s for _, _, s in expected[:10]]
        assert result.note is not None
        assert "1 whose specimen is not known, and that stands for itself" in result.note
    (both,) = searcher.search_specimens(new, "specimen", together=True)
    pair = [one.astype(np.float64) for one in embedded if one is not None]
    expected = ranking(pair, vectors, set())
    assert [hit.score for hit in both.hits] == pytest.approx(
        [score for score, _, _ in expected[:10]], abs=2e-6
    )
    copied = Path(shutil.copy(sample / "marble" / "marble-0004.jpg", tmp_path / "copy.jpg"))
    (copy,) = searcher.search_specimens([copied], "specimen")
    (stored,) = searcher.search_specimens([QUERY], "specimen")
    assert [hit.path for hit in copy.hits] == [hit.path for hit in stored.hits]
    (missing,) = searcher.search_specimens(["rocks/none.jpg"], "specimen")
    assert missing.error is not None
    with pytest.raises(QueryError, match=r"none\.jpg: "):
        list(searcher.search_specimens(["rocks/none.jpg", QUERY], "specimen", together=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geosim.search.specimens.MOST_PICTURES", 2)
        with pytest.raises(QueryError, match="3 images have the specimen of the query"):
            list(searcher.search_specimens([QUERY], "specimen"))
    with pytest.raises(QueryError, match="leave them out"):
        searcher.search_specimens([QUERY], "specimen", SearchOptions(one_per="class"))


def test_the_command_ranks_specimens(geosim: Run, indexed: Working, tmp_path: Path) -> None:
    with EdgeStore(indexed.qdrant, "geosim") as store:
        vectors = describe(store)
    command = ("search", QUERY, "--together-by", "specimen", "-k", 3, "--working", indexed.root)
    pictures = [one for path, one in vectors.items() if specimen_of(path) == specimen_of(QUERY)]
    expected = ranking(pictures, vectors, {specimen_of(QUERY)})[:3]
    done = geosim(*command, "--sheet", tmp_path / "hits.png")
    assert done.exit_code == 0, done.output
    assert "searched by specimen: 3 images of marble 1" in done.stderr
    assert "--together-by specimen leaves out 8 images without a specimen" in done.stderr
    assert "specimen" in done.stdout.splitlines()[1]
    assert all(specimen in done.stdout for _, _, specimen in expected)
    assert (tmp_path / "hits.png").is_file()
    (answer,) = json.loads(geosim(*command, "--format", "json").stdout)
    assert [hit["shown"] for hit in answer["hits"]] == [{"specimen": s} for _, _, s in expected]
    assert "votes" not in json.dumps(answer)
    for hit in answer["hits"]:
        found = hit["specimen"]
        assert (found["value"], found["images"]) == (hit["shown"]["specimen"], len(found["best"]))
        assert found["best"][0]["path"] == hit["path"]
        assert "specimen" not in found["best"][0]
    for more in (("--crop", "0,0,9,9"), ("--unlike", QUERY), ("--one-per", "class")):
        refused = geosim(*command, *more)
        assert refused.exit_code == 2
        assert "--together-by compares whole specimens" in " ".join(refused.stderr.split())
    unknown = geosim("search", QUERY, "--together-by", "hole", "--working", indexed.root)
    assert unknown.exit_code == 1
    assert "no indexed image has a fact 'hole'" in unknown.stderr
