"""The benchmark's mechanics, at tiny sizes; never its timings."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("graph", "store", "growth")
LARGEST = 60


def benches(output: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tests.benches", *arguments, "--output", output]
    return subprocess.run(
        [str(one) for one in line],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that three parts were measured into, by two commands."""
    folder = tmp_path_factory.mktemp("benches")
    sizes = ("--runs", 2, "--images", 40, "--largest", LARGEST)
    for parts in (PARTS[:1], PARTS[1:]):
        done = benches(folder, *parts, *sizes)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{folder / 'bench.md'}\n"
    return folder


@pytest.fixture(scope="module")
def parts(output: Path) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((output / "bench.json").read_text())["parts"]
    return stored


def test_parts_measured_one_by_one_are_in_one_table(output: Path, parts: dict[str, Any]) -> None:
    assert tuple(parts) == PARTS
    table = (output / "bench.md").read_text()
    assert [line for line in table.splitlines() if line.startswith("## ")] == [
        f"## {name}" for name in PARTS
    ]
    for row in (row for part in parts.values() for row in part["rows"]):
        assert row["name"] in table


def test_every_run_is_kept_with_its_median_and_unit(parts: dict[str, Any]) -> None:
    for row in (row for part in parts.values() for row in part["rows"]):
        if row["note"].startswith("skipped"):
            continue
        assert row["unit"] in ("s", "queries/s")
        assert len(row["values"]) == 2
        assert 0 < row["min"] <= row["median"] <= row["max"]
        assert row["median"] == pytest.approx(sum(row["values"]) / 2)


def test_costs_are_ratios_to_this_project_round_by_round(parts: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in parts["graph"]["rows"]}
    ours, faiss = rows["geosim"], rows["faiss IndexFlatIP, search alone"]
    assert ours["cost"] == 1
    rounds = [one / own for one, own in zip(faiss["values"], ours["values"], strict=True)]
    assert faiss["cost"] == pytest.approx(sum(rounds) / 2)


def test_a_rate_costs_more_where_it_is_lower(parts: dict[str, Any]) -> None:
    rows = [row for row in parts["store"]["rows"] if row["unit"] == "queries/s"]
    assert len(rows) == 4
    for ours, peer in zip(rows[::2], rows[1::2], strict=True):
        rounds = [own / one for one, own in zip(peer["values"], ours["values"], strict=True)]
        assert peer["cost"] == pytest.approx(sum(rounds) / 2)


def test_a_peer_that_is_not_installed_is_named_as_skipped(parts: dict[str, Any]) -> None:
    rows = [row for row in parts["graph"]["rows"] if "scikit-learn" in row["name"]]
    assert len(rows) == 2
    for row in rows:
        assert ("skipped" in row["note"]) == (find_spec("sklearn") is None)
        assert bool(row["values"]) != ("skipped" in row["note"])


def test_what_was_not_run_in_full_is_said(parts: dict[str, Any]) -> None:
    loop = parts["graph"]["rows"][-1]
    assert "extrapolated from 40 images" in loop["note"] or "skipped" in loop["note"]
    assert all(row["target"] is None for part in parts.values() for row in part["rows"])


def test_growth_has_every_cost_at_every_size(output: Path, parts: dict[str, Any]) -> None:
    rows = parts["growth"]["rows"]
    assert {row["size"] for row in rows} == {LARGEST}
    assert len(rows) == 4
    assert rows[-1]["note"] == "recall 1.0000"
    assert (output / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert "](growth.png)" in (output / "bench.md").read_text()


def test_the_machine_is_described_and_nobody_is_named(output: Path, parts: dict[str, Any]) -> None:
    for part in parts.values():
        machine = part["machine"]
        assert part["busy"] is None or 0 <= part["busy"] <= 1
        assert machine["cores"] >= 1
        assert machine["memory_gb"] > 0
        assert {"geosim", "numpy", "faiss-cpu"} <= set(machine["versions"])
        assert platform.node() not in machine.values()
    for name in ("bench.md", "bench.json"):
        text = (output / name).read_text()
        assert str(output) not in text
        assert str(ROOT) not in text
        assert machine["cpu"] in text


def test_nothing_but_results_is_left(output: Path) -> None:
    assert {path.name for path in output.iterdir()} == {"bench.md", "bench.json", "growth.png"}


def test_a_part_that_cannot_be_measured_is_named(tmp_path: Path) -> None:
    (tmp_path / "working").mkdir()
    done = benches(tmp_path, "search", "--working", tmp_path / "working")
    assert done.returncode == 1
    assert "there is no model" in done.stderr
    assert "Error: not measured: search" in done.stderr
    assert "Traceback" not in done.stderr


def test_targets_are_shown_as_met_or_missed(output: Path, tmp_path: Path) -> None:
    stored = json.loads((output / "bench.json").read_text())
    rows = stored["parts"]["graph"]["rows"]
    rows[0]["target"] = {"value": 1.234, "bound": 1.3, "unit": "x", "at_least": False}
    rows[1]["target"] = {"value": 2.5, "bound": 2.8, "unit": "s", "at_least": True}
    (tmp_path / "bench.json").write_text(json.dumps(stored))
    done = benches(tmp_path, "store", "--runs", 1, "--images", 24)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "bench.md").read_text()
    assert "| met: 1.23x, at most 1.3x |" in table
    assert "| **missed**: 2.50 s, at least 2.8 s |" in table
