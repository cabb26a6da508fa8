"""Commands at the same time, and commands on a read-only working folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image, ImageOps

from geosim.search import open_index
from geosim.trainer.working import Working

Run = Callable[..., Result]
STORED = "rocks/marble/marble-0002.jpg"


def start(*arguments: object) -> subprocess.Popen[str]:
    code = "from geosim.search.cli.main import geosim; geosim()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_six_searches_and_an_ingest_at_once_all_succeed(indexed: Working, sample: Path) -> None:
    common = ("--working", indexed.root, "--wait", 120)
    commands = [start("search", STORED, "-k", 3, "--format", "jsonl", *common) for _ in range(6)]
    commands.append(start("ingest", sample, *common))
    outputs = []
    for command in commands:
        stdout, stderr = command.communicate(timeout=200)
        assert command.returncode == 0, stderr
        outputs.append(stdout)
    assert len(set(outputs[:6])) == 1
    assert "unchanged 96" in outputs[6]


@pytest.mark.parametrize("command", ["search", "ingest"])
def test_a_refused_command_names_the_holder_in_one_line(
    command: str, indexed: Working, sample: Path, geosim: Run
) -> None:
    with open_index(indexed.root):
        argument = STORED if command == "search" else sample
        done = geosim(command, argument, "--working", indexed.root, "--wait", 1.2)
    assert done.exit_code == 1
    waiting, refused = done.stderr.splitlines()
    assert re.fullmatch(r"waiting for this process \(\d+\) to close collection .* \.\.\.", waiting)
    assert re.match(r"Error: collection 'geosim' in .* is open in this process \(\d+\)", refused)
    assert "--wait SECONDS" in refused


def test_the_wait_is_taken_from_the_environment(
    indexed: Working, geosim: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSIM_WAIT", "0")
    with open_index(indexed.root):
        done = geosim("status", "--working", indexed.root)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    for wrong in ("-1", "nan", "soon"):
        assert geosim("status", "--wait", wrong, "--working", indexed.root).exit_code == 2


def test_a_read_only_working_folder_is_searched_and_exported(
    indexed: Working,
    sample: Path,
    tmp_path: Path,
    geosim: Run,
    make_read_only: Callable[[Path], None],
) -> None:
    new = tmp_path / "new.png"
    with Image.open(sample / "marble" / "marble-0001.jpg") as image:
        ImageOps.mirror(image).save(new)
    asked = ("--format", "json", "--working", indexed.root)
    expected = json.loads(geosim("search", STORED, *asked).stdout)
    files = sorted(indexed.root.rglob("*"))
    make_read_only(indexed.root)

    line = f"{indexed.qdrant} is read-only: reading a temporary copy of it"
    for query in (STORED, new):
        done = geosim("search", query, "--sheet", tmp_path / "sheet.png", *asked)
        assert done.exit_code == 0, done.stderr
        assert done.stderr.splitlines() == [line, f"wrote {tmp_path / 'sheet.png'}"]
        if query == STORED:
            assert json.loads(done.stdout) == expected
    assert geosim("status", *asked).exit_code == 0

    done = geosim("export", "--output", tmp_path / "graph.json", "--working", indexed.root)
    assert done.exit_code == 0, done.stderr
    assert "no embeddings, the working folder is read-only" in done.stderr
    assert len(json.loads((tmp_path / "graph.json").read_bytes())) == 96
    done = geosim("export", "--working", indexed.root)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 2)
    assert "name a file elsewhere with --output" in done.stderr
    with open_index(indexed.root) as index:
        assert len(index) == 96
        assert len(list(index.neighbours(2))) == 96
    assert sorted(indexed.root.rglob("*")) == files


def test_a_read_only_working_folder_is_not_written(
    indexed: Working, rocks: Path, geosim: Run, make_read_only: Callable[[Path], None]
) -> None:
    shutil.copy(rocks / "marble" / "marble-0002.jpg", rocks / "marble" / "new.jpg")
    make_read_only(indexed.root)
    for command in (("train", rocks), ("ingest", rocks), ("ingest", rocks, "--recreate")):
        done = geosim(*command, "--working", indexed.root)
        assert done.exit_code == 1
        assert isinstance(done.exception, SystemExit)
        (error,) = (one for one in done.stderr.splitlines() if one.startswith("Error:"))
        assert str(indexed.root) in error
        if command[0] == "train":
            assert "name a writable folder with --working" in error
    with open_index(indexed.root) as index:
        assert len(index) == 96
