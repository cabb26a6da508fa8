"""The benchmark's mechanics, at tiny sizes; never its timings."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from geosim.ingest.store.factory import open_store
from geosim.ingest.sync import sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

from tests.benches.children import BenchError
from tests.benches.frames import chromium
from tests.benches.page import MOVEMENTS, check
from tests.benches.server import serving

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
    assert len(rows) == 3
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


@pytest.fixture(scope="module")
def served(
    lite0_trained: Working, sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> Working:
    """A working folder with the bundled network and a collection of `sample`."""
    root = tmp_path_factory.mktemp("served") / "working"
    working = Working(Path(shutil.copytree(lite0_trained.root, root)))
    with open_store(None, "geosim", working=root) as store:
        sync(open_dataset(sample), load_model(working.model), store, working)
    return working


@pytest.fixture(scope="module")
def page(served: Working, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of the page's part."""
    folder = tmp_path_factory.mktemp("page")
    done = benches(folder, "page", "--working", served.root, "--runs", 1, "--images", 24)
    assert done.returncode == 0, done.stderr
    stored = json.loads((folder / "bench.json").read_text())
    rows: list[dict[str, Any]] = stored["parts"]["page"]["rows"]
    return rows


def test_the_page_is_measured_in_every_way(page: list[dict[str, Any]]) -> None:
    assert [(row["name"], row["unit"], len(row["values"])) for row in page if row["values"]] == [
        ("upload of a new picture", "ms", 1),
        ("indexed picture", "ms", 1),
        ("20 clients at once", "requests/s", 1),
        ("one client", "requests/s", 1),
        *((name, "ms", 1) for name in MOVEMENTS if chromium() and find_spec("playwright")),
        *(
            (name, "MB", 1)
            for name in ("after a warm-up of 24 requests", "240 requests later")
            if Path("/proc").exists()
        ),
    ]
    assert len(page) == 8
    assert all(row["target"] is None for row in page)
    assert all(value > 0 for row in page for value in row["values"])


def test_every_request_to_the_page_counts(page: list[dict[str, Any]]) -> None:
    assert "slowest of 24" in page[0]["note"]
    assert page[2]["note"] == "all 80 answers as alone"  # of a warm-up and a round


def test_a_frame_of_the_page_takes_as_long_as_a_screen_shows_it(page: list[dict[str, Any]]) -> None:
    for row in (row for row in page if row["name"] in MOVEMENTS):
        if row["values"]:
            assert "slowest of 120" in row["note"]
            assert row["min"] > 15  # ms: no frame is without its drawing, none between two
        else:
            assert "not installed" in row["note"]


def answer(*paths: str, identical: bool = False) -> bytes:
    return json.dumps({"hits": [{"path": one, "identical": identical} for one in paths]}).encode()


def test_another_answer_of_the_page_is_an_error() -> None:
    same = [answer("a", "b"), answer("c")]
    check(same, same)
    with pytest.raises(BenchError, match="1 of 2 uploads got another answer"):
        check([same[0], answer("b")], same)
    for useless in (answer(), answer("a", identical=True)):
        with pytest.raises(BenchError, match="nothing to measure"):
            check([useless], [useless])


def test_a_page_is_ended_when_what_measures_it_fails(served: Working) -> None:
    addresses = []

    def fail() -> None:
        with serving(served.root) as server:
            addresses.append(server.url)
            assert httpx.get(f"{server.url}api/collection").json()["points"] == 96
            raise BenchError("failed")

    with pytest.raises(BenchError, match="failed"):
        fail()
    with pytest.raises(httpx.ConnectError):
        httpx.get(addresses[0])


ABANDONED = """
import os, sys
from pathlib import Path
from tests.benches.server import serving
with serving(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    os._exit(1)
"""


def test_a_page_ends_when_what_measures_it_is_killed(served: Working) -> None:
    line = [sys.executable, "-c", ABANDONED, str(served.root)]
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd=ROOT, timeout=120)
    port = int(done.stdout.strip().rstrip("/").rpartition(":")[2])
    for _ in range(300):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    raise AssertionError("the server goes on")


def test_a_page_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"did not start: .*geosim ingest"), serving(tmp_path):
        pass
