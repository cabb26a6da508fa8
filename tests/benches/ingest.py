"""An ingest of all pictures: with their features cached, and from nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.images import prepare
from geosim.trainer.model import load_model
from geosim.trainer.runtime.machine import choose_pace, usable_cores
from tests.benches import common, inputs

ABOUT = (
    "`geosim ingest DATA` into a new collection, the whole process: with all features cached, and "
    "with none. Embedding alone is the same runtime on the same pictures, decoded before the clock "
    "starts."
)
CHUNK = 1024
"""Pictures decoded at once: 150 MB."""


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Time ingests with warm and with cold features."""
    source, data = inputs.working_folder(settings), inputs.pictures(settings)
    count = len(open_dataset(data).records)
    warm = inputs.copied(source, scratch / "warm", "model", "features")
    cold = inputs.copied(source, scratch / "cold", "model")

    def ingest(working: Path, *stale: str) -> float:
        for name in stale:
            shutil.rmtree(working / name, ignore_errors=True)
        return common.timed(common.python, *common.GEOSIM, "ingest", data, "--working", working)

    cached = {common.OURS: lambda: ingest(warm, "qdrant")}
    seconds = common.interleaved("ingest, cached", cached, settings.runs)
    rows = common.compared(f"{count:,} images, features cached", seconds)
    with common.worker(embedding_alone, data, source) as embed:
        turns = {
            common.OURS: lambda: ingest(cold, "qdrant", "features"),
            "embedding alone": embed,
        }
        seconds = common.interleaved("ingest from nothing", turns, settings.runs, warm_ups=0)
    return [*rows, *common.compared(f"{count:,} images, from nothing", seconds)]


def embedding_alone(data: Path, working: Path) -> Callable[[], float]:
    """Build a function that embeds all pictures and returns the seconds of that alone."""
    dataset, model = open_dataset(data), load_model(working / "model")
    backbone = model.extractor(working / "features").backbone

    def decode(number: int) -> NDArray[np.uint8]:
        record = dataset.records[number]
        return prepare(dataset.source.read(record), model.spec.input_size).pixels

    def run() -> float:
        seconds = 0.0
        with ThreadPoolExecutor(choose_pace(usable_cores(), None, 224).decode_threads) as pool:
            for start in range(0, len(dataset.records), CHUNK):
                numbers = range(start, min(start + CHUNK, len(dataset.records)))
                seconds += common.timed(backbone, np.stack(list(pool.map(decode, numbers))))
        return seconds

    return run
