"""How the cost of ingest and graph grows with the number of vectors."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from geosim.ingest.store.factory import open_store
from geosim.ingest.sync import sync
from geosim.trainer.files import replacing
from geosim.trainer.working import Working
from tests.benches import synthetic
from tests.benches.common import Row, Settings, interleaved, timed, worker
from tests.benches.graph import export

ABOUT = (
    "Synthetic 32-d vectors, distributed like embeddings of rock tiles. An ingest reads and hashes "
    "every picture, compares with the collection, takes its features from the cache and stores it; "
    "a second one finds nothing to do. A graph is the whole export, ten neighbours each. A size "
    "gets as many rounds as start within a minute. Plot: growth.png."
)
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
BUDGET = 60.0
"""Seconds after which a size gets no further round."""

FITTED_FROM = 10_000
"""Least size in the fit of the exponent: constant costs dominate below."""


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time ingest and export at every size, and draw the plot."""
    by_size = {
        size: _measure(settings, scratch / str(size), size) for size in settings.sizes(SIZES)
    }
    _plot(by_size, settings.output / "growth.png")
    return [row for rows in by_size.values() for row in rows]


def _measure(settings: Settings, folder: Path, size: int) -> list[Row]:
    working = Working(folder)
    with worker(partial, timed) as run:
        run(synthetic.fill_cache, working, size)

        def ingest_all() -> float:
            shutil.rmtree(working.qdrant, ignore_errors=True)
            return run(ingest, folder, size)

        turns = {
            "ingest": ingest_all,
            "ingest, nothing new": partial(run, ingest, folder, size),
            "graph": partial(run, export, folder),
        }
        title = f"{size:,} vectors"
        taken = interleaved(title, turns, settings.runs, warm_ups=0, budget=BUDGET)
    shutil.rmtree(folder)
    return [Row(title, name, "s", values) for name, values in taken.items()]


def ingest(folder: Path, size: int) -> None:
    """Ingest the data set whose features are cached in ``folder``."""
    working = Working(folder)
    with open_store(None, "geosim", working=folder) as store:
        sync(synthetic.dataset(size), synthetic.model(working.model), store, working)


def _plot(by_size: dict[int, list[Row]], path: Path) -> None:
    """Draw median seconds over sizes, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.add_subplot(xlabel="vectors", ylabel="seconds", title="How the costs grow")
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = list(by_size)
    for rows in zip(*by_size.values(), strict=True):
        medians = [row.median for row in rows]
        label = rows[0].name
        large = [size for size in sizes if size >= FITTED_FROM]
        if len(large) > 1:
            slope = np.polyfit(np.log(large), np.log(medians[-len(large) :]), 1)[0]
            label += f", as n^{slope:.2f}"
        axes.plot(sizes, medians, marker="o", label=label)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
