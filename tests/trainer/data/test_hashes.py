"""Unchanged files are not read again, and every change is seen."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from geosim.trainer.data import hashes
from geosim.trainer.data.dataset import Dataset, hash_dataset, open_dataset
from geosim.trainer.data.sources import Record, Stamp

NAMES = [f"{label}/{number}.jpg" for label in ("gneiss", "marble") for number in range(10)]


class Counting:
    """A source that counts what is read from another one."""

    def __init__(self, dataset: Dataset, interrupt_at: int = -1) -> None:
        self.inner, self.interrupt_at = dataset.source, interrupt_at
        self.read_paths: list[str] = []

    def read(self, record: Record) -> bytes:
        self.read_paths.append(record.path)
        if len(self.read_paths) == self.interrupt_at:
            raise KeyboardInterrupt
        return self.inner.read(record)

    def stamp(self, record: Record) -> Stamp | None:
        return self.inner.stamp(record)


def read(location: Path, cache: Path, *, rehash: bool = False) -> tuple[dict[str, str], list[str]]:
    """Hash a data set; return the hash of each path, and the paths that were read."""
    dataset = open_dataset(location)
    counting = Counting(dataset)
    hashed, rejected = hash_dataset(replace(dataset, source=counting), cache, rehash=rehash)
    assert rejected == []
    return {one.record.path: one.sha256 for one in hashed}, sorted(counting.read_paths)


def truth(root: Path) -> dict[str, str]:
    """The hash of each file's present content."""
    return {
        path.relative_to(root.parent).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.jpg")
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "rocks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %02d" % number)
    return tmp_path / "rocks"


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files that were just written for older ones."""
    monkeypatch.setattr(hashes, "SETTLED_NS", 0)


def pack(root: Path) -> Path:
    return Path(shutil.make_archive(str(root), "zip", root.parent, root.name))


@pytest.mark.usefixtures("old_files")
@pytest.mark.parametrize("packed", [False, True])
def test_an_unchanged_file_is_not_read_again(root: Path, tmp_path: Path, packed: bool) -> None:
    location = pack(root) if packed else root
    first, reads = read(location, tmp_path / "cache")
    assert (first, reads) == (truth(root), sorted(truth(root)))
    assert read(location, tmp_path / "cache") == (first, [])
    assert read(location, tmp_path / "cache", rehash=True) == (first, reads)
    assert read(location, tmp_path / "cache") == (first, [])


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def rewrite_with_the_same_times(path: Path) -> None:
    times = path.stat()
    rewrite(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def rewrite_with_times_of_last_year(path: Path) -> None:
    rewrite(path)
    os.utime(path, (1_600_000_000, 1_600_000_000))


def replace_by_another_file(path: Path) -> None:
    times = path.stat()
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes()[::-1])
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(path)


def swap(path: Path) -> None:
    other, third = path.with_name("9.jpg"), path.with_suffix(".third")
    path.rename(third)
    other.rename(path)
    third.rename(other)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


CHANGES = [
    rewrite,
    rewrite_with_the_same_times,
    rewrite_with_times_of_last_year,
    replace_by_another_file,
    swap,
    append,
    os.utime,
    lambda path: path.chmod(0o640),
    lambda path: path.unlink(),
]


@pytest.mark.usefixtures("old_files")
@pytest.mark.parametrize("change", CHANGES)
def test_every_kind_of_change_is_seen(
    root: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    read(root, tmp_path / "cache")
    newest = max(path.stat().st_ctime_ns for path in root.rglob("*.jpg"))
    for _ in range(1_000_000):  # until the next tick of the clock
        tmp_path.chmod(0o755)
        if tmp_path.stat().st_ctime_ns > newest:
            break
    change(root / "marble" / "3.jpg")
    found, reads = read(root, tmp_path / "cache")
    assert found == truth(root)
    assert all(path.startswith("rocks/marble/") for path in reads)
    assert len(reads) <= 2
    assert read(root, tmp_path / "cache") == (found, [])


class Coarse(Counting):
    """Has times in steps of 2 s, as a FAT file system; writes each file after it is read."""

    def __init__(self, dataset: Dataset, write: bytes) -> None:
        super().__init__(dataset)
        self.write = write

    def read(self, record: Record) -> bytes:
        data = super().read(record)
        Path(record.source).write_bytes(self.write)
        return data

    def stamp(self, record: Record) -> Stamp | None:
        stamp = super().stamp(record)
        return stamp and (stamp[0] - stamp[0] % 2_000_000_000, 0, *stamp[2:])


def test_a_file_written_twice_in_one_tick_of_the_clock_is_read_again(
    root: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(root)
    for content in (b"content ab", b"content cd"):
        source = Coarse(dataset, content)
        found, _ = hash_dataset(replace(dataset, source=source), tmp_path / "cache")
    assert {one.sha256 for one in found} == {hashlib.sha256(b"content ab").hexdigest()}


@pytest.mark.usefixtures("old_files")
def test_a_time_in_the_future_is_trusted_once_it_was_set(root: Path, tmp_path: Path) -> None:
    path = root / "marble" / "3.jpg"
    os.utime(path, (4_000_000_000, 4_000_000_000))
    read(root, tmp_path / "cache")
    assert read(root, tmp_path / "cache") == (truth(root), [])
    rewrite(path)
    assert read(root, tmp_path / "cache") == (truth(root), ["rocks/marble/3.jpg"])


@pytest.mark.usefixtures("old_files")
def test_an_archive_that_was_packed_again_is_read_again(root: Path, tmp_path: Path) -> None:
    location = pack(root)
    times = location.stat()
    read(location, tmp_path / "cache")
    rewrite(root / "marble" / "3.jpg")
    pack(root)
    os.utime(location, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert read(location, tmp_path / "cache") == (truth(root), sorted(truth(root)))
    (root / "marble" / "new.jpg").write_bytes(b"new")
    with zipfile.ZipFile(location, "a") as archive:
        archive.write(root / "marble" / "new.jpg", "rocks/marble/new.jpg")
    assert read(location, tmp_path / "cache")[0] == truth(root)


@pytest.mark.usefixtures("old_files")
def test_several_data_sets_share_a_folder_and_vanished_files_are_forgotten(
    root: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    other = Path(shutil.copytree(root, tmp_path / "other" / "rocks"))
    rewrite(other / "marble" / "3.jpg")
    read(root, cache)
    read(other, cache)
    assert read(root, cache) == (truth(root), [])
    assert read(other, cache) == (truth(other), [])
    size = sum(path.stat().st_size for path in cache.iterdir())
    shutil.rmtree(other / "gneiss")
    read(other, cache)
    assert sum(path.stat().st_size for path in cache.iterdir()) == size - 10 * 48
    for path in cache.iterdir():  # not read for long
        os.utime(path, (1_600_000_000, 1_600_000_000))
    read(root, cache)
    assert len(list(cache.iterdir())) == 1
    assert read(root, cache) == (truth(root), [])


@pytest.mark.usefixtures("old_files")
def test_a_damaged_cache_is_ignored(root: Path, tmp_path: Path) -> None:
    read(root, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    good = path.read_bytes()
    for position in (*range(0, 60, 9), *range(60, len(good), 203)):
        bad = bytearray(good)
        bad[position] ^= 1
        for damaged in (bytes(bad), good[:position], b"", good + b"\0" * 48):
            path.write_bytes(damaged)
            assert read(root, tmp_path / "cache") == (truth(root), sorted(truth(root)))
            assert path.read_bytes() == good
    path.unlink()
    path.mkdir()
    assert read(root, tmp_path / "cache")[0] == truth(root)


@pytest.mark.usefixtures("old_files")
def test_an_interrupted_run_keeps_what_was_read(root: Path, tmp_path: Path) -> None:
    dataset = open_dataset(root)
    with pytest.raises(KeyboardInterrupt):
        hash_dataset(
            replace(dataset, source=Counting(dataset, interrupt_at=15)), tmp_path / "cache"
        )
    (tmp_path / "cache").mkdir(exist_ok=True)
    append(root / "gneiss" / "0.jpg")
    found, reads = read(root, tmp_path / "cache")
    assert found == truth(root)
    assert 0 < len(reads) < 20


@pytest.mark.usefixtures("old_files")
def test_a_cache_that_cannot_be_written_is_used_in_silence(
    root: Path, tmp_path: Path, make_read_only: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    read(root, cache)
    rewrite(root / "marble" / "3.jpg")
    make_read_only(cache)
    for _ in range(2):
        assert read(root, cache) == (truth(root), ["rocks/marble/3.jpg"])
    assert len(read(root, cache, rehash=True)[1]) == 20
    assert read(root, cache / "none")[0] == truth(root)


TWO = """
import sys
from pathlib import Path
from geosim.trainer.data import hashes
from geosim.trainer.data.dataset import hash_dataset, open_dataset
hashes.SETTLED_NS = 0
for _ in range(10):
    hash_dataset(open_dataset(Path(sys.argv[1])), Path(sys.argv[2]), rehash=True)
"""


@pytest.mark.usefixtures("old_files")
def test_two_processes_at_once_leave_a_sound_cache(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO, str(root), str(tmp_path / "cache")]
    both = [subprocess.Popen(command) for _ in range(2)]
    try:
        assert [one.wait(timeout=60) for one in both] == [0, 0]
    finally:
        for one in both:
            one.kill()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert read(root, tmp_path / "cache") == (truth(root), [])
