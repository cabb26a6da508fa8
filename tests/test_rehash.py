"""Which picture files the commands open: none that is unchanged, all with ``--rehash``."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from geosim.trainer.data import hashes
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.hashes import HashCache
from geosim.trainer.working import Working

Run = Callable[..., tuple[int, Result]]

opened: list[str] = []  # by Python, in this process


@pytest.fixture(scope="module", autouse=True)
def _record_opened_files() -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".jpg"):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)  # stays until the process ends


@pytest.fixture
def run(
    rocks: Path,
    working: Working,
    geosim: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run a command on `rocks`; return how many of its pictures were opened, and the result."""
    monkeypatch.setattr(hashes, "SETTLED_NS", 0)  # the files were just written

    def call(*arguments: object) -> tuple[int, Result]:
        opened.clear()
        name, *options = arguments
        result = geosim(name, rocks, "--working", working.root, *options)
        assert result.exit_code == 0, result.output
        return len({path for path in opened if path.startswith(str(rocks))}), result

    return call


def test_what_one_command_has_read_no_other_reads(run: Run, rocks: Path) -> None:
    train = ("train", "--backbone", "colour-grid", "--epochs", 1)
    assert run(*train)[0] == 96
    assert run(*train)[0] == 0
    assert run("ingest")[0] == 0
    path = rocks / "marble" / "marble-0003.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    count, result = run("ingest")
    assert count == 1
    assert "changed 1" in result.output


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--backbone", "colour-grid", "--epochs", 1),
        ("ingest",),
        ("run", "--backbone", "colour-grid", "--epochs", 1),
        ("evaluate", "--backbone", "colour-grid", "--epochs", 1, "--split", "random"),
    ],
    ids=lambda command: str(command[0]),
)
def test_rehash_reads_all_files_and_mends_a_wrong_hash(
    run: Run, command: tuple[object, ...], rocks: Path, working: Working
) -> None:
    run("ingest")
    dataset = open_dataset(rocks)
    shutil.rmtree(working.hashes)
    with HashCache(working.hashes, dataset.location) as cache:  # as a change that no time shows
        wrong = ["0" * 64] * len(dataset.records)
        cache.hashes(dataset.source, dataset.records, lambda _: wrong, lambda _: None)
    assert run(*command, "--rehash")[0] == 96
    count, result = run("ingest", "--recreate")
    assert count == 0
    assert "added 96, changed 0, deleted 0, unchanged 0, rejected 0" in result.output


def test_a_wrong_hash_is_told_with_the_remedy(run: Run, rocks: Path, working: Working) -> None:
    run("ingest")
    path = rocks / "marble" / "marble-0003.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    dataset = open_dataset(rocks)
    with HashCache(working.hashes, dataset.location) as cache:
        cache.hashes(dataset.source, dataset.records, lambda _: ["0" * 64], lambda _: None)
    for _ in range(2):
        _, result = run("ingest")
        assert "marble-0003.jpg: changed while it was read; run again, with --rehash" in (
            result.output
        )
    _, result = run("ingest", "--rehash")
    assert "changed 1" in result.output
