"""How the cost of ingest and graph grows with the number of vectors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benches import synthetic
from tests.benches.children import Worker
from tests.benches.results import Row, Settings
from tests.benches.timing import interleaved, timed

ABOUT = (
    "Synthetic 32-d vectors, spread like embeddings of rock tiles. An ingest reads and hashes "
    "every picture, compares with the collection, takes its features from the cache, stores it and "
    "counts; a second one finds nothing to do. A graph is the whole export, ten neighbours each. "
    "Each size has as many runs as start within a minute, one at least."
)
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
BUDGET = 60.0
"""Seconds after which a size gets no further run."""

K = 10
INGEST, AGAIN = "ingest", "ingest, nothing new"
GRAPH = "graph"


def sizes(largest: int) -> list[int]:
    """Return the sizes up to ``largest``, which is the last one."""
    return [*(size for size in SIZES if size < largest), largest]


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time ingest and export at every size."""
    rows: list[Row] = []
    for size in sizes(settings.largest):
        folder = scratch / str(size)
        with Worker(build, folder, size) as worker:
            names = [INGEST, AGAIN, GRAPH]
            turns = {name: partial(worker, name) for name in names}
            what = f"{size:,} vectors"
            taken = interleaved(what, turns, settings.runs, warm_ups=0, budget=BUDGET)
        shutil.rmtree(folder)
        rows += [Row(name, name, "s", tuple(values), size=size) for name, values in taken.items()]
    return rows


def build(folder: Path, size: int) -> Callable[[str], float]:
    """Fill the feature cache and return what runs an operation by its name."""
    from geosim.ingest.store.factory import open_store
    from geosim.ingest.sync import sync
    from geosim.search.graph.export import export
    from geosim.trainer.working import Working

    working = Working(folder)
    synthetic.fill_cache(working, size)
    dataset, model = synthetic.dataset(size), synthetic.model(working.model)

    def ingest() -> None:
        with open_store(None, "geosim", working=folder) as store:
            sync(dataset, model, store, working)

    def graph() -> None:
        with open_store(None, "geosim", working=folder) as store:
            export(store, working.index, working.embeddings, K)

    def run(operation: str) -> float:
        if operation == GRAPH:
            return timed(graph)
        if operation == INGEST:
            shutil.rmtree(working.qdrant, ignore_errors=True)
        return timed(ingest)

    return run
