"""The page of ``geosim serve``: latency, throughput, memory, and frames of its map and its hits."""

from __future__ import annotations

import itertools
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import httpx
import orjson

from geosim.ingest.schema import point_id
from tests.benches import common, frames, inputs

ABOUT = (
    "`geosim serve` in a process of its own, over loopback, ten hits. A new picture is an indexed "
    "one with a little noise, as JPEG. The answers to twenty clients at once equal, byte for byte, "
    "those to one client. Memory is resident memory, one run, MB are 10^6 bytes. The map is moved "
    "in each frame, at 1280 x 900 in headless Chromium, at most 60 frames a second; that of a "
    "million points is made up, of 60 classes that overlap. The list of hits is scrolled in each "
    "frame."
)
BASES = 200
"""Indexed pictures that new ones are made of."""

REQUESTS = 50
"""Requests of one client per round and kind."""

CLIENTS, UPLOADS = 20, 200
"""Clients at once, and their uploads per round."""

MEMORY_REQUESTS = 5_000
"""Requests between two measurements of memory: a third each of uploads, searches by an indexed
image and pictures. A tenth as many come first as a warm-up."""

TIMEOUT = 120.0
"""Seconds for one answer, and for the browser."""

SIMILAR = "api/points/ID/similar"
"""Path of a search by an indexed image."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A client of the server, safe to use from several threads.

    Attributes:
        client: HTTP client of the server's address.
        bases: bytes of indexed pictures.
        ids: ids of all indexed pictures, sorted: a random order of paths.
    """

    client: httpx.Client
    bases: Sequence[bytes]
    ids: Sequence[str]

    def picture(self, series: int, number: int) -> bytes:
        """Return a new picture, another one for each series and number."""
        return inputs.similar_picture(self.bases[number % len(self.bases)], series, number)

    def upload(self, picture: bytes) -> bytes:
        """Search by the bytes of a JPEG."""
        kind = {"Content-Type": "image/jpeg"}
        answer = self.client.post("api/search", content=picture, headers=kind)
        return answer.raise_for_status().content

    def get(self, path: str, number: int) -> bytes:
        """Return the answer for an indexed image, whose id replaces ``ID`` in the path."""
        image = self.ids[number % len(self.ids)]
        return self.client.get(path.replace("ID", image)).raise_for_status().content

    def mixed(self, number: int) -> bytes:
        """Make one of three kinds of requests in turn."""
        kind, number = number % 3, number // 3
        if kind == 0:
            return self.upload(self.picture(3, number))
        return self.get(SIMILAR if kind == 1 else "api/images/ID", number)


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Measure answers, many clients and frames of the map; memory on a server of its own."""
    working = inputs.copied(
        inputs.working_folder(settings), scratch / "working", "model", "qdrant", "features"
    )
    data = inputs.dataset(settings)
    ids = sorted(point_id(record.path) for record in data.records)
    bases = [data.source.read(one) for one in data.records[:: -(-len(ids) // BASES)]]
    with serving(working) as (client, _):
        visitor = Visitor(client, bases, ids)
        wait_until_ready(visitor)
        rows = one_by_one(settings, visitor) + many_clients(settings, visitor)
        rows += frames.measure(settings, str(client.base_url), len(ids), ids[0])
    with serving(working) as (client, process):
        return rows + memory(settings, Visitor(client, bases, ids), process)


@contextmanager
def serving(working: Path) -> Iterator[tuple[httpx.Client, int]]:
    """Serve a working folder on a free port; yield a client and the server's process id.

    Raises:
        BenchError: the server does not start.
    """
    line = [sys.executable, *common.GEOSIM, "serve", "--port", "0", "--working", str(working)]
    with subprocess.Popen(line, cwd=common.ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            first = process.stdout.readline() if process.stdout else ""
            if not (url := re.match(r"http://\S+", first)):
                raise common.BenchError("`geosim serve` did not start")
            with httpx.Client(base_url=url[0], timeout=TIMEOUT, trust_env=False) as client:
                yield client, process.pid
        finally:
            process.terminate()


def wait_until_ready(visitor: Visitor) -> None:
    """Wait for the map, and for the score distribution that explanations depend on.

    Raises:
        BenchError: they take more than ten minutes.
    """
    for _ in range(600):
        explanation = orjson.loads(visitor.upload(visitor.picture(0, 0)))["explanation"]
        drawn = visitor.client.get("api/map").status_code == httpx.codes.OK
        if drawn and explanation["usual"] is not None:
            return
        time.sleep(1)
    raise common.BenchError("the server did not prepare its map and explanations")


def one_by_one(settings: common.Settings, visitor: Visitor) -> list[common.Row]:
    """Measure the median latency of one client."""
    count, numbers = settings.limit(REQUESTS), itertools.count()

    def latency(kind: str) -> float:
        seconds = []
        for number in itertools.islice(numbers, count):
            if kind == "upload":
                seconds.append(common.timed(visitor.upload, visitor.picture(1, number)))
            else:
                seconds.append(common.timed(visitor.get, SIMILAR, number))
        return median(seconds)

    turns = {
        "upload of a new picture": partial(latency, "upload"),
        "indexed picture": partial(latency, "similar"),
    }
    taken = common.interleaved("one client", turns, settings.runs)
    return common.milliseconds(f"one answer after the other, {len(visitor.ids):,} points", taken)


def many_clients(settings: common.Settings, visitor: Visitor) -> list[common.Row]:
    """Measure uploads of many clients at once against the same uploads of one client.

    Raises:
        BenchError: their answers differ.
    """
    count = settings.limit(UPLOADS)
    answers: dict[int, list[bytes]] = {CLIENTS: [], 1: []}

    def upload(clients: int) -> float:
        first = len(answers[clients])
        pictures = [visitor.picture(2, number) for number in range(first, first + count)]
        with ThreadPoolExecutor(clients) as pool:
            started = time.perf_counter()
            answers[clients] += pool.map(visitor.upload, pictures)
            return time.perf_counter() - started

    turns = {
        f"{CLIENTS} clients at once": partial(upload, CLIENTS),
        "one client": partial(upload, 1),
    }
    taken = common.interleaved("many clients", turns, settings.runs)
    if answers[CLIENTS] != answers[1]:
        raise common.BenchError("answers to many clients at once differ from those to one")
    title = f"{count} uploads, {len(visitor.ids):,} points"
    return common.compared(title, taken, ("requests", count))


def memory(settings: common.Settings, visitor: Visitor, process: int) -> list[common.Row]:
    """Measure the server's memory, on Linux, before and after many requests by many clients."""
    count = settings.limit(MEMORY_REQUESTS)
    statm, warm_up = Path("/proc", str(process), "statm"), count // 10

    def resident_after(numbers: range) -> float:
        list(pool.map(visitor.mixed, numbers))
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6

    with ThreadPoolExecutor(CLIENTS) as pool:
        before = resident_after(range(warm_up))
        after = resident_after(range(warm_up, warm_up + count))
    group = f"memory of the server, {len(visitor.ids):,} points"
    return [
        common.Row(group, f"after a warm-up of {warm_up:,} requests", "MB", [before]),
        common.Row(group, f"{count:,} requests later", "MB", [after]),
    ]
