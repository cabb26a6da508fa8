"""Commands killed at random moments: the next run gives what an undisturbed run gives."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")

SERVER = Path(__file__).with_name("kill_server.py")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRAIN = ("--backbone", "colour-grid", "--epochs", "3")


class Server:
    """A process that forks commands."""

    def __init__(self) -> None:
        pipe, quiet = subprocess.PIPE, {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [sys.executable, SERVER], stdin=pipe, stdout=pipe, stderr=pipe, env=quiet, text=True
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=60)


@dataclass(frozen=True)
class Scene:
    """A command with the working folder that it starts from, None for none."""

    name: str
    start: Path | None
    arguments: tuple[str, ...]
    before: dict[str, list[str]]  # the points of ``start``


class Storm:
    """Kills commands and compares what the next run leaves with an undisturbed run's."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.killed: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()  # before they were killed
        self._working = folder / "working"
        self._acknowledged = folder / "acknowledged"

    def run(self, *arguments: str, kill_after: float | None = None) -> dict[str, Any]:
        command = [*arguments, "--working", str(self._working)]
        note = str(self._acknowledged)
        answer = self.server.ask(run=command, acknowledged=note, kill_after=kill_after)
        assert "Traceback" not in answer["told"], answer["told"]
        assert answer["code"] == 0 or kill_after is not None, answer["told"]
        return answer

    def points(self) -> dict[str, list[str]]:
        path = self.folder / "points.json"
        answer = self.server.ask(dump=str(self._working), to=str(path))
        assert answer["code"] == 0, answer["told"]
        points: dict[str, list[str]] = json.loads(path.read_text())
        return points

    def begin(self, start: Path | None) -> None:
        shutil.rmtree(self._working, ignore_errors=True)
        self._acknowledged.unlink(missing_ok=True)
        if start is not None:
            subprocess.run(["cp", "-R", start, self._working], check=True)

    def keep(self, name: str) -> Path:
        return self._working.rename(self.folder / name)

    def undisturbed(self, scene: Scene) -> tuple[float, Any]:
        """Return the seconds and the outcome of a command that is not killed."""
        self.begin(scene.start)
        return float(self.run(*scene.arguments)["seconds"]), self.outcome()

    def outcome(self) -> Any:
        """Return all files with the contents that are comparable, and all points."""
        files: dict[str, object] = {}
        for path in sorted(self._working.rglob("*")):
            name = UUID.sub("ID", path.relative_to(self._working).as_posix())
            name = name.replace("qdrant/geosim+2", "qdrant/geosim")  # made anew once or twice
            assert ".geosim-" not in name, "nothing unfinished stays"
            shard = name.startswith("qdrant/geosim/")
            if name.startswith("qdrant/geosim/wal/") or name.endswith("/tracker_journal.dat"):
                continue  # the engine's logs, counted below
            if name == "qdrant/geosim.json":  # random, alternates
                files[name] = json.loads(path.read_bytes()) | {"revision": "", "shard": ""}
            elif path.is_dir() or shard or name.endswith((".lock", ".sqlite", ".bin")):
                files[name] = None  # the .bin in hashes holds times
            else:
                files[name] = path.read_bytes()
            if name.endswith(".sqlite"):
                with closing(sqlite3.connect(path)) as database:
                    rows = database.execute("SELECT * FROM features ORDER BY sha256").fetchall()
                files[name] = rows
        return files, self.points() if (self._working / "qdrant").exists() else {}

    def strike(self, scene: Scene, expected: Any, kills: list[float]) -> None:
        """Kill a command after each of some times, then run it to its end."""
        files, points = expected
        trains = scene.name.startswith("train")
        self.begin(scene.start)
        for seconds in kills:
            answer = self.run(*scene.arguments, kill_after=seconds)
            (self.ended if answer["code"] == 0 else self.killed)[scene.name] += 1
            found = {} if trains else self.points()
            acknowledged = dict(
                line.split("\t") for line in _lines(self._acknowledged) if line.endswith("\n")
            )
            stays = {path: point for path, point in scene.before.items() if path in points}
            assert stays.keys() <= found.keys(), "nothing stored is lost"
            for path, sha256 in acknowledged.items():
                assert found[path.strip()][0] == sha256.strip(), "nothing acknowledged is lost"
            for path, point in found.items():
                assert point in (points.get(path), scene.before.get(path)), path
        self.run(*scene.arguments)
        left, stored = self.outcome()
        assert stored == points
        assert sorted(left.keys() ^ files.keys()) == []
        assert {name for name in files if left[name] != files[name]} == set()
        wal = list((self._working / "qdrant").glob("geosim*/wal/*"))
        assert len(wal) <= 4, "the engine's log does not grow"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True) if path.exists() else []


def write_rocks(folder: Path, sample: Path, per_class: int) -> tuple[Path, Path]:
    """Write a data set of 4 classes and a changed one of the same name."""
    first, second = folder / "first" / "rocks", folder / "second" / "rocks"
    for label in sorted(path for path in sample.iterdir() if path.is_dir())[:4]:
        for number, path in enumerate(sorted(label.glob("*.jpg"))[:per_class]):
            for root in (first, second):
                (root / label.name).mkdir(parents=True, exist_ok=True)
            if number > 0:
                shutil.copy(path, first / label.name)
            if number % 5 == 2:  # changed
                with Image.open(path) as image:
                    ImageOps.mirror(image).save(second / label.name / path.name)
            elif number % 5 != 3:  # those are deleted, number 0 is added
                shutil.copy(path, second / label.name)
    return first, second


def scenes(storm: Storm, data: Path, sample: Path, per_class: int) -> Iterator[Scene]:
    first, second = write_rocks(data, sample, per_class)
    place = data / "rocks"  # a data set that changes stays where it is

    def lay(root: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(root, place)

    rocks = str(place)
    train = ("train", rocks, *TRAIN)
    lay(first)
    yield Scene("train", None, train, {})
    yield Scene("run", None, ("run", rocks, *TRAIN, "-k", "3"), {})
    storm.begin(None)
    storm.run(*train)
    trained = storm.keep("trained")
    yield Scene("train anew", trained, (*train, "--seed", "1"), {})
    yield Scene("first", trained, ("ingest", rocks), {})
    storm.begin(trained)
    storm.run("ingest", rocks)
    storm.run("export", "-k", "2")
    points = storm.points()
    indexed = storm.keep("indexed")
    yield Scene("export", indexed, ("export", "-k", "5"), points)
    yield Scene("recreate", indexed, ("ingest", rocks, "--recreate"), points)
    lay(second)
    yield Scene("changed, added, deleted", indexed, ("ingest", rocks), points)


def rage(
    folder: Path, sample: Path, seed: int, strikes: Callable[[str], int], per_class: int
) -> tuple[Counter[str], Counter[str]]:
    """Let a storm rage; return how often each command was killed, or ended before."""
    folder.mkdir()
    generator = random.Random(seed)
    with closing(Server()) as server:
        storm = Storm(server, folder)
        for scene in scenes(storm, folder, sample, per_class):
            left = strikes(scene.name)
            seconds, expected = storm.undisturbed(scene) if left else (0.0, None)
            while left > 0:
                kills = [generator.uniform(0, seconds) for _ in range(min(left, 1 + left % 3))]
                try:
                    storm.strike(scene, expected, kills)
                except AssertionError as error:
                    where = f"seed {seed}, {scene.name}, killed after {kills}: {error}"
                    raise AssertionError(where) from error
                left -= len(kills)
    return storm.killed, storm.ended


def test_a_killed_command_is_completed_by_the_next(sample: Path, tmp_path: Path) -> None:
    strikes = {"train": 1, "run": 2, "train anew": 0}
    killed, ended = rage(
        tmp_path / "storm", sample, seed=1, strikes=lambda name: strikes.get(name, 2), per_class=6
    )
    assert sum(killed.values()) + sum(ended.values()) == 11
    assert sum(killed.values()) >= 6


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_hundred_kills(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()

    def strikes(name: str) -> int:
        return 20 if "train" in name or name == "run" else 48

    def one(seed: int) -> tuple[Counter[str], Counter[str]]:
        return rage(tmp_path / str(seed), sample, seed, strikes, per_class=12)

    with ThreadPoolExecutor() as pool:
        storms = list(pool.map(one, (2, 3)))
    killed, ended = (sum(one, Counter()) for one in zip(*storms, strict=True))
    with capsys.disabled():
        minutes = (time.monotonic() - started) / 60
        print(f"\n{sum(killed.values())} kills in {minutes:.1f} minutes: {dict(killed)}; {ended}")  # noqa: T201
    assert sum(killed.values()) + sum(ended.values()) >= 500
