"""Unfinished files of killed processes are swept; those of living ones and of others stay."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import Result
from filelock import FileLock

from geosim.trainer.files import replacing
from geosim.trainer.temporary import LOCK, delete_abandoned, private_folder
from geosim.trainer.working import Working

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the system has no SIGKILL")

WRITE = """
import os, signal, sys
from pathlib import Path
from geosim.trainer.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def start(target: Path) -> subprocess.Popen[bytes]:
    """Start a process that writes ``target`` and waits with it half done."""
    command = [sys.executable, "-c", WRITE, target]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    return process


def write(target: Path, content: str = "new") -> None:
    with replacing(target) as temporary:
        temporary.write_text(content)


def test_the_next_write_in_a_folder_sweeps_what_killed_ones_left(tmp_path: Path) -> None:
    killed = [start(tmp_path / name) for name in ("graph.json", "other.npz", "graph.json")]
    for process in killed:
        process.kill()
        process.communicate(timeout=60)
    assert len(list(tmp_path.iterdir())) == 3
    write(tmp_path / "graph.json")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]


def test_a_command_that_writes_nothing_sweeps_too(
    trained: Working, geosim: Callable[..., Result], rocks: Path, tmp_path: Path
) -> None:
    working = Working(tmp_path / "working")
    shutil.copytree(trained.root, working.root)
    elsewhere = tmp_path / "elsewhere"
    ingest = ("ingest", rocks, "--working", working.root)
    for place in ((), ("--qdrant", elsewhere)):
        assert geosim(*ingest, *place).exit_code == 0
    folders = (working.root, working.hashes, working.qdrant, working.model, elsewhere)
    killed = [start(folder / "left.json") for folder in folders]
    for process in killed:
        process.kill()
        process.communicate(timeout=60)
    assert len(list(tmp_path.rglob(".geosim-*/left.json"))) == len(folders)
    assert "unchanged" in geosim(*ingest, "--qdrant", elsewhere).output
    assert not list(tmp_path.rglob(".geosim-*"))


def test_what_a_living_process_writes_is_never_removed(tmp_path: Path) -> None:
    target = tmp_path / "graph.json"
    living = start(target)
    write(target)
    write(tmp_path / "other.json")
    assert len(list(tmp_path.iterdir())) == 3
    living.communicate(b"", timeout=60)
    assert (living.returncode, target.read_text()) == (0, "half")
    assert len(list(tmp_path.iterdir())) == 2


def test_what_belongs_to_others_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(tmp_path / "graph.json")
    process.kill()
    process.communicate(timeout=60)
    (own,) = tmp_path.iterdir()
    host = platform.node()
    for name in (f".geosim-notes-{os.getpid()}", f".{own.name[8:]}", ".geosim-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    (tmp_path / f"{own.name}x").write_text("a file of this name")
    (tmp_path / f"{own.name}y").mkdir()  # unlike ours, without a lock
    (tmp_path / f"{own.name}y" / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    for other in (f"{host}-2", "another-machine", host[:-1] or "x"):
        monkeypatch.setattr(platform, "node", lambda other=other: other)
        write(tmp_path / "graph.json")
        assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "graph.json"])
    monkeypatch.undo()
    write(tmp_path / "graph.json")
    assert not own.exists()
    assert sorted(tmp_path.iterdir()) == sorted({*before, tmp_path / "graph.json"} - {own})


def test_another_user_s_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(tmp_path / "graph.json")
    process.kill()
    process.communicate(timeout=60)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    write(tmp_path / "graph.json")
    assert len(list(tmp_path.iterdir())) == 2


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from geosim.trainer.files import replacing
left = int(sys.argv[2])
def trace(frame, event, _):
    global left
    if frame.f_code.co_filename.endswith(("trainer/temporary.py", "trainer/files.py")):
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
sys.settrace(trace)
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"new")
"""


def test_a_kill_at_any_line_leaves_the_old_or_the_new_file_and_nothing_for_ever(
    tmp_path: Path,
) -> None:
    target = tmp_path / "graph.json"
    target.write_bytes(b"old")
    contents = []
    for line in range(1, 100, 3):
        done = subprocess.run([sys.executable, "-c", KILLED_AT, target, str(line)], check=False)
        contents.append(target.read_bytes())
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        target.write_bytes(b"old")
    assert set(contents) == {b"old", b"new"}
    write(target)
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FileLock.acquire
    swept: list[Path] = []

    def acquire_late(lock: FileLock, *arguments: object, **options: object) -> object:
        if not swept:
            swept.append(Path(lock.lock_file).parent)
            delete_abandoned(tmp_path)
            assert not swept[0].exists()
        return acquire(lock, *arguments, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire_late)
    with private_folder(tmp_path) as folder:
        delete_abandoned(tmp_path)
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_made_at_once_stay(tmp_path: Path) -> None:
    def make(_: int) -> None:
        with private_folder(tmp_path) as folder:
            assert (folder / LOCK).exists()
            (folder / "file").write_text("new")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(2000)))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "graph.json"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            (temporary / "missing").write_text("")

    def fail_without_a_name() -> None:
        with replacing(target):
            raise OSError(28, "No space left on device")

    for failing in (fail, fail_without_a_name):
        with pytest.raises(OSError, match=re.escape(str(target))):
            failing()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link):
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
            with replacing(path) as temporary:
                temporary.write_bytes(b"all of it")
            assert reader.communicate(timeout=60)[0] == b"all of it"
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, pipe]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system has no such names")
def test_an_open_file_is_written_to_by_its_name(tmp_path: Path) -> None:
    link = tmp_path / "descriptors"  # as /dev/fd is
    link.symlink_to("/proc/self/fd")
    with (tmp_path / "output").open("wb") as output:
        for folder in (Path("/proc/self/fd"), link):
            with replacing(folder / str(output.fileno())) as temporary:
                temporary.write_bytes(b"all of it")
            assert (tmp_path / "output").read_bytes() == b"all of it"
        assert os.fstat(output.fileno()).st_ino == (tmp_path / "output").stat().st_ino
