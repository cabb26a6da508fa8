"""A Qdrant server at growing sizes: storing, indexing, searching, reading, memory and disk."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import click
import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from geosim.ingest.schema import SCORE_DIGITS, Filter, ModelRef, VectorQuery
from geosim.ingest.store import server_search
from geosim.ingest.store.server import ServerStore, connect
from geosim.ingest.store.server_settings import read_settings
from geosim.trainer.files import allocated_bytes
from geosim.trainer.progress import progress_bar
from tests.benches import common, synthetic

ABOUT = (
    "A collection on a Qdrant server, as an ingest stores it. The server indexes it after all is "
    "stored, so that no point is indexed twice. Queries are vectors of pictures that are not "
    "stored, one at a time, ten hits each; the filter is one of six classes. Recall is of the "
    "exact ten, where equal scores count as equal."
)
POINTS = 1_000_000
QUERIES = 100
K = 10
READ = 200_000
"""Points that are read at most, as an export reads them."""

FIRST_QUERY = 1 << 40
"""Number of the first picture that is not stored, of the first block beyond all sizes."""

LONGEST_S = 7200.0
"""Seconds to wait for the index at most."""


def measure(settings: common.Settings, _: Path) -> list[common.Row]:
    """Store points, let the server index them, and search."""
    if settings.url is None:
        raise common.BenchError("this part needs a Qdrant server; name it with --url")
    server_search.EXACT_POINTS = 0  # the index answers at all sizes
    made = read_settings(settings.collection_config, {})
    name = f"geosim-bench-{uuid.uuid4().hex[:12]}"
    with connect(settings.url, os.environ.get("QDRANT_API_KEY"), name, settings=made) as store:
        try:
            store.create(ModelRef(synthetic.FINGERPRINT, synthetic.NAME))
            return list(_measure(store, settings.images or POINTS, settings.url))
        finally:
            store.drop()


def _measure(store: ServerStore, size: int, url: str) -> Iterator[common.Row]:
    """Store ``size`` points, and yield the figures."""
    group = f"{size:,} points"

    def row(name: str, unit: str, *values: float) -> common.Row:
        click.echo(f"{group}: {name} {np.median(values):.4g} {unit}", err=True)
        return common.Row(group, name, unit, values)

    client, process = QdrantClient(url, timeout=600), _process_at(urlsplit(url).port or 6333)
    usual = client.get_collection(store.name).config.optimizer_config.indexing_threshold
    _index_from(client, store.name, 0)  # not at all
    wall, own, theirs = time.perf_counter(), time.process_time(), _processor(process)
    _store(store, size)
    yield row("stored", "points/s", size / (time.perf_counter() - wall))
    yield row("storing, in this process", "us of processor/point", _us(own, size))
    if process is not None:
        yield row("storing, in the server", "s of processor", _processor(process) - theirs)
    theirs = _processor(process)
    _index_from(client, store.name, usual)
    indexed, seconds = _wait_for_index(store)
    yield row("then indexed within", "s", seconds)
    if process is not None:
        yield row("indexing, in the server", "s of processor", _processor(process) - theirs)
    yield row("in the HNSW index", "%", 100 * indexed / size)
    yield from _searches(store, row, process)
    began = time.perf_counter()
    counted = store.count(), sum(store.values("class").values())
    yield row("counting all, and by class", "s", time.perf_counter() - began)
    if counted != (size, size):
        raise common.BenchError(f"the server holds {counted} points, expected {size}")
    wall, own, read = time.perf_counter(), time.process_time(), 0
    for batch in store.scan(vectors=True):
        read += len(batch)
        if read >= READ:
            break
    yield row("read, as for an export", "points/s", read / (time.perf_counter() - wall))
    yield row("reading, in this process", "us of processor/point", _us(own, read))
    if process is not None:
        for name, kilobytes in _memory(process).items():
            yield row(f"server, {name}", "MB", kilobytes / 1000)
        folder = process / "cwd" / "storage" / "collections" / store.name
        yield row("server, disk", "MB", allocated_bytes(folder) / 1e6)


def _us(began: float, points: int) -> float:
    return 1e6 * (time.process_time() - began) / max(1, points)


def _index_from(client: QdrantClient, name: str, kilobytes: int | None) -> None:
    """Let the server index segments of more kilobytes of vectors; 0 for none."""
    wanted = models.OptimizersConfigDiff(indexing_threshold=kilobytes)
    client.update_collection(name, optimizers_config=wanted)


def _store(store: ServerStore, size: int) -> None:
    with progress_bar("storing", size) as bar:
        for numbers, vectors in synthetic.blocks(size):
            payloads = [synthetic.payload(number) for number in numbers]
            store.upsert(payloads, vectors)
            bar.update(len(numbers))


def _wait_for_index(store: ServerStore) -> tuple[int, float]:
    """Return the number of indexed points once the server optimizes no more, and the seconds."""
    began, calm = time.perf_counter(), 0
    while True:
        found = store.health().collection
        if found is None or time.perf_counter() - began > LONGEST_S:
            raise common.BenchError(f"the server did not finish its index within {LONGEST_S:g} s")
        calm = calm + 1 if found.status == "green" else 0
        if calm == 3:
            return found.indexed or 0, time.perf_counter() - began
        time.sleep(0.5)


def _searches(
    store: ServerStore, row: Callable[..., common.Row], process: Path | None
) -> Iterator[common.Row]:
    (_, vectors), *_ = synthetic.blocks(FIRST_QUERY + QUERIES, FIRST_QUERY)
    for what, where in {
        "": [Filter()] * QUERIES,
        ", of a class": [Filter(label=synthetic.label(one)) for one in range(QUERIES)],
    }.items():
        answers = []
        for how, exact in ("exact", True), ("by index", False):
            theirs = _processor(process)
            scores, seconds = _search(store, vectors, where, exact=exact)
            yield row(f"{how}{what}", "ms", *seconds)
            if process is not None:
                spent = 1000 * (_processor(process) - theirs) / QUERIES
                yield row(f"{how}{what}, in the server", "ms of processor", spent)
            answers.append(scores)
        pairs = zip(*answers, strict=True)
        right = sum(sum(score >= one[-1] for score in other) for one, other in pairs)
        yield row(f"recall at {K}{what}", "", right / sum(map(len, answers[0])))


def _search(
    store: ServerStore, vectors: NDArray[np.float32], where: Sequence[Filter], *, exact: bool
) -> tuple[list[list[float]], list[float]]:
    """Return the scores of each query's hits, and its milliseconds."""
    scores, seconds = list[list[float]](), list[float]()
    for vector, only in islice(zip(vectors, where, strict=True), QUERIES):
        began = time.perf_counter()
        (hits,) = store.query([VectorQuery(vector, only, exact=exact)], K)
        seconds.append(1000 * (time.perf_counter() - began))
        scores.append([round(hit.score, SCORE_DIGITS) for hit in hits])
    return scores, seconds


def _process_at(port: int) -> Path | None:
    """Return the folder in /proc of the process that listens on a port of this machine, if any."""
    listening = {
        f"socket:[{fields[9]}]"
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        if (fields := line.split())[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # another user's, or ended
            if any(str(one.readlink()) in listening for one in (process / "fd").iterdir()):
                return process
    return None


def _processor(process: Path | None) -> float:
    """Return the processor seconds that a process has used; 0 for none."""
    if process is None:
        return 0.0
    fields = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(process: Path) -> dict[str, int]:
    """Return the resident kilobytes of a process: all, and without pages of files."""
    lines = (process / "status").read_text(encoding="utf-8").splitlines()
    found = {line.partition(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    return {"resident": int(found["VmRSS"]), "resident, no pages of files": int(found["RssAnon"])}
