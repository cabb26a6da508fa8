"""Facts as columns of each CSV, as properties of GeoJSON, and in the JSON of the commands."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from pyarrow import parquet

from geosim.ingest.schema import Change, point_id
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search.fact_columns import FactColumns
from geosim.search.graph.export import export_table
from geosim.trainer.data.layout import decide_anew
from geosim.trainer.errors import QueryError
from geosim.trainer.facts.collect import FactOptions, open_described
from geosim.trainer.files import copy_sparse
from geosim.trainer.model import load_model
from geosim.trainer.sample.generate import write_sample
from geosim.trainer.working import Working
from tests.search.engines import server_copy

Run = Callable[..., Result]
FIRST = "rocks/basalt/basalt-0000.jpg"
FACTS = ("depth", "note", "facts.vote", "latitude", "longitude")


@pytest.fixture(scope="module")
def described(trained: Working, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A collection of pictures with facts, two of them copies; the working folder is read only."""
    root = tmp_path_factory.mktemp("described")
    rocks = write_sample(root / "rocks", per_class=3, size=32)
    shutil.copy(rocks / "basalt" / "basalt-0000.jpg", rocks / "basalt" / "copy.jpg")
    Image.new("RGB", (32, 32), (255, 0, 255)).save(rocks / "basalt" / "odd.png")
    rows = ["file,depth,note,vote,lat,lon"]
    for number, path in enumerate(sorted([*rocks.rglob("*.jpg"), *rocks.rglob("*.png")])):
        place = f"{50 + number / 8},{-number / 8}" if number != 1 else ","
        rows.append(f"{path.name},{number / 2},=1+{number},v{number},{place}")
    table = root / "samples.csv"
    table.write_text("\n".join(rows[:-1]))  # the last picture has no facts
    working = Working(Path(shutil.copytree(trained.root, root / "working")))
    dataset = open_described(rocks, (), decide_anew, FactOptions(table=table))
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(dataset, load_model(working.model), store, working)
    return working


@pytest.fixture(params=["edge", "server"])
def filled(request: pytest.FixtureRequest, described: Working, tmp_path: Path) -> Any:
    """The collection in the embedded engine, and in the client of a server."""
    copy_sparse(described.qdrant, tmp_path / "qdrant")
    with EdgeStore(tmp_path / "qdrant", "geosim") as store:
        if request.param == "edge":
            yield store
            return
        with server_copy(store) as memory:
            yield memory


def rows_of(content: bytes | str) -> list[dict[str, str]]:
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))


def test_an_export_has_a_column_for_each_fact(filled: VectorStore, tmp_path: Path) -> None:
    export_table(filled, tmp_path / "all.csv", 1)
    rows = rows_of((tmp_path / "all.csv").read_bytes())
    assert set(rows[0]) == {
        *("path", "class", "vote", "vote_share", "neighbour_1", "score_1"),
        *FACTS,
    }
    first = next(row for row in rows if row["path"] == FIRST)
    assert [first[name] for name in FACTS] == ["0.0", "'=1+0", "v0", "50.0", "0.0"]
    assert [rows[-1][name] for name in FACTS] == [""] * len(FACTS)
    assert rows[1]["latitude"] == ""


def test_a_map_has_a_point_for_each_image_with_coordinates(
    filled: VectorStore, tmp_path: Path
) -> None:
    report = export_table(filled, tmp_path / "all.geojson", 2, form="geojson")
    assert (report.images, report.without_place) == (26, 2)
    found = json.loads((tmp_path / "all.geojson").read_bytes())
    assert found["type"] == "FeatureCollection"
    features = {one["id"]: one for one in found["features"]}
    assert len(features) == 24
    first = features[FIRST]
    assert (first["type"], first["geometry"]) == (
        "Feature",
        {"type": "Point", "coordinates": [0.0, 50.0]},
    )
    one = first["properties"]
    assert (one["path"], one["class"], one["depth"], one["note"], one["facts.vote"]) == (
        *(FIRST, "basalt", 0, "=1+0", "v0"),
    )
    assert one["neighbour_1"] == "rocks/basalt/copy.jpg"
    assert one["score_1"] == 1
    assert isinstance(one["vote"], str)
    table = tmp_path / "all.csv"
    export_table(filled, table, 2)
    assert list(one) == list(rows_of(table.read_bytes())[0])


def test_parquet_has_the_columns_with_their_types(filled: VectorStore, tmp_path: Path) -> None:
    filled.index_facts({"taken": "datetime"})
    first, bare = (point_id(path) for path in (FIRST, "rocks/basalt/copy.jpg"))
    filled.update(
        [
            Change((first,), facts={"taken": "2024-05-01T12:30:00+02:00"}),
            Change((bare,), facts={"taken": "2024-05-02"}),
        ]
    )
    export_table(filled, tmp_path / "all.parquet", 2, form="parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    export_table(filled, tmp_path / "all.csv", 2)
    texts = rows_of((tmp_path / "all.csv").read_bytes())
    assert table.column_names == list(texts[0])
    assert (table.num_rows, len(texts)) == (26, 26)
    types = {field.name: str(field.type) for field in table.schema}
    dated = "taken" in filled.fact_indexes()  # the in-memory client has no indexes
    assert types == dict.fromkeys(types, "string") | {
        **dict.fromkeys(("vote_share", "depth", "score_1", "score_2"), "double"),
        **dict.fromkeys(("latitude", "longitude"), "double"),
        "taken": "timestamp[us, tz=UTC]" if dated else "string",
    }
    rows = {row["path"]: row for row in table.to_pylist()}
    one, other = rows[FIRST], rows["rocks/basalt/copy.jpg"]
    assert (one["depth"], one["note"], one["latitude"]) == (0.0, "=1+0", 50.0)
    if dated:
        assert one["taken"] == datetime(2024, 5, 1, 10, 30, tzinfo=timezone.utc)
        assert other["taken"] == datetime(2024, 5, 2, tzinfo=timezone.utc)
    assert [*rows.values()][-1]["taken"] is None
    assert [row["path"] for row in texts] == list(rows)


def test_parquet_without_pyarrow_says_what_to_install(
    filled: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(QueryError, match=r"pip install 'geosim\[parquet\]'"):
        export_table(filled, tmp_path / "all.parquet", form="parquet")
    assert not list(tmp_path.glob("*.parquet*"))


def test_a_collection_without_coordinates_has_no_map(store: EdgeStore, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="no indexed image has coordinates; give them with"):
        export_table(store, tmp_path / "all.geojson", form="geojson")
    assert not list(tmp_path.glob("*.geojson*"))


def test_commands_tell_the_facts(geosim: Run, described: Working, tmp_path: Path) -> None:
    working = Working(tmp_path / "working")
    copy_sparse(described.root, working.root)
    options = ("--working", working.root)
    done = geosim("export", "--format", "geojson", "-k", 1, *options)
    assert done.exit_code == 0, done.output
    assert "inverted-index.geojson: 24 images, 1 neighbours each" in done.stderr
    assert "2 images without coordinates left out" in done.stderr
    done = geosim("export", "--format", "parquet", *options)
    assert done.exit_code == 0, done.output
    assert parquet.read_table(working.index.with_suffix(".parquet")).num_rows == 26
    groups = rows_of(geosim("duplicates", "--format", "csv", *options).stdout_bytes)
    facts = {row["path"]: (row["depth"], row["note"], row["vote"]) for row in groups}
    assert facts[FIRST] == ("0.0", "'=1+0", "v0")
    listed = json.loads(geosim("duplicates", "--format", "json", *options).stdout)
    images = {one["path"]: one for group in listed for one in group["images"]}
    assert images[FIRST]["facts"]["note"] == "=1+0"
    hits = rows_of(geosim("search", FIRST, "-k", 2, "--format", "csv", *options).stdout_bytes)
    assert (hits[0]["path"], hits[0]["depth"]) == ("rocks/basalt/copy.jpg", str(float(3) / 2))
    assert [*hits[0]][-6:] == ["depth", "latitude", "longitude", "note", "vote", "error"]
    shown = geosim("search", FIRST, "--show", "note", "--format", "csv", *options)
    assert [*rows_of(shown.stdout_bytes)[0]][-6:-4] == ["note", "depth"]
    outliers = rows_of(geosim("outliers", "--format", "csv", *options).stdout_bytes)
    objects = json.loads(geosim("outliers", "--format", "json", *options).stdout)
    assert len(outliers) == len(objects) > 0
    for row, one in zip(outliers, objects, strict=True):
        known = one.get("facts", {})
        assert row["depth"] == ("" if "depth" not in known else str(known["depth"]))
        assert row["facts.vote"] == known.get("vote", "")


def test_names_of_columns_are_unique() -> None:
    facts = {
        "path": "a",
        "latitude": 1,
        "location": {"lat": 2.0, "lon": 3.0},
        "site": {"lat": 4.0, "lon": 5.0},
        "facts.path": "b",
    }
    columns = FactColumns.of([{}, facts, {"late": "c"}], ("path",))
    assert columns.header == (
        "facts.facts.path",
        "latitude",
        "location latitude",
        "longitude",
        "site latitude",
        "site longitude",
        "facts.path",
        "late",
    )
    assert columns.cells(facts) == ["a", 1, 2.0, 3.0, 4.0, 5.0, "b", None]
    assert columns.cells({}) == [None] * 8
