"""Conditions on facts hold for the same points in every engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import acos, cos, radians, sin
from typing import Any

import numpy as np
import pytest

from geosim.ingest.conditions import (
    All,
    AnyOf,
    Condition,
    DateRange,
    Match,
    Near,
    Not,
    Present,
    Range,
)
from geosim.ingest.schema import Filter, ModelRef, Payload, VectorQuery
from geosim.ingest.store.base import VectorStore

# The in-memory mode of qdrant-client says that it always searches exactly.
pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

ODD, ODD_PATH = "Tiefe ü [a.b] (m)", 'facts."Tiefe ü [a.b] (m)"'
KINDS = {"depth": "float", "hole": "keyword", ODD: "keyword", "taken": "datetime", "at": "geo"}
COUNT = 60


def facts(row: int) -> dict[str, Any]:
    """Facts of a point: every fifth has none, and every third no place."""
    if row % 5 == 0:
        return {}
    found: dict[str, Any] = {
        "depth": 2900 + row / 2 if row % 2 else 2900 + row,
        "hole": ("A-7", "B 1", "Grube Süd")[row % 3],
        ODD: f"it's {row % 4}",
        "taken": f"2024-05-{row % 28 + 1:02}" + ("T12:30:00" if row % 2 else ""),
    }
    if row % 3:
        found["at"] = {"lat": 51.0 + row / 100, "lon": 179.95 if row % 2 else -179.95}
    return found


@pytest.fixture
def described(store: VectorStore) -> VectorStore:
    store.create(ModelRef("0123456789abcdef" * 4, "efficientnet-lite0"))
    store.index_facts(KINDS)
    payloads = [
        Payload(
            path=f"rocks/{'gneiss/' if row % 2 else ''}{row:02}.jpg",
            label="gneiss" if row % 2 else "",
            sha256=f"{row:064x}",
            width=20 + row,
            height=30,
            dataset="rocks",
            facts=facts(row),
        )
        for row in range(COUNT)
    ]
    store.upsert(payloads, np.random.default_rng(0).normal(size=(COUNT, 32)).astype(np.float32))
    return store


def kilometres(at: dict[str, float], lat: float, lon: float) -> float:
    """Return the distance on a sphere."""
    a, b, across = map(radians, (at["lat"], lat, at["lon"] - lon))
    return 6371.0 * acos(sin(a) * sin(b) + cos(a) * cos(b) * cos(across))


Holds = Callable[[int, dict[str, Any]], bool]

CASES: dict[str, tuple[Condition, Holds]] = {
    "text": (Match("facts.hole", ("A-7",)), lambda _, has: has.get("hole") == "A-7"),
    "texts": (
        Match("facts.hole", ("A-7", "Grube Süd", "none")),
        lambda _, has: has.get("hole") in ("A-7", "Grube Süd"),
    ),
    "odd": (Match(ODD_PATH, ("it's 3",)), lambda _, has: has.get(ODD) == "it's 3"),
    "range": (
        Range("facts.depth", gte=2905, lt=2920),
        lambda _, has: 2905 <= has.get("depth", 0) < 2920,
    ),
    "bounds": (
        Range("facts.depth", gt=2906, lte=2920.5),
        lambda _, has: 2906 < has.get("depth", 0) <= 2920.5,
    ),
    "number": (Range("facts.depth", gte=2906, lte=2906), lambda _, has: has.get("depth") == 2906),
    "pixels": (Range("width", gte=50), lambda row, _: row >= 30),
    "class": (Match("class", ("gneiss",)), lambda row, _: row % 2 == 1),
    "no class": (Not(Present("class")), lambda row, _: row % 2 == 0),
    "day": (
        DateRange("facts.taken", gte="2024-05-04", lt="2024-05-05"),
        lambda _, has: has.get("taken", "")[:10] == "2024-05-04",
    ),
    "moment": (
        DateRange("facts.taken", gt="2024-05-04T12:29:59.5"),
        lambda _, has: has.get("taken", "") > "2024-05-04T12:29:59",
    ),
    "zone": (
        DateRange("facts.taken", gte="2024-05-04T14:30:00+02:00", lte="2024-05-04T12:30:00Z"),
        lambda _, has: has.get("taken") == "2024-05-04T12:30:00",
    ),
    "present": (Present("facts.at"), lambda _, has: "at" in has),
    "odd present": (Present(ODD_PATH), lambda _, has: ODD in has),
    "near": (  # across the date line
        Near("facts.at", 51.2, -179.95, 15_000),
        lambda _, has: "at" in has and kilometres(has["at"], 51.2, -179.95) < 15,
    ),
    "far": (Near("facts.at", -90, 0, 25_000_000), lambda _, has: "at" in has),
    "not": (Not(Match("facts.hole", ("A-7",))), lambda _, has: has.get("hole") != "A-7"),
    "and": (
        All((Present("facts.hole"), Not(Match("facts.hole", ("A-7",))), Range("width", lt=60))),
        lambda row, has: has.get("hole", "A-7") != "A-7" and row < 40,
    ),
    "or": (
        AnyOf((Match("facts.hole", ("A-7",)), Not(AnyOf((Present("facts.at"), Present("class")))))),
        lambda row, has: has.get("hole") == "A-7" or ("at" not in has and row % 2 == 0),
    ),
}


def test_conditions_select_what_python_does(described: VectorStore) -> None:
    vector = np.random.default_rng(1).normal(size=32).astype(np.float32)
    (every,) = described.query([VectorQuery(vector)], COUNT)
    for name, (condition, holds) in CASES.items():
        expected = {row for row in range(COUNT) if holds(row, facts(row))}
        assert 0 < len(expected) < COUNT, name
        where = Filter(where=condition)
        assert described.count(where) == len(expected), name
        assert described.has(where), name
        points = [one for batch in described.scan(where, vectors=False) for one in batch]
        assert {one.payload.width - 20 for one in points} == expected, name
        (found,) = described.query([VectorQuery(vector, where)], COUNT)
        paths = [one.payload.path for one in every if one.payload.width - 20 in expected]
        assert [one.payload.path for one in found] == paths, name


def test_a_condition_goes_with_the_other_filters(described: VectorStore) -> None:
    hole = Match("facts.hole", ("A-7",))
    rows = [row for row in range(COUNT) if facts(row).get("hole") == "A-7" and row % 2]
    where = Filter(label="gneiss", where=hole)
    assert described.count(where) == len(rows)
    (first, *_) = next(described.scan(where, vectors=False))
    less = Filter(label="gneiss", where=hole, exclude=frozenset({first.payload.id}))
    assert described.count(less) == len(rows) - 1
    none = Filter(where=Match("facts.none", ("A-7",)))
    assert (described.count(none), described.has(none)) == (0, False)
    other = Filter(label="schist", where=hole)
    assert described.has(other) == bool(described.count(other))


def test_a_deep_and_long_condition_is_answered(described: VectorStore) -> None:
    condition: Condition = Match("facts.hole", ("A-7",))
    for _ in range(32):
        condition = Not(AnyOf((condition, Match("facts.hole", ("none",)))))
    expected = sum(facts(row).get("hole") == "A-7" for row in range(COUNT))
    assert described.count(Filter(where=condition)) == expected
    many = AnyOf(tuple(Range("facts.depth", gte=n, lte=n) for n in range(2900, 3900)))
    assert described.count(Filter(where=many)) == sum(
        facts(row).get("depth", 0.5) % 1 == 0 for row in range(COUNT)
    )


def test_facets_and_ends_are_of_the_points_that_match(described: VectorStore) -> None:
    every = [facts(row) for row in range(COUNT)]
    for where, chosen in (
        (None, every),
        (Filter(where=Match("facts.hole", ("A-7",))), [f for f in every if f.get("hole") == "A-7"]),
        (Filter(where=Range("facts.depth", gt=9999)), []),
    ):
        for name, path in (("hole", "facts.hole"), (ODD, ODD_PATH)):
            counts = Counter(one[name] for one in chosen if one)
            expected = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
            assert described.facet(path, 10, where) == expected
        for name in ("depth", "taken"):
            values = [one[name] for one in chosen if one]
            ends = described.ends(f"facts.{name}", where)
            found = None if ends is None else [one.facts[name] for one in ends]
            assert found == ([min(values), max(values)] if values else None)
    assert len(described.facet("facts.hole", 2)) == 2
