"""A table beside the pictures, and the rule for classes, through the commands and both engines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from geosim.ingest.conditions import Range
from geosim.ingest.remove import remove
from geosim.ingest.schema import Filter
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import SyncReport, sync
from geosim.trainer.data.layout import decide_anew
from geosim.trainer.errors import StoreError
from geosim.trainer.facts.collect import FactOptions, open_described
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

Run = Callable[..., Result]
COUNT = 96


@pytest.fixture
def flat(sample: Path, tmp_path: Path) -> Path:
    """A folder of 96 pictures and nothing else."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted(sample.glob("*/*.jpg")):
        shutil.copy(path, folder)
    return folder


def write_table(path: Path, pictures: Path, **changes: str) -> Path:
    """Write a table of the pictures of a folder, a row each; ``changes`` are depths by stem."""
    rows = ["file,depth,rock,sampled,oriented,lat,lon"]
    for number, one in enumerate(sorted(pictures.rglob("*.jpg"))):
        rock = one.stem.rpartition("-")[0]
        depth = changes.get(one.stem.replace("-", "_"), str(2900 + number / 2))
        rows.append(f"{one.name},{depth},{rock},2024-05-{number % 28 + 1:02},yes,51.{number},-0.1")
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def ingest(
    data: Path, working: Working, store: VectorStore, table: Path | None = None, **options: Any
) -> SyncReport:
    described = FactOptions(table=table, **options)
    dataset = open_described(data, (), decide_anew, described)
    return sync(dataset, load_model(working.model), store, working)


def facts(store: VectorStore) -> dict[str, dict[str, Any]]:
    points = (one.payload for batch in store.scan(vectors=False) for one in batch)
    return {one.path.rpartition("/")[2]: dict(one.facts) for one in points}


def vectors(store: VectorStore) -> dict[str, bytes]:
    points = (one for batch in store.scan(vectors=True) for one in batch)
    return {one.payload.path: np.asarray(one.vector).tobytes() for one in points}


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def test_a_table_gives_pictures_their_facts(
    rocks: Path, working: Working, store: VectorStore, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "samples.csv", rocks)
    report = ingest(rocks, working, store, table)
    assert (report.added, report.updated, report.points) == (COUNT, 0, COUNT)
    assert facts(store)["basalt-0000.jpg"] == {
        "depth": 2900.0,
        "rock": "basalt",
        "sampled": "2024-05-01",
        "oriented": "yes",
        "location": {"lat": 51.0, "lon": -0.1},
    }
    if isinstance(store, EdgeStore):
        assert store.fact_indexes() == {
            "depth": "float",
            "rock": "keyword",
            "sampled": "datetime",
            "oriented": "keyword",
            "location": "geo",
        }
    again = ingest(rocks, working, store, table)
    assert (again.added, again.changed, again.updated, again.unchanged) == (0, 0, 0, COUNT)


def test_a_changed_table_updates_payloads_alone(
    rocks: Path, working: Working, store: VectorStore, tmp_path: Path
) -> None:
    ingest(rocks, working, store)
    before = vectors(store)
    table = write_table(tmp_path / "samples.csv", rocks)
    first = ingest(rocks, working, store, table)
    assert (first.changed, first.updated, first.relabelled, first.computed) == (0, COUNT, 0, 0)
    write_table(table, rocks, basalt_0001="12", marble_0003="")
    lines = [one for one in table.read_text().splitlines() if "schist-0000" not in one]
    table.write_text("\n".join(lines))
    report = ingest(rocks, working, store, table)
    assert (report.changed, report.updated, report.unchanged) == (0, 3, COUNT - 3)
    found = facts(store)
    assert found["basalt-0001.jpg"]["depth"] == 12
    assert "depth" not in found["marble-0003.jpg"]
    assert found["schist-0000.jpg"] == {}, "its row is gone"
    assert ingest(rocks, working, store).updated == 0, "without a table, facts stay"
    assert facts(store) == found
    assert vectors(store) == before


def test_facts_stay_with_their_pictures(
    rocks: Path, working: Working, store: VectorStore, tmp_path: Path
) -> None:
    shutil.copy(rocks / "marble" / "marble-0001.jpg", rocks / "basalt" / "twin.jpg")
    ingest(rocks, working, store, write_table(tmp_path / "samples.csv", rocks))
    before = facts(store)
    image = rocks / "basalt" / "basalt-0002.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    (rocks / "gneiss" / "gneiss-0003.jpg").rename(rocks / "gneiss" / "moved.jpg")
    report = sync(
        open_described(rocks, (), decide_anew, FactOptions()),
        load_model(working.model),
        store,
        working,
        image_url="http://localhost:8000",
    )
    assert (report.added, report.deleted, report.changed) == (1, 1, COUNT)
    before["moved.jpg"] = before.pop("gneiss-0003.jpg")
    assert facts(store) == before


def test_an_update_that_was_cut_is_completed(rocks: Path, working: Working, tmp_path: Path) -> None:
    class Cut(EdgeStore):
        """Ends in the middle of an update."""

        def update(self, changes: Any) -> None:
            super().update(changes[: len(changes) // 2])
            raise StoreError("killed")

    ingest(rocks, working, cut := Cut(working.qdrant, "geosim"))
    table = write_table(tmp_path / "samples.csv", rocks)
    with pytest.raises(StoreError, match="killed"):
        ingest(rocks, working, cut, table)
    cut.close()
    with EdgeStore(working.qdrant, "geosim") as store:
        assert 0 < sum(map(bool, facts(store).values())) < COUNT
        assert ingest(rocks, working, store, table).updated == COUNT // 2
        assert all(facts(store).values())


def test_a_fact_of_another_type_in_another_data_set_is_refused(
    rocks: Path, working: Working, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(rocks, tmp_path / "other"))
    table = tmp_path / "samples.csv"
    with EdgeStore(working.qdrant, "geosim") as store:
        table.write_text("file,depth\n*,12\n")
        ingest(rocks, working, store, table)
        table.write_text("file,depth\n*,deep\n")
        with pytest.raises(StoreError, match=r"fact depth is text here, and of another .* rocks"):
            ingest(other, working, store, table)
        assert store.values("dataset") == {"rocks": COUNT}
        assert ingest(rocks, working, store, table).updated == COUNT
        assert store.fact_indexes() == {"depth": "keyword"}


def test_hits_carry_their_facts(geosim: Run, rocks: Path, working: Working, tmp_path: Path) -> None:
    table = write_table(tmp_path / "samples.csv", rocks)
    options = ("--working", working.root)
    told = done(geosim("ingest", rocks, "--table", table, *options))
    first, second = told.stderr.splitlines()[:2]
    assert first.startswith("data set rocks: 96 pictures, classes by folder: ")
    assert second == (
        f"table {table}: column file names 96 of 96 pictures; facts: depth number, rock text, "
        "sampled date, oriented yes/no, location geo"
    )
    query = rocks / "marble" / "marble-0001.jpg"
    (answer,) = json.loads(geosim("search", query, "--format", "json", *options).stdout)
    for hit in answer["hits"]:
        assert hit["facts"]["rock"] == Path(hit["path"]).stem.rpartition("-")[0]
    write_table(table, rocks, basalt_0000="1")
    again = done(geosim("ingest", rocks, "--table", table, *options))
    updated = "updated 1 without embedding: 0 with another class, the others with other facts"
    assert updated in again.stdout.splitlines()
    assert "0 embedded by the backbone" in again.stdout
    for command in ("train", "evaluate", "run", "ingest"):
        result = geosim(command, rocks, "--table", tmp_path / "none.csv", *options)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: cannot read table ")
        wrong = geosim(command, rocks, "--table", table, "--fact-type", "hole=text", *options)
        assert wrong.stderr.splitlines()[-1].startswith("Error: --fact-type names 'hole', which is")
    assert geosim("ingest", rocks, "--fact-type", "depth=metres", *options).exit_code == 2
    for option in ("--table-key", "--table-encoding"):
        alone = geosim("ingest", rocks, option, "utf-8", *options)
        assert f"{option} is about a table; give the table with --table" in alone.stderr
    for name in ("klingon", "hex", "undefined"):
        unknown = geosim("ingest", rocks, "--table", table, "--table-encoding", name, *options)
        assert unknown.exit_code == 2
        assert f"{name!r} is no encoding of text" in unknown.stderr


def test_classes_come_from_a_column(
    geosim: Run, flat: Path, working: Working, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "samples.csv", flat)
    options = ("--working", working.root)
    told = done(geosim("ingest", flat, *options)).stderr.splitlines()[0]
    assert told == "data set photos: 96 pictures, no classes (there are no class folders)"
    by_column = ("--table", table, "--class-from", "rock")
    result = done(geosim("ingest", flat, *by_column, *options))
    assert result.stderr.startswith("data set photos: 96 pictures, classes by fact rock: basalt 12")
    assert "updated 96 without embedding: 96 with another class" in result.stdout
    with EdgeStore(working.qdrant, "geosim") as store:
        assert store.values("class")["marble"] == 12
        assert store.origins()["photos"].place.class_from == "rock"
    refused = geosim("ingest", flat, *options)
    assert refused.exit_code == 1
    assert (
        "the classes of photos come from 'rock', which is no fact here; give the facts, as with "
        "--table, or take --class-from folder or none"
    ) in refused.stderr
    kept = done(geosim("ingest", flat, "--table", table, *options))
    assert "updated" not in kept.stdout
    back = done(geosim("ingest", flat, "--class-from", "folder", *options))
    assert "updated 96 without embedding: 96 with another class" in back.stdout
    with EdgeStore(working.qdrant, "geosim") as store:
        assert (store.values("class"), store.unlabelled()) == ({}, 96)
    unknown = geosim("ingest", flat, "--table", table, "--class-from", "colour", *options)
    assert "its facts: depth, rock, sampled, oriented" in unknown.stderr


def test_training_and_ingest_share_the_rule_for_classes(
    geosim: Run, rocks: Path, tmp_path: Path
) -> None:
    options = ("--working", tmp_path / "working")
    quick = ("--backbone", "colour-grid", "--epochs", 1)
    done(geosim("train", rocks, *quick, *options))
    card = tmp_path / "working" / "model" / "model.json"
    first = json.loads(card.read_bytes())
    table = tmp_path / "samples.csv"
    table.write_text("name,kind\nbasalt-*,dark\ngabbro-*,dark\nmarble-*,light\ngranite-*,light\n")
    by_column = ("--table", table, "--class-from", "kind")
    told = done(geosim("train", rocks, *by_column, *quick, *options)).stderr
    assert "classes by fact kind: dark " in told.splitlines()[0]
    second = json.loads(card.read_bytes())
    assert second["classes"] == ["dark", "light"]
    assert second["fingerprint"] != first["fingerprint"]
    assert "kept, it is up to date" in geosim("train", rocks, *by_column, *quick, *options).stderr
    told = done(geosim("ingest", rocks, "--table", table, *options)).stderr
    assert "classes by fact kind: dark " in told.splitlines()[0]
    with EdgeStore(tmp_path / "working" / "qdrant", "geosim") as store:
        assert set(store.values("class")) == {"dark", "light"}
        assert store.count(Filter(label="light")) == 24
    for command in ("evaluate", "run", "train", "ingest"):
        refused = geosim(command, rocks, *options)
        assert refused.exit_code == 1
        assert "the classes of rocks come from 'kind', which is no fact here" in refused.stderr


@pytest.mark.parametrize("packed", [False, True])
def test_nested_folders_without_classes(
    geosim: Run, rocks: Path, working: Working, tmp_path: Path, packed: bool
) -> None:
    data = Path(shutil.make_archive(str(tmp_path / "rocks"), "zip", rocks)) if packed else rocks
    options = ("--working", working.root)
    result = done(geosim("ingest", data, "--class-from", "none", *options))
    first = "data set rocks: 96 pictures, no classes (--class-from none)"
    assert result.stderr.splitlines()[0] == first
    again = done(geosim("ingest", data, *options))
    assert again.stderr.splitlines()[0] == first, "the rule is kept"
    assert "unchanged 96" in again.stdout
    back = done(geosim("ingest", data, "--class-from", "folder", *options))
    assert "updated 96 without embedding: 96 with another class" in back.stdout


def test_a_killed_update_is_completed_by_the_next(
    geosim: Run, rocks: Path, working: Working, tmp_path: Path
) -> None:
    options = ("--working", working.root)
    done(geosim("ingest", rocks, *options))
    table = write_table(tmp_path / "samples.csv", rocks)
    code = (
        "import os, sys; from geosim.ingest.store.edge import EdgeStore; run = EdgeStore._update\n"
        "def cut(self, changes):\n    run(self, changes[:40]); os.kill(os.getpid(), 9)\n"
        "EdgeStore._update = cut; from geosim.search.cli.main import geosim; geosim(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "ingest", rocks, "--table", table, *options]
    killed = subprocess.run([*map(str, command)], check=False, capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    told = done(geosim("ingest", rocks, "--table", table, *options)).stdout
    assert "updated 56 without embedding" in told
    with EdgeStore(working.qdrant, "geosim") as store:
        assert all(facts(store).values())


def test_indexes_of_facts_that_no_picture_has_are_dropped(
    rocks: Path, flat: Path, working: Working, tmp_path: Path
) -> None:
    with EdgeStore(working.qdrant, "geosim") as store:
        table = write_table(tmp_path / "samples.csv", rocks)
        ingest(rocks, working, store, table)
        other = tmp_path / "other.csv"
        other.write_text("file,rock,hole\nbasalt-0001.jpg,basalt,A-7\n")
        ingest(flat, working, store, other)
        assert set(store.fact_indexes()) == {
            *("depth", "rock", "sampled", "oriented", "location", "hole")
        }
        lines = [line.split(",")[:2] for line in table.read_text().splitlines()]
        table.write_text("\n".join(map(",".join, lines)))
        ingest(rocks, working, store, table)
        assert set(store.fact_indexes()) == {"depth", "rock", "hole"}
        ingest(rocks, working, store)
        assert set(store.fact_indexes()) == {"depth", "rock", "hole"}
        remove(store, flat.name, working.datasets)
        assert set(store.fact_indexes()) == {"depth"}
        assert store.count(Filter(where=Range("facts.depth", gte=0))) == COUNT
