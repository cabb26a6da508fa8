"""Damaged pictures of every format through ingest, the Python API and the page.

None of them ends a process, prints a traceback or takes long, and memory stays bounded.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from geosim.trainer.working import Working
from tests.mutants.bombs import bombs
from tests.mutants.mutations import write_mutants
from tests.processes import MEASURED, peak_mib, run, serving

FEW, MANY = 325, 10_000

FILE_SECONDS = 30.0
"""Time for one file; a 169-megapixel picture takes seconds."""

PEAK_MIB = 4096
"""Memory of a process that decodes two pictures of the largest size at a time."""

TOLD = re.compile(
    r"rejected \S+: (the file is empty|[^;]+; [^;]+)|data set .*|.* passed over: .*"
    r"|.* scaled to 8 bits"
)
"""What an ingest may tell of them: a reason with a remedy, and counts."""

ASKED = {"timeout": 4 * FILE_SECONDS}  # four are sent at once
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def mutants(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("mutants") / "mutants"
    if request.param:
        return write_mutants(folder, request.param)
    for name, data in bombs().items():
        path = folder / name.rpartition(".")[2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


files = pytest.mark.parametrize(
    "mutants",
    [
        pytest.param(FEW, id="few"),
        pytest.param(MANY, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
        pytest.param(0, id="bombs", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
    indirect=True,
)


def names(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.*"))


@files
def test_the_python_api_answers_or_refuses(ingested: Working, mutants: Path) -> None:
    module = ("-m", "tests.mutants.through_api", ingested.root, mutants, FILE_SECONDS)
    done = run(*module, seconds=800)
    *_, last = done.stdout.splitlines()
    assert done.returncode == 0, f"at {last}:\n{done.stderr}"
    counts = json.loads(last)
    assert counts["answered"] + counts["refused"] == len(names(mutants))
    assert counts["answered"] > len(names(mutants)) / 10
    assert counts["peak"] < PEAK_MIB


@files
def test_an_ingest_takes_them_or_says_why_not(working: Working, mutants: Path) -> None:
    command = ("-c", MEASURED, "ingest", mutants, "--working", working.root)
    done = run(*command, seconds=800)
    assert done.returncode == 0, done.stderr[-3000:]
    *told, peak = done.stderr.splitlines()
    assert [line for line in told if not TOLD.fullmatch(line)] == []
    added, rejected = re.findall(r"(?:added|rejected) ([\d,]+)", done.stdout)
    images = [path for path in names(mutants) if path.suffix != ".ppm"]
    assert len(images) == sum(int(count.replace(",", "")) for count in (added, rejected))
    assert int(peak.removeprefix("peak ")) < PEAK_MIB


@files
def test_the_page_answers_or_refuses(ingested: Working, mutants: Path) -> None:
    with serving(ingested.root) as (url, process):

        def upload(path: Path) -> int:
            with path.open("rb") as file:
                answer = client.post("/api/search", content=file.read(), headers=JPEG)
            assert answer.status_code in (200, 413, 422), (path.name, answer.text)
            assert ("hits" if answer.status_code == 200 else "error") in answer.json(), path.name
            return answer.status_code

        with httpx.Client(base_url=url, **ASKED) as client, ThreadPoolExecutor(4) as pool:
            statuses = Counter(pool.map(upload, names(mutants)))
            assert client.get("/api/collection").status_code == 200
        assert peak_mib(process.pid) < PEAK_MIB
        assert statuses[200] > len(names(mutants)) / 10
