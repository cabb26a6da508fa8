"""Snapshots that killed backups left on a server are removed, and no others."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient

from geosim.ingest.machine import running_system
from geosim.ingest.store.server_left_over import LONGEST_S, NOTE_KEY, Note
from tests.ingest.store.test_server_revision import MODEL
from tests.memory import memory_store, real_server
from tests.test_architecture import ROOT

NOW = 1_790_000_000.0


class Server:
    """Snapshots of one collection, as a Qdrant server lists and deletes them."""

    def __init__(self) -> None:
        self.now = NOW
        self.names = {"rocks-7-2025-01-02-03-04-05.snapshot"}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            self.names.discard(request.url.path.rpartition("/")[2])
        listed = {"result": [{"name": one} for one in sorted(self.names)]}
        return httpx.Response(200, json=listed, headers={"date": formatdate(self.now, usegmt=True)})

    def begin(self, seconds: float) -> str:
        """Return the name of a snapshot that is begun so many seconds from now."""
        begun = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(self.now + seconds))
        self.names.add(name := f"rocks-7-{begun}.snapshot")
        return name


class Backups:
    """Backups of one collection on a server."""

    def __init__(self) -> None:
        self.server = Server()
        store = memory_store("rocks", QdrantClient(":memory:"))
        store.create(MODEL)
        self.whole = store._whole

    def note(self) -> Note:
        return Note(
            self.whole,
            httpx.Client(transport=httpx.MockTransport(self.server), base_url="http://s"),
        )

    def kill(self, monkeypatch: pytest.MonkeyPatch, name: str | None, system: str = "") -> None:
        """Leave the note of a process that has ended, on this system or another."""
        with monkeypatch.context() as patched:
            where = "geosim.ingest.store.server_left_over"
            patched.setattr(f"{where}.running_system", lambda: system or running_system())
            patched.setattr(f"{where}.os.getpid", lambda: 2**22 + 1)
            note = self.note()
        if name is not None:
            note.name(name)

    def notes(self) -> int:
        return sum(key.startswith(NOTE_KEY) for key in self.whole.metadata())


@pytest.fixture
def backups() -> Iterator[Backups]:
    made = Backups()
    yield made
    assert "rocks-7-2025-01-02-03-04-05.snapshot" in made.server.names, "an administrator's"


def test_what_a_killed_backup_left_is_removed(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = backups.server.begin(1)
    backups.kill(monkeypatch, left)
    later = backups.server.begin(60)
    backups.note().remove()
    assert left not in backups.server.names
    assert later in backups.server.names
    assert backups.notes() == 0


def test_one_that_was_killed_while_the_server_wrote_is_removed(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = backups.server.begin(0)
    backups.kill(monkeypatch, None)
    left, later = backups.server.begin(1), backups.server.begin(60)
    backups.note().remove()
    assert left not in backups.server.names
    assert {before, later} <= backups.server.names


def test_what_may_be_of_another_program_stays(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.kill(monkeypatch, None)
    two = {backups.server.begin(1), backups.server.begin(2)}
    backups.note().remove()
    assert two <= backups.server.names


def test_one_that_runs_is_left_alone(backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = backups.note()
    mine.name(own := backups.server.begin(1))
    backups.kill(monkeypatch, other := backups.server.begin(2), "another system")
    backups.note().remove()
    assert {own, other} <= backups.server.names
    backups.server.now += LONGEST_S + 1
    backups.note().remove()
    assert own in backups.server.names
    assert other not in backups.server.names
    mine.delete(own)
    mine.remove()
    assert backups.notes() == 0


KILLED = """
import os, sys
from pathlib import Path
from geosim.ingest.store import server_snapshots
from geosim.ingest.store.server import connect
server_snapshots._download = lambda *_: os.kill(os.getpid(), 9)
with connect(sys.argv[1], None, sys.argv[2]) as store:
    store.snapshots().save(Path(sys.argv[3]))
"""


def test_a_killed_backup_leaves_nothing_on_a_real_server_for_long(tmp_path: Path) -> None:
    from geosim.ingest.store.server import connect

    (url, key), name = real_server(), f"geosim-test-{tmp_path.name}"
    with connect(url, key, name) as store:
        store.create(MODEL)
        try:
            line: list[Any] = [sys.executable, "-c", KILLED, url, name, tmp_path / "snapshot"]
            assert subprocess.run(line, check=False, cwd=ROOT).returncode == -9
            (node,) = store._connection._nodes
            assert len(node.client.list_snapshots(name)) == 1
            store.snapshots().save(tmp_path / "second")
            assert node.client.list_snapshots(name) == []
        finally:
            store.drop()
