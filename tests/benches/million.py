"""Commands on large collections: whole processes, their seconds, processor time and memory."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from geosim.ingest.schema import Filter, ModelRef, VectorQuery
from geosim.ingest.store.factory import open_store
from geosim.search.explain import novelty_threshold
from geosim.search.facets import read_facets
from geosim.trainer.working import Working
from tests.benches import common, synthetic
from tests.benches.memory import read_alone

ABOUT = (
    "Synthetic 32-d vectors in the embedded engine. Seconds of whole processes, by the clock and "
    "of the processor, and their peak resident memory, of which the engine's files that are mapped "
    "are a part; `reading alone` is the engine without geosim. Queries are those of an open "
    "collection, one at a time, median of 20."
)
SIZES = (10_000, 30_000, 100_000, 1_000_000)
QUERIES = 20
K = 10

COMMANDS = {
    "search of an indexed picture": ("search", synthetic.path(1), "--format", "jsonl"),
    "status": ("status",),
    "export": ("export",),
    "outliers": ("outliers", "--format", "csv"),
}


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Measure all commands at every size."""
    sizes = settings.sizes(SIZES)
    return [row for size in sizes for row in _measure(settings.runs, scratch / str(size), size)]


def _measure(runs: int, folder: Path, size: int) -> list[common.Row]:
    title = f"{size:,} points"
    stored = common.in_process(partial(common.timed, fill), folder, size)
    rows = [common.Row(title, "storing the points", "s", [stored])]
    for name, arguments in COMMANDS.items():
        line = (*common.GEOSIM, *arguments, "--working", folder)
        some = [common.used(*line) for _ in range(runs)]
        rows += _rows(title, name, some)
    shard = Working(folder).qdrant / "geosim"
    alone = [common.used("-m", "tests.benches.million", shard) for _ in range(runs)]
    rows += _rows(title, "reading alone", alone)
    with common.worker(queries, folder) as query:
        for name in ("exact", "of a class"):
            rows += common.milliseconds(title, {f"query, {name}": [query(name)]})
        for name in ("facets", "novelty"):
            rows.append(common.Row(title, name, "s", [query(name)]))
    return rows


def _rows(title: str, name: str, some: list[tuple[float, float, float]]) -> list[common.Row]:
    units = {"": "s", ", processor": "s", ", peak memory": "GB"}
    figures = zip(*some, strict=True)
    return [
        common.Row(title, f"{name}{what}", unit, one)
        for (what, unit), one in zip(units.items(), figures, strict=True)
    ]


def fill(folder: Path, size: int) -> None:
    """Store points as an ingest does."""
    model = synthetic.model(Working(folder).model)
    with open_store(None, "geosim", working=folder) as store:
        store.create(ModelRef(model.fingerprint, model.spec.name))
        for numbers, vectors in synthetic.blocks(size):
            store.upsert([synthetic.payload(number) for number in numbers], vectors)


def queries(folder: Path) -> Callable[[str], float]:
    """Return a function that times one kind of query in an open collection."""
    store = open_store(None, "geosim", working=folder)
    _, vectors = next(synthetic.blocks(QUERIES))
    wheres = {"exact": Filter(), "of a class": Filter(label=synthetic.label(0))}

    def query(name: str) -> float:
        if name == "facets":
            return common.timed(read_facets, store, None, 20, 20)
        if name == "novelty":
            shutil.rmtree(Working(folder).derived, ignore_errors=True)  # it is kept there
            return common.timed(novelty_threshold, store, Working(folder))
        asked = [VectorQuery(vector, wheres[name]) for vector in vectors]
        return median(common.timed(store.query, [one], K) for one in asked)

    return query


if __name__ == "__main__":  # the engine alone
    read_alone(Path(sys.argv[1]))
