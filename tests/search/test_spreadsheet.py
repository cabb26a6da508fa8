"""Tables for spreadsheets: nothing runs as a formula, and every reader of CSV reads them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from geosim.ingest.store.base import VectorStore
from geosim.search.graph.export import export, export_table
from geosim.search.spreadsheet import BOM, csv_lines, safe_text
from geosim.trainer.working import Working
from tests.processes import COMMAND

Run = Callable[..., Result]
STORED = "rocks/marble/marble-0002.jpg"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def read(content: bytes) -> list[dict[str, str]]:
    assert content.startswith(BOM.encode())
    assert content.count(b"\n") == content.count(b"\r\n")
    text = content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("＝1", "'＝1"),
        ("a;=1+1", "a;'=1+1"),
        ("\t=1", "\\t=1"),
        ("\r=1", "\\r=1"),
        ("\u200b=1", "\\u200b=1"),
        ("-5", "-5"),
        ("+0.25", "+0.25"),
        ("-5+1", "'-5+1"),
        ("granite, grey", "granite, grey"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_text_that_would_be_a_formula_is_defused(text: str, cell: str) -> None:
    assert safe_text(text) == cell


@settings(
    derandomize=True,
    deadline=None,
    max_examples=300,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@example(["-1", ""])
@given(st.lists(st.text(st.sampled_from("=+-@＝\t\r\n \";,'a1|\0\u202e"), max_size=6), min_size=1))
def test_no_reader_sees_a_formula(texts: list[str]) -> None:
    (line,) = csv_lines(texts, [])
    line = line.removeprefix(BOM)
    (row,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    assert row == [safe_text(one) for one in texts]
    for delimiter in ",;\t":
        for cells in csv.reader(io.StringIO(line, newline=""), delimiter=delimiter):
            for cell in cells:
                bare = cell.strip(" \r\n")  # a quote in a text may take in the end of the line
                number = (
                    bare.split(",")[0].lstrip("+-").isdigit()
                )  # read as one with the next cells
                assert not bare.startswith(FORMULA) or number, line


def test_numbers_stay_numbers() -> None:
    _, line = csv_lines("abcde", [[-0.25, 3, True, None, float("nan")]])
    assert line == "-0.25,3,yes,,\r\n"


def test_a_search_prints_a_row_per_hit(
    geosim: Run, indexed: Working, sample: Path, tmp_path: Path
) -> None:
    new, broken = tmp_path / "=new.jpg", tmp_path / "broken.jpg"
    shutil.copy(sample / "marble" / "marble-0001.jpg", new)
    broken.write_bytes(b"no picture")
    options = ("-k", 4, "--working", indexed.root)
    done = geosim("search", STORED, new, broken, "--format", "csv", *options)
    assert done.exit_code == 1
    assert done.stderr.count("Error: ") == 1
    rows = read(done.stdout_bytes)
    assert [row["rank"] for row in rows] == [*"1234", *"1234", ""]
    assert {row["query"] for row in rows[:4]} == {STORED}
    assert {(row["query_class"], row["predicted"]) for row in rows[:4]} == {("marble", "")}
    answers = json.loads(geosim("search", STORED, new, "--format", "json", *options).stdout)
    assert [float(row["score"]) for row in rows[:8]] == [
        hit["score"] for answer in answers for hit in answer["hits"]
    ]
    assert [row["path"] for row in rows[:8]] == [h["path"] for a in answers for h in a["hits"]]
    assert [row["identical"] for row in rows[4:6]] == ["yes", "no"]
    assert (rows[4]["predicted"], rows[4]["unlike"]) == ("marble", "no")
    assert answers[1]["explanation"]["confidence"] is None, "the model has seen too few images"
    assert rows[4]["certainty"] == ""
    assert (rows[-1]["query"], rows[-1]["path"]) == (str(broken), "")
    assert "replace or remove it" in rows[-1]["error"]


def test_it_is_utf_8_whatever_the_output_s_encoding_is(indexed: Working) -> None:
    options = ("--format", "csv", "--working", str(indexed.root))
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "search", STORED, *options],
        env={"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert len(read(done.stdout)) == 10


def test_the_table_has_the_graph_the_class_and_the_vote(
    any_store: VectorStore, tmp_path: Path
) -> None:
    export(any_store, tmp_path / "graph.json", tmp_path / "embeddings.json", 3)
    report = export_table(any_store, tmp_path / "graph.csv", 3)
    assert (report.images, report.k, report.embeddings) == (96, 3, None)
    graph = json.loads((tmp_path / "graph.json").read_bytes())
    rows = read((tmp_path / "graph.csv").read_bytes())
    assert [row["path"] for row in rows] == list(graph)
    for row in rows:
        near = [[row[f"neighbour_{n}"], float(row[f"score_{n}"])] for n in (1, 2, 3)]
        assert near == graph[row["path"]]
        assert row["class"] == row["path"].split("/")[1]
        assert 0 < float(row["vote_share"]) <= 1
    assert sum(row["vote"] == row["class"] for row in rows) > 24, (
        "colours alone tell more than chance"
    )
    assert len(list(tmp_path.glob("[!i]*"))) == 3, "nothing is left beside them"


def test_the_table_s_vote_is_that_of_a_search(geosim: Run, indexed: Working) -> None:
    done = geosim("export", "--format", "csv", "-k", 2, "--working", indexed.root)
    assert done.exit_code == 0, done.output
    table = indexed.root / "inverted-index.csv"
    assert f"wrote {table}: 96 images, 2 neighbours each, " in done.stderr
    assert not indexed.index.exists()
    assert not indexed.embeddings.exists()
    (row,) = (one for one in read(table.read_bytes()) if one["path"] == STORED)
    found = geosim("search", STORED, "--format", "json", "--working", indexed.root).stdout
    first = json.loads(found)[0]["explanation"]["votes"][0]
    assert (row["vote"], float(row["vote_share"])) == (first["class"], first["share"])


def test_pictures_without_a_class_have_none_in_the_table(
    geosim: Run, sample: Path, working: Working, tmp_path: Path
) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    for path in sorted(sample.rglob("*.jpg"))[::24]:
        shutil.copy(path, data / f"={path.name}")
    options = ("--working", working.root)
    assert geosim("ingest", data, *options).exit_code == 0
    done = geosim("export", "--format", "csv", "--output", tmp_path / "all.csv", *options)
    assert done.exit_code == 0, done.output
    rows = read((tmp_path / "all.csv").read_bytes())
    assert len(rows) == 4
    assert {(row["class"], row["vote"], row["vote_share"]) for row in rows} == {("", "", "")}
    assert rows[0]["path"].startswith("photos/="), "it does not begin with the sign"
    assert "neighbour_4" not in rows[0]
    lost = geosim("export", "--format", "csv", "--output", tmp_path, *options)
    assert lost.exit_code == 2
