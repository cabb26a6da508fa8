"""Facts of many pictures in the embedded engine: updates from a table, and filtered searches."""

from __future__ import annotations

import csv
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import INDEX_KINDS, ModelRef, VectorQuery
from geosim.ingest.store.factory import open_store
from geosim.ingest.sync import sync
from geosim.search.facets import read_facets
from geosim.search.scope import open_scope
from geosim.search.types import SearchOptions
from geosim.trainer.data.dataset import blocks
from geosim.trainer.data.facts import Facts
from geosim.trainer.data.sources import Record, Stamp
from geosim.trainer.facts.table import table_facts
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.working import Working
from tests.benches import synthetic
from tests.benches.common import BenchError, Row, Settings, in_process, milliseconds, timed, worker

ABOUT = (
    "Synthetic 32-d vectors with 20 facts each, which a CSV has: 8 numbers, 7 texts, 3 dates, yes "
    "or no, and a location, all with a payload index. The points are stored in bulk, with the "
    "payloads and indexes that an ingest leaves; the first ingest after it fills the cache of "
    "hashes and changes no point. Each ingest is a process of its own: it reads the CSV, finds the "
    "hash of every picture in the cache, compares with the collection and writes what differs; the "
    "data set is not listed, and no picture is read. A search is exact, ten hits, one at a time, "
    "in an open collection, from the expression to the hits. One round."
)
POINTS = 1_000_000
QUERIES = 20
K = 10

Columns = Mapping[str, Callable[[int], str]]


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time an ingest that finds nothing new, updates, and searches; build the collection first."""
    size = settings.limit(POINTS)
    table, title = scratch / "samples.csv", f"table of {size:,} rows"
    boxes = partial(_box, share=-(-size // 20))
    few = partial(_few, every=100)
    ingests: dict[str, Columns] = {
        "first ingest after it": {},
        "nothing new": {},
        "one column, 1 % of the rows": {"text_2": few},
        "one column, 20 values": {"text_2": few, "text_0": boxes},
        "one column, all values differ": {"text_2": few, "text_0": boxes, "number_0": _depth},
    }
    write_table(table, size, {})
    rows = [Row(title, "storing the points", "s", [in_process(timed, fill, scratch, size, table)])]
    for name, changed in ingests.items():
        write_table(table, size, changed)
        rows += _rows(title, name, in_process(_used, ingest, scratch, size, table))
    rows += _rows(title, "reading the CSV alone", in_process(_used, read_facts, table, size))
    with worker(searches, scratch) as search:
        for where in WHERE:
            taken = [search(where, number) for number in range(-2, QUERIES)][2:]
            rows += milliseconds(f"search among {size:,} points", {where or "no filter": taken})
        rows.append(Row("facets", "all, 22 fields", "s", [search(None, None)]))
    return rows


def _used(work: Callable[..., object], *arguments: object) -> tuple[float, float, float]:
    """Return the seconds of a call, those of the processor, and the process's peak memory in GB."""
    started, before = time.perf_counter(), time.process_time()
    work(*arguments)
    taken = time.perf_counter() - started, time.process_time() - before
    return *taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _rows(title: str, name: str, used: tuple[float, float, float]) -> list[Row]:
    units = {"": "s", ", processor": "s", ", peak memory": "GB"}
    return [
        Row(title, f"{name}{what}", unit, [figure])
        for (what, unit), figure in zip(units.items(), used, strict=True)
    ]


def _few(number: int, every: int) -> str:
    return f"value {number * 31 % 1000 if number % every else 'new'}"


def _box(number: int, share: int) -> str:
    return f"box {number // share}"


def _depth(number: int) -> str:
    return f"{number / 8 + 1}"


def columns() -> dict[str, Callable[[int], str]]:
    """Return the 20 facts, functions of a picture's number; two make the location."""
    facts: dict[str, Callable[[int], str]] = {}
    for one in range(8):
        facts[f"number_{one}"] = lambda n, one=one: f"{(n * 7 + one * 13) % 100_003 / 8}"
    for one in range(7):
        facts[f"text_{one}"] = lambda n, one=one: f"value {n * 31 % 10 ** (one % 5 + 1)}"
    for one in range(3):
        facts[f"date_{one}"] = lambda n, one=one: f"20{10 + (n + one) % 15}-0{1 + n % 9}-1{n % 9}"
    facts["fresh"] = lambda n: "yes" if n % 3 else "no"
    facts["latitude"] = lambda n: f"{51 + n % 1000 / 1000}"
    facts["longitude"] = lambda n: f"{n // 1000 % 1000 / 1000}"
    return facts


def write_table(path: Path, size: int, changed: Columns) -> None:
    """Write the facts of the first ``size`` pictures as CSV."""
    facts = columns() | dict(changed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *facts])
        for number in range(size):
            writer.writerow([synthetic.path(number), *(value(number) for value in facts.values())])


def read_facts(path: Path, size: int) -> Facts:
    """Return the facts of a table."""
    paths = [record.path for record in synthetic.dataset(size).records]
    layer, _ = table_facts(path, paths, None, {})
    return Facts((layer,))


class _Settled(synthetic.PathSource):
    """Pictures that were never changed."""

    def stamp(self, _: Record) -> Stamp:
        return 1, 1, 1, 1


def fill(folder: Path, size: int, table: Path) -> None:
    """Store the pictures that `ingest` finds, in batches of the engine's size, sorted by path."""
    model, facts = synthetic.model(Working(folder).model), read_facts(table, size)
    with open_store(None, "geosim", working=folder) as store:
        store.create(ModelRef(model.fingerprint, model.spec.name))
        store.index_facts({name: INDEX_KINDS[kind] for name, kind in facts.types.items()})
        vectors = np.concatenate([some for _, some in synthetic.blocks(size)])
        for numbers in blocks(sorted(range(size), key=synthetic.path), synthetic.BLOCK):
            payloads = map(synthetic.payload, numbers)
            of_them = [replace(one, facts=facts.of(one.path)) for one in payloads]
            store.upsert(of_them, vectors[list(numbers)])


def ingest(folder: Path, size: int, table: Path) -> None:
    """Ingest the data set of which all is stored, with a table."""
    facts, working = read_facts(table, size), Working(folder)
    data = replace(synthetic.dataset(size), facts=facts, source=_Settled())
    with open_store(None, "geosim", working=folder) as store:
        report = sync(data, synthetic.model(working.model), store, working)
        if report.added or report.changed:
            raise BenchError(f"{report.added:,} images were added, {report.changed:,} changed")


WHERE = (
    None,
    f"class = {synthetic.label(0)}",
    "number_1 < 12.5",
    "number_1 < 125",
    "number_1 < 1250",
    "number_1 < 6250",
    "text_3 = 'value 31'",
    "text_2 = 'value 31'",
    "text_1 = 'value 31'",
    "text_0 = 'box 3'",
    "text_1 = 'value 31' and number_1 < 1250",
    "text_0 = 'box 3' and not text_2 = 'value 31'",
    "fresh = yes and date_0 >= 2015-01-01 and date_0 < 2016-01-01",
    "near(51, 0, 500 m)",
    "near(51, 0, 5 km)",
)
"""Expressions of searches."""


def searches(folder: Path) -> Callable[[str | None, int | None], float]:
    """Return a function that times a search in the collection of a folder, or its facets."""
    store = open_store(None, "geosim", working=folder)

    def find(where: str | None, vector: NDArray[np.float32]) -> None:
        scope = open_scope(store, SearchOptions(where=where))
        if len(store.query([VectorQuery(vector, scope.where)], K)[0]) < 1:
            raise BenchError(f"nothing matches {where}")

    def search(where: str | None, number: int | None) -> float:
        if number is None:
            return timed(read_facets, store, where, 20, 22)
        vector = np.random.default_rng([3, number + 2]).normal(size=EMBEDDING_DIM)
        return timed(find, where, vector.astype(np.float32))

    return search
