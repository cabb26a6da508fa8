"""Real Qdrant servers on loopback, which tests kill and start again (Linux)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

READY_SECONDS = 120.0
"""Time in which a server starts."""


@dataclass
class Server:
    """The process that listens at a URL, with what it takes to start it again."""

    url: str
    pid: int
    arguments: list[str]
    folder: Path
    environment: dict[str, str]

    @classmethod
    def at(cls, url: str) -> Server:
        """Return the server at a URL; skip the test where its process is not one of this user."""
        port = urlsplit(url).port or 6333
        pid = _listening(port)
        if pid is None:
            pytest.skip(f"no process of this user listens at port {port} of this machine")
        process = Path("/proc", str(pid))
        words = (process / "cmdline").read_bytes().split(b"\0")[:-1]
        pairs = (process / "environ").read_bytes().split(b"\0")[:-1]
        return cls(
            url,
            pid,
            [os.fsdecode(word) for word in words],
            (process / "cwd").readlink(),
            dict(os.fsdecode(pair).split("=", 1) for pair in pairs),
        )

    def kill(self) -> None:
        """Kill the server as a lost machine ends, and wait until its port is free."""
        os.kill(self.pid, signal.SIGKILL)
        port, end = urlsplit(self.url).port or 6333, time.monotonic() + READY_SECONDS
        while _listening(port) is not None:
            assert time.monotonic() < end, f"{self.url} outlives its kill"

    def start(self) -> None:
        """Start it again in its folder, and wait until it is ready."""
        started = subprocess.Popen(
            self.arguments,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid, end = started.pid, time.monotonic() + READY_SECONDS
        started.returncode = 0  # it outlives the tests
        while not _is_ready(self.url):
            assert time.monotonic() < end, f"{self.url} does not start"


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _listening(port: int) -> int | None:
    """Return the process of this user that listens at a port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    listening = "0A"
    sockets = {
        f"socket:[{row[9]}]"
        for row in rows
        if row[3] == listening and int(row[1].rpartition(":")[2], 16) == port
    }
    descriptors = Path("/proc").glob("[0-9]*/fd/*")
    return next((int(one.parts[2]) for one in descriptors if _target(one) in sockets), None)


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # it was closed meanwhile
        return ""
