"""A `geosim serve` in a process of its own, and the visitors that ask it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import orjson

from tests.benches.children import ROOT, BenchError

CODE = """
import os, signal, threading
def leave():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=leave, daemon=True).start()
from geosim.search.cli.main import geosim
geosim()
"""
"""The command, which a polite kill ends once its stdin is closed: by whoever started it, or by
their death, however that came."""

ENDING = 30.0
"""Seconds in which it must end; it gives answers under way five."""

PATIENCE = 120.0
"""Seconds that a visitor waits for an answer: a busy machine is slow, not broken."""

NO_MAP = b"{}"
"""The answer while the map is being drawn."""

MEASURING = 300.0
"""Seconds in which the server must have measured what is usual in its collection."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under way.

    Attributes:
        url: its address, with a slash at the end.
        process: its process id.
    """

    url: str
    process: int


@contextmanager
def serving(working: Path) -> Iterator[Server]:
    """Serve a working folder on a free port of this machine alone; its model is loaded by then.

    The server ends with the ``with`` block, and also where this process is killed.

    Raises:
        BenchError: it does not start.
    """
    line = [sys.executable, "-c", CODE, "serve", "--port", "0", "--working", str(working)]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            line, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=said, text=True
        ) as process,
    ):
        try:
            yield Server(_address(process, said), process.pid)
        finally:
            _end(process)


def _address(process: subprocess.Popen[str], said: IO[str]) -> str:
    """Return the address that the server prints once it listens."""
    first = "" if process.stdout is None else process.stdout.readline()
    if not first.startswith("http://"):
        said.seek(0)
        last = [first, *said.readlines()][-1].strip()
        raise BenchError(f"`geosim serve` did not start: {last or 'no message'}")
    return first.split(" ")[0]


def _end(process: subprocess.Popen[str]) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDING)
    finally:
        process.kill()


class Visitor(Closing):
    """One client with a connection of its own; what it is told is the answer's very bytes.

    All requests raise `BenchError` where the server gives no answer, or one that says it failed.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)

    def upload(self, picture: bytes) -> bytes:
        """Search by the bytes of a JPEG."""
        kind = {"Content-Type": "image/jpeg"}
        return self._answer("POST", "api/search", content=picture, headers=kind)

    def similar(self, image: str) -> bytes:
        """Search by the id of an indexed image."""
        return self._answer("GET", f"api/points/{image}/similar")

    def image(self, image: str) -> bytes:
        """Fetch the picture of an indexed image, as a hit shows it."""
        return self._answer("GET", f"api/images/{image}")

    def map(self) -> bytes:
        """Fetch the map, once it is drawn: until then an answer comes every few seconds."""
        drawn = NO_MAP
        while drawn == NO_MAP:
            drawn = self._answer("GET", "api/map")
        return drawn

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _answer(self, method: str, path: str, **sent: Any) -> bytes:
        try:
            answer = self._client.request(method, path, **sent)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise BenchError(f"{method} /{path} got no answer: {why}") from error
        if not answer.is_success:
            raise BenchError(f"{method} /{path} got status {answer.status_code}: {answer.text}")
        return answer.content


Request = Callable[[Visitor], bytes]
"""Asks something through a visitor and returns the answer."""


def all_at_once(visitors: Sequence[Visitor], requests: Sequence[Request]) -> list[bytes]:
    """Deal requests to visitors, who all ask at the same time; return the answers in order."""

    def ask(visitor: Visitor, share: Sequence[Request]) -> list[bytes]:
        return [request(visitor) for request in share]

    shares = [requests[start :: len(visitors)] for start in range(len(visitors))]
    answers: list[bytes] = [b""] * len(requests)
    with ThreadPoolExecutor(len(visitors)) as pool:
        for start, share in enumerate(pool.map(ask, visitors, shares)):
            answers[start :: len(visitors)] = share
    return answers


def settle(visitor: Visitor, picture: bytes) -> None:
    """Wait until the server knows what is usual in its collection: answers stay as they are then.

    Args:
        visitor: who asks.
        picture: one that is not in the collection.

    Raises:
        BenchError: it takes too long.
    """
    started = time.perf_counter()
    while orjson.loads(visitor.upload(picture))["explanation"]["usual"] is None:
        if time.perf_counter() - started > MEASURING:
            raise BenchError("the server did not measure what is usual in its collection")
        time.sleep(0.1)
