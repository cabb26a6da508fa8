"""Facts of many pictures in the embedded engine: updates from a table, and filtered searches."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from geosim.ingest.conditions import All, Match, Near, Range
from geosim.ingest.schema import Filter, VectorQuery
from geosim.ingest.store.factory import open_store
from geosim.ingest.sync import sync
from geosim.trainer.data.facts import Facts
from geosim.trainer.data.sources import Record, Stamp
from geosim.trainer.facts.table import table_facts
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.working import Working
from tests.benches import synthetic
from tests.benches.common import Row, Settings, milliseconds, timed, worker

ABOUT = (
    "Synthetic 32-d vectors with 20 facts each, which a CSV has: 8 numbers, 7 texts, 3 dates, yes "
    "or no, and a location, all with a payload index. An ingest reads the CSV, finds the hash of "
    "every picture in the cache but for the first time, compares with the collection and writes "
    "what differs. A search is exact, ten hits, one at a time, in an open collection. One round."
)
POINTS = 1_000_000
QUERIES = 50
K = 10

Columns = Mapping[str, Callable[[int], str]]


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time the first ingest, one that finds nothing new, two updates, and the searches."""
    size = settings.limit(POINTS)
    boxes = partial(_box, share=-(-size // 20))
    ingests: dict[str, Columns] = {
        "first ingest": {},
        "nothing new": {},
        "one column, 20 values": {"text_0": boxes},
        "one column, all values differ": {"text_0": boxes, "number_0": _depth},
    }
    rows = []
    with worker(partial, timed) as run:
        run(synthetic.fill_cache, Working(scratch), size)
        table, title = scratch / "samples.csv", f"table of {size:,} rows"
        for name, changed in ingests.items():
            run(write_table, table, size, changed)
            rows.append(Row(title, name, "s", [run(ingest, scratch, size, table)]))
        rows.append(Row(title, "reading the CSV alone", "s", [run(read_facts, table, size)]))
    with worker(searches, scratch) as search:
        for name, filters in FILTERS.items():
            taken = [search(filters, number) for number in range(-2, QUERIES)][2:]
            rows += milliseconds(f"search among {size:,} points", {name: taken})
    return rows


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


def ingest(folder: Path, size: int, table: Path) -> None:
    """Ingest the data set whose features are cached in ``folder``, with a table."""
    facts, working = read_facts(table, size), Working(folder)
    data = replace(synthetic.dataset(size), facts=facts, source=_Settled())
    with open_store(None, "geosim", working=folder) as store:
        sync(data, synthetic.model(working.model), store, working)


FILTERS: dict[str, Filter] = {
    "no filter": Filter(),
    "a class, 17 % of the points": Filter(label=synthetic.label(0)),
    "a range of numbers, 10 %": Filter(where=Range("facts.number_1", gte=0, lt=1250)),
    "a text, 1 %": Filter(where=Match("facts.text_1", ("value 31",))),
    "a text and a range, 0.1 %": Filter(
        where=All((Match("facts.text_1", ("value 31",)), Range("facts.number_1", gte=0, lt=1250)))
    ),
    "a text, 0.1 %": Filter(where=Match("facts.text_2", ("value 31",))),
    "within 500 m": Filter(where=Near("facts.location", 51.5, 0.5, 500)),
}


def searches(folder: Path) -> Callable[[Filter, int], float]:
    """Return a function that times one search in the collection of a folder."""
    store = open_store(None, "geosim", working=folder)

    def search(where: Filter, number: int) -> float:
        vector = np.random.default_rng([3, number + 2]).normal(size=EMBEDDING_DIM)
        return timed(store.query, [VectorQuery(vector.astype(np.float32), where)], K)

    return search
