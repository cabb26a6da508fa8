"""500 pictures and a table of 20 columns: each kind of filter, group and export, on each engine.

What is expected is worked out from the rows of the table and the stored vectors.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyarrow import parquet

from geosim.ingest.store.base import VectorStore
from geosim.ingest.sync import SyncReport, sync
from geosim.search.fields import Fields
from geosim.search.graph.export import export, export_table
from geosim.search.searcher import Searcher
from geosim.search.types import Hit, SearchOptions
from geosim.search.where import parse_where
from geosim.trainer.data.layout import decide_anew
from geosim.trainer.facts.collect import FactOptions, open_described
from geosim.trainer.model import load_model
from geosim.trainer.sample.generate import write_sample
from geosim.trainer.working import Working
from tests.memory import ENGINES, engine

# The in-memory mode of qdrant-client says that it always searches exactly.
pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

PICTURES, BARE = 500, 7  # the last have no row
QUERY = "cores/marble/marble-0002.jpg"
Row = dict[str, Any]

TYPES = {
    **dict.fromkeys(("hole", "sample", "operator", "formation", "remark"), "keyword"),
    **dict.fromkeys(("Körnung (mm)", "box", "depth", "bottom", "porosity", "density"), "float"),
    **dict.fromkeys(("gamma", "mass"), "float"),
    **dict.fromkeys(("sampled", "logged"), "datetime"),
    **dict.fromkeys(("oriented", "stained", "polished"), "keyword"),
    "location": "geo",
}
"""Of the facts that the 20 columns become: latitude and longitude are one."""


def row_of(number: int) -> Row:
    """Return what the table says of a picture; None for an empty cell."""
    yes = ("yes", "no")
    return {
        "hole": None if number % 11 == 0 else f"A-{number % 9}",
        "sample": f"S{number // 4:03}",
        "operator": ("Núñez, Ana", '岩石 "Li"', "=SUM(A1)")[number % 3],
        "formation": None if number % 2 else f"Fm {number % 5}",
        "remark": f"remark {number}",
        "Körnung (mm)": number % 7 / 8,
        "box": number % 25,
        "depth": 2900 + number * 0.25,
        "bottom": 2900.25 + number * 0.25,
        "porosity": None if number % 13 == 0 else number % 31 / 100,
        "density": 2.5 + number % 10 / 20,
        "gamma": -(number % 90),
        "mass": number * 1000,
        "sampled": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}",
        "logged": f"2024-05-01T{number % 24:02}:{number % 60:02}:00Z",
        "oriented": yes[number % 2],
        "stained": None if number % 3 == 0 else yes[number % 5 == 0],
        "polished": yes[number % 10 != 0],
        "latitude": None if number % 17 == 0 else 51 + number / 1000,
        "longitude": None if number % 17 == 0 else -0.1,
    }


@dataclass(frozen=True)
class Cores:
    """A folder of pictures, the table beside it, and the rows of the table by path."""

    folder: Path
    table: Path
    rows: Mapping[str, Row]
    working: Working

    def write(self, table: Path, **changed: Any) -> None:
        """Write the table with other values of some columns."""
        with table.open("w", newline="", encoding="utf-8") as file:
            names = [*row_of(1)]
            assert len(names) == 20
            writer = csv.DictWriter(file, ["picture", *names])
            writer.writeheader()
            for path, row in self.rows.items():
                if row:
                    writer.writerow({"picture": path.rpartition("/")[2], **row, **changed})

    def ingest(self, store: VectorStore, table: Path) -> SyncReport:
        dataset = open_described(self.folder, (), decide_anew, FactOptions(table=table))
        return sync(dataset, load_model(self.working.model), store, self.working)

    def facts(self, path: str) -> Row:
        """Return a picture's row as facts: nothing for an empty cell, and one location."""
        facts = {name: value for name, value in self.rows[path].items() if value is not None}
        if "latitude" in facts:
            facts["location"] = {"lat": facts.pop("latitude"), "lon": facts.pop("longitude")}
        return facts


@pytest.fixture(scope="module")
def cores(trained: Working, tmp_path_factory: pytest.TempPathFactory) -> Cores:
    root = tmp_path_factory.mktemp("cores")
    folder = write_sample(root / "cores", per_class=63, size=32)
    pictures = sorted(folder.rglob("*.jpg"))
    for path in pictures[PICTURES:]:
        path.unlink()
    paths = [f"cores/{one.relative_to(folder).as_posix()}" for one in pictures[:PICTURES]]
    described = {path: row_of(number) for number, path in enumerate(paths[:-BARE])}
    rows = described | {path: {} for path in paths[-BARE:]}
    working = Working(Path(shutil.copytree(trained.root, root / "working")))
    made = Cores(folder, root / "samples.csv", rows, working)
    made.write(made.table)
    return made


@pytest.fixture(scope="module", params=ENGINES)
def store(
    request: pytest.FixtureRequest, cores: Cores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VectorStore]:
    """A collection of the pictures; read only, apart from the last test."""
    with engine(request.param, tmp_path_factory.mktemp("engine") / "qdrant") as opened:
        report = cores.ingest(opened, cores.table)
        assert report.added == PICTURES
        yield opened


@pytest.fixture(scope="module")
def searcher(store: VectorStore, cores: Cores) -> Searcher:
    return Searcher(store, cores.working)


@pytest.fixture(scope="module")
def ranked(searcher: Searcher, store: VectorStore) -> list[Hit]:
    """All pictures but the query, best first; the ranking is that of the stored vectors."""
    hits = found(searcher, k=PICTURES)
    vectors = vectors_of(store)
    query = vectors.pop(QUERY)
    scores = {path: float(vector @ query) for path, vector in vectors.items()}
    assert [hit.score for hit in hits] == pytest.approx(
        [scores[hit.path] for hit in hits], abs=2e-6
    )
    assert sorted(scores.values(), reverse=True) == pytest.approx(
        [hit.score for hit in hits], abs=2e-6
    )
    return hits


def found(searcher: Searcher, **wanted: Any) -> list[Hit]:
    (result,) = searcher.search([QUERY], SearchOptions(**wanted))
    assert result.error is None
    return list(result.hits)


def vectors_of(store: VectorStore) -> dict[str, NDArray[np.float64]]:
    """Return the embeddings by path, ``(32,)`` of norm 1."""
    points = [point for batch in store.scan(vectors=True) for point in batch]
    vectors = {one.payload.path: np.asarray(one.vector, np.float64) for one in points}
    return {path: vector / np.linalg.norm(vector) for path, vector in vectors.items()}


def paths(hits: list[Hit]) -> list[str]:
    return [hit.path for hit in hits]


def kilometres(place: Mapping[str, float], lat: float, lon: float) -> float:
    """Return the distance on a sphere of 6,371 km, by the haversine formula."""
    one, other = math.radians(place["lat"]), math.radians(lat)
    across = math.radians(lon - place["lon"])
    half = math.sin((other - one) / 2) ** 2
    half += math.cos(one) * math.cos(other) * math.sin(across / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(half))


Holds = Callable[[Row], bool]
FILTERS: dict[str, Holds] = {
    "hole = A-7": lambda row: row.get("hole") == "A-7",
    "hole != A-7": lambda row: row.get("hole", "A-7") != "A-7",
    'hole in ("A-1", A-2)': lambda row: row.get("hole") in ("A-1", "A-2"),
    "hole not in (A-1, A-2)": lambda row: row.get("hole", "A-1") not in ("A-1", "A-2"),
    "has(hole)": lambda row: "hole" in row,
    "not has(formation)": lambda row: "formation" not in row,
    'operator = "Núñez, Ana"': lambda row: row.get("operator") == "Núñez, Ana",
    "operator = '岩石 \"Li\"'": lambda row: row.get("operator") == '岩石 "Li"',
    "operator = '=SUM(A1)'": lambda row: row.get("operator") == "=SUM(A1)",
    "depth >= 2950 and depth < 2975.5": lambda row: 2950 <= row.get("depth", 0) < 2975.5,
    "depth > 2950 and bottom <= 2975.5": lambda row: (
        row.get("depth", 0) > 2950 and row["bottom"] <= 2975.5
    ),
    "box = 3": lambda row: row.get("box") == 3,
    "box in (3, 4) or gamma < -80": lambda row: (
        row.get("box") in (3, 4) or row.get("gamma", 0) < -80
    ),
    '"Körnung (mm)" = 0.125': lambda row: row.get("Körnung (mm)") == 0.125,
    "not porosity >= 0.1": lambda row: not row.get("porosity", 0) >= 0.1,
    "mass >= 1e5 and mass != 200000": lambda row: row.get("mass", 0) >= 1e5 and row["mass"] != 2e5,
    "sampled = 2024-03-03": lambda row: row.get("sampled") == "2024-03-03",
    "sampled >= 2024-11-01": lambda row: row.get("sampled", "") >= "2024-11-01",
    "sampled > 2024-02-05 and sampled <= 2024-04-09": lambda row: (
        "2024-02-05" < row.get("sampled", "") <= "2024-04-09"
    ),
    "logged < 2024-05-01T06:30:00Z": lambda row: row.get("logged", "3") < "2024-05-01T06:30:00Z",
    "oriented = yes": lambda row: row.get("oriented") == "yes",
    "stained = no and polished = yes": lambda row: (
        (row.get("stained"), row.get("polished")) == ("no", "yes")
    ),
    "near(51.2, -0.1, 9.95 km)": lambda row: (
        "location" in row and kilometres(row["location"], 51.2, -0.1) <= 9.95
    ),
    "not near(51.2, -0.1, 800 m)": lambda row: (
        "location" not in row or kilometres(row["location"], 51.2, -0.1) > 0.8
    ),
    "has(location) and not (hole = A-1 or depth < 3000)": lambda row: (
        "location" in row and not (row.get("hole") == "A-1" or row["depth"] < 3000)
    ),
}


def test_the_facts_are_those_of_the_table(store: VectorStore, cores: Cores) -> None:
    payloads = [point.payload for batch in store.scan(vectors=False) for point in batch]
    assert {one.path: dict(one.facts) for one in payloads} == {
        path: cores.facts(path) for path in cores.rows
    }
    known = Fields(store).facts
    assert set(known) == set(TYPES)
    indexes = store.fact_indexes()  # the in-memory client has none
    assert indexes in ({}, TYPES)


@pytest.mark.parametrize("text", FILTERS)
def test_a_filtered_search_is_the_filtered_ranking(
    searcher: Searcher, cores: Cores, ranked: list[Hit], text: str
) -> None:
    expected = [hit.path for hit in ranked if FILTERS[text](cores.facts(hit.path))]
    assert 0 < len(expected) < PICTURES - 1
    assert paths(found(searcher, where=text, k=PICTURES)) == expected
    assert paths(found(searcher, where=text, k=3)) == expected[:3]
    label = expected[0].split("/")[1]
    of_class = [path for path in expected if f"/{label}/" in path]
    assert paths(found(searcher, where=text, k=PICTURES, label=label)) == of_class


@pytest.mark.parametrize("name", ["hole", "operator", "box", "depth", "sampled", "stained"])
def test_groups_are_those_of_the_ranking(
    searcher: Searcher, cores: Cores, ranked: list[Hit], name: str
) -> None:
    best: dict[Any, str] = {}
    for hit in ranked:
        if (value := cores.facts(hit.path).get(name)) is not None:
            best.setdefault(value, hit.path)
    assert paths(found(searcher, one_per=name, k=PICTURES)) == [*best.values()]
    own = cores.facts(QUERY).get(name)
    others = [hit.path for hit in ranked if own is None or cores.facts(hit.path).get(name) != own]
    assert paths(found(searcher, not_same=name, k=PICTURES)) == others


def test_specimens_are_ranked_by_the_mean_of_their_best_pairs(
    searcher: Searcher, cores: Cores, store: VectorStore
) -> None:
    members: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for path, vector in vectors_of(store).items():
        if (value := cores.facts(path).get("sample")) is not None:
            members[value].append(vector)
    own = np.stack(members.pop(cores.facts(QUERY)["sample"]))
    scores = {value: (own @ np.stack(one).T).max(axis=1).mean() for value, one in members.items()}
    (result,) = searcher.search_specimens([QUERY], "sample", SearchOptions(k=20))
    best = sorted(scores.values(), reverse=True)[:20]
    assert [hit.score for hit in result.hits] == pytest.approx(best, abs=2e-6)
    for hit in result.hits:
        assert hit.specimen is not None
        assert hit.score == pytest.approx(scores[hit.specimen.value], abs=2e-6)
        assert hit.specimen.images == len(members[hit.specimen.value])


def test_exports_have_the_facts(store: VectorStore, cores: Cores, tmp_path: Path) -> None:
    text = "depth >= 2950 and hole != A-3"
    where = parse_where(text, Fields(store))
    chosen = [
        path
        for path in sorted(cores.rows)
        if cores.rows[path].get("depth", 0) >= 2950
        and cores.rows[path]["hole"] not in (None, "A-3")
    ]
    export(store, tmp_path / "graph.json", tmp_path / "embeddings.json", 3, where)
    graph = json.loads((tmp_path / "graph.json").read_bytes())
    assert list(graph) == chosen
    assert {len(hits) for hits in graph.values()} == {3}

    for form in ("csv", "parquet", "geojson"):
        export_table(store, tmp_path / f"table.{form}", 3, where, form=form)
    content = (tmp_path / "table.csv").read_text(encoding="utf-8-sig")
    rows = {row["path"]: row for row in csv.DictReader(io.StringIO(content, newline=""))}
    assert list(rows) == chosen
    columns = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert [row["path"] for row in columns] == chosen
    features = json.loads((tmp_path / "table.geojson").read_bytes())["features"]
    assert [one["id"] for one in features] == [
        path for path in chosen if "location" in cores.facts(path)
    ]
    for path, typed in zip(chosen, columns, strict=True):
        row = cores.rows[path]
        written = rows[path]
        for name, value in row.items():
            if isinstance(value, str) or value is None:
                safe = f"'{value}" if str(value).startswith("=") else value or ""
                assert written[name] == safe
            else:
                assert float(written[name]) == value
            if name not in ("sampled", "logged"):
                assert typed[name] == value
        assert [written[f"neighbour_{n}"] for n in (1, 2, 3)] == [hit for hit, _ in graph[path]]
    for one in features:
        row, shown = cores.rows[one["id"]], one["properties"]
        assert one["geometry"]["coordinates"] == [row["longitude"], row["latitude"]]
        assert shown["depth"] == row["depth"]
        assert shown["operator"] == row["operator"]


def test_a_changed_table_changes_facts_and_embeds_nothing(
    store: VectorStore, cores: Cores, tmp_path: Path
) -> None:
    before = vectors_of(store)
    again = cores.ingest(store, cores.table)
    assert (again.added, again.updated, again.unchanged) == (0, 0, PICTURES)
    cores.write(tmp_path / "samples.csv", gamma=7.5, operator="Meyer")
    report = cores.ingest(store, tmp_path / "samples.csv")
    assert (report.added, report.updated) == (0, PICTURES - BARE)
    after = vectors_of(store)
    assert {path: vector.tobytes() for path, vector in after.items()} == {
        path: vector.tobytes() for path, vector in before.items()
    }
    for batch in store.scan(vectors=False):
        for one in batch:
            facts = cores.facts(one.payload.path)
            changed = {"gamma": 7.5, "operator": "Meyer"} if facts else {}
            assert dict(one.payload.facts) == facts | changed
