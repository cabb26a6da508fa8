"""An ingest of all pictures: with their features cached, and from nothing."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.images import prepare
from geosim.trainer.features import DECODERS
from geosim.trainer.model import load_model
from tests.benches.children import BenchError, Worker, command
from tests.benches.prepared import copied, pictures, working_folder
from tests.benches.results import (
    FULL_SIZE,
    OURS,
    Row,
    Settings,
    Target,
    compared,
    ratio,
)
from tests.benches.timing import Round, interleaved

ABOUT = (
    "`geosim ingest DATA` into a new collection, from the start of its process to its end: with "
    "all features cached, and with none. Embedding alone is the same runtime on the same pictures, "
    "decoded before the clock starts: what an ingest from nothing cannot do without."
)
ALONE = "embedding alone"
CHUNK = 1024
"""Pictures decoded and held at once: 150 MB."""


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time ingests with warm and with cold features."""
    if settings.working is not None and settings.data is None:
        raise BenchError("ingest needs the pictures of --working; name them with --data")
    source, data = working_folder(settings), pictures(settings)
    working = copied(source, scratch / "warm", features=True)
    count = len(open_dataset(data).records)
    numbers = itertools.count()

    def warm() -> float:
        shutil.rmtree(working / "qdrant")
        return ingest(data, working, embedded=False)

    def cold() -> float:
        folder = copied(source, scratch / f"cold-{next(numbers)}")
        shutil.rmtree(folder / "qdrant")
        seconds = ingest(data, folder, embedded=True)
        shutil.rmtree(folder)
        return seconds

    cached = interleaved("ingest, features cached", {OURS: warm}, settings.runs)
    rows = compared(f"{count:,} images, features cached", cached)
    with Worker[float](embedding_alone, data, source) as worker:
        turns: dict[str, Round] = {OURS: cold, ALONE: worker}
        nothing = interleaved("ingest from nothing", turns, settings.runs, warm_ups=0)
    whole = compared(f"{count:,} images, from nothing", nothing)
    if count >= FULL_SIZE:
        rows[OURS] = replace(rows[OURS], target=Target(rows[OURS].median, 20.0, "s"))
        times = ratio(nothing[OURS], nothing[ALONE])
        whole[ALONE] = replace(whole[ALONE], target=Target(times, 1.15, "x"))
    return [*rows.values(), *whole.values()]


def ingest(data: Path, working: Path, *, embedded: bool) -> float:
    """Ingest into a new collection; return the seconds of the whole process.

    Raises:
        BenchError: the backbone ran though features were to be cached, or did not run.
    """
    seconds, output = command("geosim.ingest.cli.ingest", "ingest", data, "--working", working)
    found = re.search(r"([\d,]+) embedded by the backbone", output)
    if found is None or (found[1] != "0") != embedded:
        raise BenchError(f"an ingest said: {output.strip().splitlines()[-1]}")
    return seconds


def embedding_alone(data: Path, working: Path) -> Callable[[], float]:
    """Build what embeds all pictures and counts the seconds of that alone."""
    dataset, model = open_dataset(data), load_model(working / "model")
    backbone = model.extractor(working / "features").backbone

    def decode(number: int) -> NDArray[np.uint8]:
        record = dataset.records[number]
        return prepare(dataset.source.read(record), model.spec.input_size).pixels

    def run() -> float:
        seconds = 0.0
        with ThreadPoolExecutor(DECODERS) as pool:
            for start in range(0, len(dataset.records), CHUNK):
                numbers = range(start, min(start + CHUNK, len(dataset.records)))
                images = np.stack(list(pool.map(decode, numbers)))
                started = time.perf_counter()
                backbone(images)
                seconds += time.perf_counter() - started
        return seconds

    return run
