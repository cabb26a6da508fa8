"""Searches by facts through the searcher, the commands and the Python API, on both engines."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result as Ran
from PIL import Image

from geosim.ingest.schema import Payload
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.search.index import open_index
from geosim.search.searcher import Searcher
from geosim.search.types import Hit, Result, SearchOptions
from geosim.trainer.errors import ExpressionError, QueryError
from geosim.trainer.files import copy_sparse
from geosim.trainer.working import Working
from tests.search.described import ODD, describe, facts

# The in-memory mode of qdrant-client says that it always searches exactly.
pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

Run = Callable[..., Ran]
QUERY = "rocks/marble/marble-0002.jpg"


@pytest.fixture(scope="module")
def folder(ingested: Working, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A working folder whose pictures have facts; read only."""
    root = tmp_path_factory.mktemp("described") / "working"
    working = Working(root)
    copy_sparse(ingested.root, root)
    with EdgeStore(working.qdrant, "geosim") as store:
        describe(store)
    return working


@pytest.fixture
def described(any_store: VectorStore) -> VectorStore:
    describe(any_store)
    return any_store


def one(searcher: Searcher, query: Any = QUERY, **wanted: Any) -> Result:
    (result,) = searcher.search([query], SearchOptions(**wanted))
    assert result.error is None
    return result


def paths(hits: tuple[Hit, ...]) -> list[str]:
    return [hit.path for hit in hits]


def value(hit: Hit | Payload, name: str) -> Any:
    return hit.label if name == "class" else hit.facts.get(name)


def test_filtered_searches_are_the_filtered_ranking(
    described: VectorStore, indexed: Working, sample: Path, tmp_path: Path
) -> None:
    searcher = Searcher(described, indexed)
    every = one(searcher, k=200).hits
    assert len(every) == 95
    assert every[0].facts == facts(every[0].path)
    for text, holds in {
        "hole = A-1": lambda has: has.get("hole") == "A-1",
        "depth >= 2921 and depth < 2960": lambda has: 2921 <= has.get("depth", 0) < 2960,
        "sampled = 2024-05-03 or not has(hole)": lambda has: (
            has.get("sampled", "2024-05-03") == "2024-05-03"
        ),
        "near(51.0, -0.1, 25 km)": lambda has: has.get("location", {"lat": 99})["lat"] < 51.22,
        "oriented = yes and not class = marble": lambda has: has.get("oriented") == "yes",
        f'"{ODD}" = \'=1+3, "x"\'': lambda has: has.get("depth") == 2931.5,
    }.items():
        expected = [hit for hit in every if holds(hit.facts)]
        if "class" in text:
            expected = [hit for hit in expected if hit.label != "marble"]
        assert expected, text
        assert paths(one(searcher, k=200, where=text).hits) == paths(tuple(expected)), text
        assert paths(one(searcher, k=3, where=text).hits) == paths(tuple(expected[:3])), text
    both = one(searcher, k=200, where="hole = A-1", label="marble").hits
    assert {(hit.label, hit.facts["hole"]) for hit in both} == {("marble", "A-1")}

    # One of each value, and none of the query's own.
    for name in ("hole", "depth", "sampled", "class", "oriented"):
        best: dict[Any, Hit] = {}
        for hit in every:
            if value(hit, name) is not None:
                best.setdefault(value(hit, name), hit)
        assert paths(one(searcher, k=200, one_per=name).hits) == paths(tuple(best.values())), name
        own = "marble" if name == "class" else facts(QUERY)[name]
        others = [hit for hit in every if value(hit, name) != own]
        found = one(searcher, k=200, not_same=name)
        assert (paths(found.hits), found.note) == (paths(tuple(others)), None), name
    assert len(one(searcher, one_per="depth", min_score=-1).hits) == 11
    assert len(one(searcher, k=60, one_per="path").hits) == 60
    least = every[20].score
    few = one(searcher, one_per="depth", min_score=least).hits
    assert len({hit.facts["depth"] for hit in few}) == len(few) <= 21
    several = one(searcher, k=200, one_per="hole", not_same="hole", where="class != marble").hits
    assert {hit.facts["hole"] for hit in several} == {"A-0", "A-1", "A-3"}
    assert "marble" not in {hit.label for hit in several}

    # A file with the bytes of an indexed picture has its facts; a new one has none.
    twin = Path(shutil.copy(sample.parent / QUERY, tmp_path / "twin.jpg"))
    result = one(searcher, twin, k=200, not_same="hole")
    assert result.note is None
    assert "A-2" not in {hit.facts.get("hole") for hit in result.hits}
    new = tmp_path / "new.png"
    with Image.open(twin) as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(new)
    result = one(searcher, new, k=200, not_same="hole")
    assert result.note == "its hole is not known, so no hit is left out by it"
    assert len(result.hits) == 96
    shown = one(searcher, k=1, show=("hole", "dataset", "width", "location")).hits[0].shown
    assert list(shown) == ["hole", "dataset", "width", "location"]
    assert (shown["dataset"], shown["width"]) == ("rocks", 64)

    together = searcher.recommend(
        [QUERY, "rocks/schist/schist-0001.jpg"], (), SearchOptions(200, not_same="hole")
    )
    assert {hit.facts.get("hole") for hit in together.hits} == {"A-0", "A-3", None}
    partly = searcher.recommend([QUERY, new], (), SearchOptions(200, not_same="hole"))
    assert partly.note == "some examples are not indexed, so no hit is left out for them"

    for wanted, told in (
        ({"where": "hole = none"}, "no indexed image matches hole = none"),
        ({"where": "hole = A-1", "label": "none"}, "has the class 'none'"),
        ({"where": "hole = A-1 and class = schist", "label": "marble"}, "class 'marble' matches"),
        ({"where": "holes = 1"}, "no indexed image has a fact 'holes'; facts: Probe, 'neu' (m), d"),
        ({"one_per": "day"}, "no indexed image has a fact 'day'"),
        ({"not_same": "location"}, "location is a place, and no two are equal"),
        ({"one_per": "location"}, "location is a place"),
        ({"show": ("hole", "none")}, "no indexed image has a fact 'none'"),
        ({"one_per": "hole", "where": "not has(hole)"}, "has a hole, so there is no best hit of"),
    ):
        with pytest.raises(QueryError, match=r"."):
            one(searcher, **wanted)
        with pytest.raises(QueryError) as caught:
            searcher.search([QUERY], SearchOptions(**wanted))
        assert told in str(caught.value)


def run(geosim: Run, folder: Working, *arguments: object, code: int = 0) -> Ran:
    result = geosim(*arguments, "--working", folder.root)
    assert result.exit_code == code, result.output
    return result


def test_commands_search_by_facts(
    geosim: Run, folder: Working, sample: Path, tmp_path: Path
) -> None:
    picture, new = sample.parent / QUERY, tmp_path / "new.png"
    with Image.open(picture) as image:
        image.rotate(180).save(new)
    sheet = tmp_path / "hits.png"
    show = f'hole,depth,"{ODD}",location,dataset'
    options = ("--where", "depth < 2960 or not has(depth)", "-k", 5)
    shown = ("--show", show)
    table = run(geosim, folder, "search", picture, *options, *shown, "--sheet", sheet)
    heading, first = table.stdout.splitlines()[1:3]
    assert heading.split()[:5] == ["rank", "score", "class", "hole", "depth"]
    assert "dataset" in heading
    assert "rocks/" in first
    with Image.open(sheet) as drawn:
        tall = drawn.height
    run(geosim, folder, "search", picture, *options, "--sheet", sheet)
    with Image.open(sheet) as drawn:
        assert tall > drawn.height
    told = run(geosim, folder, "search", picture, *options, *shown, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(told.stdout.lstrip("\ufeff"))))
    for row in rows:
        known = facts(row["path"])
        assert row["depth"] == (repr(known["depth"]) if known else "")
        assert row[ODD] == (f"'{known[ODD]}" if known else ""), "no formula"
        assert row["dataset"] == "rocks"
        assert row["location"] == (f"{known['location']['lat']}, -0.1" if known else "")
    told = run(geosim, folder, "search", picture, "--show", "class,hole", "--format", "csv")
    assert ",path,identical,box,shown.class,hole," in told.stdout.splitlines()[0]
    told = run(geosim, folder, "search", picture, new, "--not-same", "hole", "--format", "json")
    first, second = json.loads(told.stdout)
    assert "A-2" not in {hit["facts"].get("hole") for hit in first["hits"] if "facts" in hit}
    assert "note" not in first
    assert second["note"] == "its hole is not known, so no hit is left out by it"
    assert f"new.png: {second['note']}" in told.stderr
    one_per = run(geosim, folder, "search", picture, "--one-per", "hole", "--show", "hole")
    assert "--one-per hole leaves out 8 images without a hole" in one_per.stderr
    assert [line.split()[3] for line in one_per.stdout.splitlines()[2:6]]
    parts = run(geosim, folder, "search", picture, "--crop", "0,0,32,32", *options, *shown)
    assert "part 0,0,32,32" in parts.stdout


def test_commands_tell_what_is_wrong(geosim: Run, folder: Working, sample: Path) -> None:
    picture = sample.parent / QUERY
    for arguments, told_of in (
        (("--where", "depth > deep"), "column 9 of the expression: depth is a number; received"),
        (("--where", "depth >"), "expected a name or a value, received the end"),
        (("--where", ""), "expected a condition"),
        (("--where", "hole = x"), "no indexed image matches hole = x"),
        (("--one-per", "holes"), "no indexed image has a fact 'holes'; facts: Probe"),
    ):
        error = run(geosim, folder, "search", picture, *arguments, code=1).stderr
        assert told_of in error
        assert error.count("\n") == 1
    wrong = run(geosim, folder, "search", picture, "--show", "hole,,", code=2).stderr
    assert "expected fields such as hole,depth" in wrong


def test_other_commands_take_the_images_that_match(
    geosim: Run, folder: Working, tmp_path: Path
) -> None:
    index = tmp_path / "some.json"
    run(geosim, folder, "export", "--where", "hole = A-1", "--output", index)
    written = json.loads(index.read_bytes())
    assert len(written) == 24
    assert all(facts(path)["hole"] == "A-1" for path in written)
    for command in ("export", "duplicates", "outliers"):
        error = run(geosim, folder, command, "--where", "hole = x", code=1).stderr
        assert error == "Error: no indexed image matches hole = x\n"
    told = run(geosim, folder, "duplicates", "--where", "hole in (A-1, A-2)")
    assert "in 48 images" in told.stderr
    every = run(geosim, folder, "outliers", "--format", "json").stdout
    some = run(geosim, folder, "outliers", "--where", "not has(hole)", "--format", "json")
    matching = [row for row in json.loads(every) if not facts(row["path"])]
    for rank, row in enumerate(matching, start=1):
        row["rank"] = rank
    assert json.loads(some.stdout) == matching
    assert "in 8 images" in some.stderr


def test_the_python_interface_searches_by_facts(folder: Working) -> None:
    with open_index(folder.root) as index:
        hits = index.search(QUERY, where="hole = A-1", one_per="class")
        assert {hit.facts["hole"] for hit in hits} == {"A-1"}
        assert len({hit.label for hit in hits}) == len(hits) == 8
        (result,) = index.search_many([QUERY], not_same="hole")
        assert "A-2" not in {hit.facts.get("hole") for hit in result.hits}
        like = index.recommend([QUERY], where="depth < 2930")
        assert all(hit.facts["depth"] < 2930 for hit in like)
        with pytest.raises(ExpressionError) as caught:
            index.search(QUERY, where="depth ~ 3")
        assert caught.value.place == 6
