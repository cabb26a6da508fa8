"""Disks that are full, read-only or limited: one line, the former files whole, and a way on."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import Result

from geosim.trainer.disk import FAULTS, disk_of, explain, require_room
from geosim.trainer.working import Working

Run = Callable[..., Result]
MIB = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB in a file; skips where it cannot be mounted."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    _mount(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image])
    _mount(["mount", "-o", "loop", image, folder])
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def memory_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 220 MB in memory, where holes take room once they are read."""
    folder = tmp_path / "memory"
    folder.mkdir()
    _mount(["mount", "-t", "tmpfs", "-o", "size=220m", "none", folder])
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def _mount(command: list[Any]) -> None:
    if shutil.which(command[0]) is None or subprocess.run(command, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")


def fill(disk: Path, leave: int) -> Path:
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - leave)
    return ballast


def elsewhere(
    *arguments: object, code: str = "", stdout: IO[bytes] | int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run a command in another process, as a full disk may end it by a signal."""
    code += "\nfrom geosim.search.cli.main import geosim; geosim()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, check=False, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120
    )


def error_of(stderr: str, disk: Path) -> str:
    (line,) = [line for line in stderr.splitlines() if line.startswith("Error:")]
    assert "Traceback" not in stderr
    assert str(disk) in line
    assert "away" not in line, "a full disk damages nothing"
    return line


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_ingest_on_a_full_disk_is_refused_and_goes_on_with_room(
    trained: Working, sample: Path, small_disk: Path
) -> None:
    working = Working(Path(shutil.copytree(trained.root, small_disk / "working")))
    ballast = fill(small_disk, leave=MIB)
    for _ in range(2):
        done = elsewhere("ingest", sample, "--working", working.root)
        assert done.returncode == 1, done.stderr
        line = error_of(done.stderr, small_disk)
        assert re.search(
            r"needs 4\.\d MB now: the disk .* is too full, 1\.\d MB are free; make", line
        )
        assert "What it holds is kept" in line
    ballast.unlink()
    done = elsewhere("ingest", sample, "--working", working.root)
    assert (done.returncode, "added 96" in done.stdout) == (0, True), done.stderr


def test_a_collection_is_not_made_anew_without_room_for_both(
    trained: Working, sample: Path, small_disk: Path
) -> None:
    working = Working(Path(shutil.copytree(trained.root, small_disk / "working")))
    command = ("ingest", sample, "--working", working.root)
    assert elsewhere(*command).returncode == 0
    ballast = fill(small_disk, leave=MIB)
    done = elsewhere(*command, "--recreate")
    assert done.returncode == 1, done.stderr
    line = error_of(done.stderr, small_disk)
    assert re.search(r"built beside the old one .* needs \d\.\d MB now: .* too full.*; make", line)
    ballast.unlink()
    done = elsewhere(*command)
    assert (done.returncode, "unchanged 96" in done.stdout) == (0, True), done.stderr
    assert elsewhere(*command, "--recreate").returncode == 0


UPSERT_UNTIL_FULL = """
import sys
from pathlib import Path
from typing import IO, Any
import numpy as np
from geosim.ingest.schema import ModelRef, Payload
from geosim.ingest.store.edge import EdgeStore
from geosim.trainer.errors import StoreError
size = int(sys.argv[2])
with EdgeStore(Path(sys.argv[1]), "rocks") as store:
    if store.info() is None:
        store.create(ModelRef("abc", "colour-grid"))
    vectors = np.random.default_rng(0).normal(size=(size, 32)).astype(np.float32)
    done = store.count()
    try:
        for start in range(done, done + 40_000, size):
            names = [f"rocks/gneiss/{i}-{'x' * 100}.jpg" for i in range(start, start + size)]
            store.upsert([Payload(n, "gneiss", "0" * 64, 9, 9, "rocks") for n in names], vectors)
            print(start + size, flush=True)
    except StoreError as error:
        print(error)
"""


@pytest.mark.parametrize("size", [512])
def test_a_disk_that_fills_up_ends_in_an_error_and_loses_nothing(
    small_disk: Path, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geosim.ingest.schema import Payload
    from geosim.ingest.store.edge import EdgeStore
    from geosim.trainer.errors import StoreError

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    fill(small_disk, leave=9 * MIB)
    for leave in (None, 2 * MIB, 8 * 2**10):  # the engine needs more to open
        if leave is not None:
            (small_disk / "ballast").unlink()
            fill(small_disk, leave)
        command = [sys.executable, "-c", UPSERT_UNTIL_FULL, small_disk / "store", str(size)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        *counts, told = done.stdout.splitlines()
        assert re.search(r"the disk .* is too full, \d\.\d MB are free", told)
        assert (leave is None) == bool(counts)
        if leave is None:
            stored = int(counts[-1])
    with EdgeStore(small_disk / "store", "rocks") as store:  # from a copy, on another disk
        assert store.count() == store.values("class")["gneiss"] == stored
        with pytest.raises(StoreError, match="is too full"):
            store.delete([Payload("rocks/gneiss/1.jpg", "", "", 1, 1, "").id])
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(StoreError, match=r"a full disk, and a copy .* failed .*TMPDIR"):
        EdgeStore(small_disk / "store", "rocks").count()
    with EdgeStore(small_disk / "store", "rocks") as store:
        store.drop()  # makes room
    assert sorted(path.name for path in (small_disk / "store").iterdir()) == ["rocks.lock"]


OPEN_ROOM_LEFT = 2 * MIB


def test_the_room_of_holes_counts_on_a_disk_where_they_take_room(memory_disk: Path) -> None:
    for _ in range(2):
        command = [sys.executable, "-c", UPSERT_UNTIL_FULL, memory_disk / "store", "1000"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert (done.returncode, "is too full" in done.stdout) == (0, True), done.stderr
        fill(memory_disk, leave=8 * MIB)


def test_no_command_spoils_its_files_on_a_full_disk(
    trained: Working, small_sample: Path, small_disk: Path, geosim: Run
) -> None:
    sample, root = small_sample, Path(shutil.copytree(trained.root, small_disk / "working"))
    common = ("--working", root)
    options = ("--backbone", "colour-grid", "--epochs", 1, *common)
    query, sheet = sample / "marble" / "marble-0002.jpg", small_disk / "sheet.png"
    assert geosim("ingest", sample, *common).exit_code == 0
    assert geosim("export", *common).exit_code == 0
    assert geosim("search", query, "--sheet", sheet, *common).exit_code == 0
    assert geosim("evaluate", sample, "--split", "random", *options).exit_code == 0
    before = contents(small_disk)

    ballast = fill(small_disk, leave=24 * 2**10)
    for command in (
        ("export", "-k", 50, *common),
        ("search", query, "-k", 30, "--sheet", sheet, *common),
        ("train", sample, "--seed", 7, *options),
        ("evaluate", sample, "--split", "random", "--seed", 7, *options),
    ):
        done = geosim(*command)
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), (command, done.stderr)
        assert "is too full" in error_of(done.stderr, small_disk)
    ballast.unlink()
    after = contents(small_disk)
    assert before.items() <= after.items()
    assert {name for name in after if ".geosim-" in name} == set()


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such limit")
def test_the_disk_of_a_redirected_output_is_named(
    small_disk: Path, indexed_export: Working
) -> None:
    fill(small_disk, 0)
    with (small_disk / "status.txt").open("wb") as output:
        done = elsewhere("status", "--working", indexed_export.root, stdout=output)
    assert done.returncode == 1
    assert f"cannot use /dev/stdout: the disk {small_disk} is too full" in done.stderr
    error_of(done.stderr, small_disk)


def test_a_limit_on_the_size_of_files_is_told(indexed_export: Working, tmp_path: Path) -> None:
    before = contents(indexed_export.root)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))"
    output = ("--output", tmp_path / "graph.json")
    for extra in ((), output):
        done = elsewhere("export", "-k", 50, "--working", indexed_export.root, *extra, code=limit)
        assert done.returncode == 1, done.stderr
        assert "ulimit -f" in error_of(done.stderr, indexed_export.root)
    assert contents(indexed_export.root) == before
    assert not (tmp_path / "graph.json").exists()


@pytest.fixture
def indexed_export(working: Working, sample: Path, geosim: Run) -> Working:
    for command in (("ingest", sample), ("export",)):
        assert geosim(*command, "--working", working.root).exit_code == 0
    return working


def test_a_read_only_disk_is_named(small_disk: Path, indexed_export: Working, geosim: Run) -> None:
    output = small_disk / "graph.json"
    output.write_text("old")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = geosim("export", "--output", output, "--working", indexed_export.root)
    assert done.exit_code == 1
    assert re.search(rf"the disk {small_disk} is read-only; .*--output", done.stderr)
    assert output.read_text() == "old"


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_of_a_disk_is_told_with_the_disk_and_a_remedy(tmp_path: Path, code: int) -> None:
    told = explain(OSError(code, os.strerror(code)), tmp_path / "missing" / "file")
    assert str(disk_of(tmp_path)) in told
    assert re.search("; .* and run the same command again|; raise it, or name", told)
    assert "\n" not in told


def test_room_is_required_without_a_moment_in_which_the_disk_is_full(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocated = []
    allocate = os.posix_fallocate

    def observe(file: int, offset: int, size: int) -> None:
        allocated.append(size)
        allocate(file, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", observe)
    require_room(small_disk, MIB)
    assert list(small_disk.iterdir()) == [small_disk / "lost+found"]
    with pytest.raises(OSError, match="No space left"):
        require_room(small_disk, shutil.disk_usage(small_disk).free + 1)
    assert allocated == [MIB]


def test_room_is_required_of_the_quota_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exceed(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "posix_fallocate", exceed, raising=False)
    with pytest.raises(OSError, match="quota"):
        require_room(tmp_path, MIB)

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    require_room(tmp_path, MIB)
    with pytest.raises(OSError, match="No space left"):
        require_room(tmp_path, 2 * shutil.disk_usage(tmp_path).total)
