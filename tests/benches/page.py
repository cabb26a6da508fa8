"""The page of `geosim serve`: how fast, how right among many, and how flat in memory it answers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from geosim.ingest.catalog import ImageReader
from geosim.ingest.schema import point_id
from geosim.trainer.progress import progress_bar
from geosim.trainer.working import Working
from tests.benches import frames
from tests.benches.children import BenchError, Worker, in_child, resident_bytes
from tests.benches.prepared import copied, like, stored_paths, working_folder
from tests.benches.results import FULL_SIZE, Row, Settings, Target, compared, skipped
from tests.benches.server import Request, Server, Visitor, all_at_once, serving, settle
from tests.benches.timing import interleaved, missing, rounds, timed

ABOUT = (
    "`geosim serve` in a process of its own, its model loaded, asked over loopback for ten hits. A "
    "new picture is an indexed one with a little noise, as JPEG; no two are the same, but that "
    "twenty clients at once get, byte for byte, the answers that one client got before or after. "
    "Memory is resident memory, one run, of a server that begins with it; MB are 10^6 bytes. The "
    "map is moved in each frame and drawn whole, at 1280 x 900 in Chromium without a screen, which "
    "begins at most 60 frames a second."
)
BASES = 200
"""Indexed pictures that new ones are made of: those with the lowest ids, a random sample."""

ASKED = 50
"""Requests of one client per round and kind."""

CLIENTS, EACH = 20, 10
"""Clients at once, and uploads of each per round."""

REQUESTS = 5_000
"""Requests over which memory must stay flat: a third each of uploads, searches by an indexed image
and pictures. A tenth as many come before they are counted: threads start, buffers find their size.
"""

BLOCK = 10 * CLIENTS
"""Requests dealt to the clients together."""

LATENCY = 150.0
"""Milliseconds in which an upload should be answered, median."""

GROWTH = 32.0
"""MB that the server may take more after `REQUESTS`: 6.4 kB for each. To keep the decoded picture
of each upload, 224 x 224 x 3 bytes, would take 250 MB. Not a leak, and small beside the bound, are
the thumbnails that the server keeps on purpose: 1,700 of small tiles are 2 MB."""

FRAME = 33.0
"""Milliseconds that a frame of the map should take, median: thirty a second."""

NEW, KNOWN = "upload of a new picture", "indexed picture"
CROWD, ALONE = f"{CLIENTS} clients at once", "one client"
MOVEMENTS = {"dragged": frames.DRAG, "zoomed by the wheel": frames.WHEEL}


@dataclass(frozen=True, slots=True)
class Material:
    """What the server is asked with.

    Attributes:
        bases: bytes of indexed pictures.
        ids: of all indexed pictures, sorted: hashes of their paths, so in no order of theirs.
        limit: most requests of a kind per round, for a quick look; None for as many as there are.
        full: whether targets are judged.
    """

    bases: list[bytes]
    ids: list[str]
    limit: int | None
    full: bool

    def new(self, series: int) -> Iterator[bytes]:
        """Yield pictures that are not indexed, without end.

        Those of a series are the same each time; none is in two series.
        """
        for number, base in enumerate(itertools.cycle(self.bases)):
            yield like(base, series, number)

    def target(self, value: float, bound: float, unit: str) -> Target | None:
        """Return a figure's target, where it is judged."""
        return Target(value, bound, unit) if self.full else None


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Measure answers, many clients, frames of the map, and on a server of its own, memory."""
    working = copied(working_folder(settings), scratch / "working", features=True)
    paths = sorted(in_child(stored_paths, working), key=point_id)
    pictures = ImageReader(Working(working).datasets)
    material = Material(
        bases=[pictures.read(path) for path in paths[:BASES]],
        ids=[point_id(path) for path in paths],
        limit=settings.images,
        full=min(len(paths), settings.images or len(paths)) >= FULL_SIZE,
    )
    with serving(working) as server:
        with Visitor(server.url) as visitor:
            settle(visitor, next(material.new(0)))
            rows = one_by_one(visitor, material, settings.runs)
        rows += at_once(server, material, settings.runs)
        rows += map_frames(server, material, settings.runs)
    with serving(working) as server:
        return rows + memory(server, material)


def one_by_one(visitor: Visitor, material: Material, runs: int) -> list[Row]:
    """Time every answer that one client gets."""
    asked = min(ASKED, material.limit or ASKED)
    requests = {
        NEW: (partial(visitor.upload, picture) for picture in material.new(1)),
        KNOWN: (partial(visitor.similar, image) for image in itertools.cycle(material.ids)),
    }

    def ask(name: str) -> list[float]:
        return [timed(request) for request in islice(requests[name], asked)]

    taken = rounds("one client", {name: partial(ask, name) for name in requests}, runs)
    group = f"one answer after the other, {len(material.ids):,} points"
    rows = {name: milliseconds(group, name, one) for name, one in taken.items()}
    target = material.target(rows[NEW].median, LATENCY, "ms")
    return [replace(rows[NEW], target=target), rows[KNOWN]]


def at_once(server: Server, material: Material, runs: int) -> list[Row]:
    """Time many clients who upload at once, and compare their answers with those of one alone."""
    many = CLIENTS * min(EACH, -(-(material.limit or CLIENTS * EACH) // CLIENTS))
    pictures = {name: material.new(2) for name in (CROWD, ALONE)}
    found: dict[str, list[bytes]] = {name: [] for name in pictures}
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(server.url)) for _ in range(CLIENTS)]
        asking = {CROWD: visitors, ALONE: visitors[:1]}

        def ask(name: str) -> float:
            requests = [uploading(picture) for picture in islice(pictures[name], many)]
            started = time.perf_counter()
            answers = all_at_once(asking[name], requests)
            seconds = time.perf_counter() - started
            found[name] += answers
            return seconds

        taken = interleaved(CROWD, {name: partial(ask, name) for name in asking}, runs)
    check(found[CROWD], found[ALONE])
    group = f"{many} uploads, {len(material.ids):,} points"
    rows = compared(group, taken, rate_of=("requests", many))
    rows[CROWD] = replace(rows[CROWD], note=f"all {len(found[CROWD]):,} answers as alone")
    return list(rows.values())


def check(crowd: Sequence[bytes], alone: Sequence[bytes]) -> None:
    """Compare the answers to the same uploads, and look into them.

    Raises:
        BenchError: one differs, has no hits, or is that of an indexed file.
    """
    different = sum(one != other for one, other in zip(crowd, alone, strict=True))
    if different:
        raise BenchError(
            f"{different:,} of {len(alone):,} uploads got another answer from {CLIENTS} clients at "
            "once than alone"
        )
    for answer in alone:
        hits = orjson.loads(answer)["hits"]
        if not hits or any(hit["identical"] for hit in hits):
            raise BenchError("an upload found nothing, or was an indexed file: nothing to measure")


def map_frames(server: Server, material: Material, runs: int) -> list[Row]:
    """Time the frames of the map while it is moved, where there is a browser."""
    points = len(material.ids)
    group = f"a frame of the map, {points:,} points"
    lacking = missing("playwright") + ([] if frames.chromium() else ["chromium"])
    if lacking:
        return [skipped(group, name, "ms", lacking) for name in MOVEMENTS]
    with Visitor(server.url) as visitor:
        visitor.map()
    with Worker[Any](frames.build, server.url, points) as worker:
        turns = {name: partial(worker, how) for name, how in MOVEMENTS.items()}
        taken = rounds("frames", turns, runs)
        browser = f"Chromium {worker(frames.VERSION)}"
    rows = [milliseconds(group, name, one, browser) for name, one in taken.items()]
    return [replace(row, target=material.target(row.median, FRAME, "ms")) for row in rows]


def memory(server: Server, material: Material) -> list[Row]:
    """Measure the server's memory before and after many requests by many clients."""
    many = min(REQUESTS, 10 * (material.limit or REQUESTS))
    group = f"memory of the server, {len(material.ids):,} points"
    requests = mixed(material)
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(server.url)) for _ in range(CLIENTS)]
        ask_all(visitors, islice(requests, many // 10), many // 10)
        before = resident_bytes(server.process)
        ask_all(visitors, islice(requests, many), many)
        after = resident_bytes(server.process)
    names = f"after a warm-up of {many // 10:,} requests", f"{many:,} requests later"
    if before is None or after is None:
        note = "skipped: it is read from /proc, which this system has not"
        return [Row(group, name, "MB", note=note) for name in names]
    target = material.target((after - before) / 1e6, GROWTH, "MB")
    note = f"grew by {(after - before) / 1e6:.1f} MB"
    return [
        Row(group, names[0], "MB", (before / 1e6,)),
        Row(group, names[1], "MB", (after / 1e6,), target=target, note=note),
    ]


def mixed(material: Material) -> Iterator[Request]:
    """Yield uploads, searches by an indexed image and pictures in turn, without end."""
    for picture, image in zip(material.new(3), itertools.cycle(material.ids)):
        yield uploading(picture)
        yield partial(Visitor.similar, image=image)
        yield partial(Visitor.image, image=image)


def uploading(picture: bytes) -> Request:
    """Return the request that uploads a picture."""
    return partial(Visitor.upload, picture=picture)


def ask_all(visitors: Sequence[Visitor], requests: Iterator[Request], total: int) -> None:
    """Deal requests to visitors, block by block."""
    with progress_bar("memory", total, unit="request") as bar:
        while block := list(islice(requests, BLOCK)):
            all_at_once(visitors, block)
            bar.update(len(block))


def milliseconds(group: str, name: str, taken: Sequence[Sequence[float]], note: str = "") -> Row:
    """Return the row of the medians of rounds, given in seconds; the slowest of all is noted."""
    slowest = f"slowest of {sum(map(len, taken)):,}: {max(map(max, taken)) * 1000:.0f} ms"
    values = tuple(median(one) * 1000 for one in taken)
    return Row(group, name, "ms", values, note=f"{slowest}; {note}" if note else slowest)
