"""The expressions of conditions on facts: what they mean, and what is told of wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
from geosim.ingest.schema import Payload, Point
from geosim.ingest.store.edge import EdgeStore
from geosim.search.fields import Fields
from geosim.search.syntax import MAX_LENGTH
from geosim.search.where import parse_where
from geosim.trainer.errors import ExpressionError

KINDS = {
    "depth": "float",
    "hole": "keyword",
    "Tiefe ü (m)": "float",
    "it's": "keyword",
    "and": "keyword",
    "has": "keyword",
    "taken": "datetime",
    "location": "geo",
    "width": "float",
    "class": "keyword",
}


class Described(EdgeStore):
    """Has indexes of facts, and nothing else."""

    def __init__(self, kinds: Mapping[str, str], points: list[Point] | None = None) -> None:
        self.kinds, self.points = kinds, points or []

    def fact_indexes(self) -> dict[str, str]:
        return dict(self.kinds)

    def scan(self, *_: Any, **__: Any) -> Iterator[list[Point]]:
        if self.points:
            yield self.points

    def sample(self, count: int, **_: Any) -> list[Point]:
        return self.points[:count]

    def close(self) -> None:
        pass


def parse(text: str, kinds: Mapping[str, str] = KINDS) -> Condition:
    return parse_where(text, Fields(Described(kinds)))


def refused(text: str, kinds: Mapping[str, str] = KINDS) -> tuple[int, str]:
    with pytest.raises(ExpressionError) as caught:
        parse(text, kinds)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return caught.value.place, message


A7 = Match("facts.hole", ("A-7",))
DEEP = Range("facts.depth", gte=2900)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hole = A-7", A7),
        ('hole=="A-7"', A7),
        (" ( (hole = 'A-7') ) ", A7),
        ("depth >= 2900", DEEP),
        ('depth>="2900"', DEEP),
        ("facts.depth >= +29e2", DEEP),
        ("depth < -.5", Range("facts.depth", lt=-0.5)),
        ("depth = 3", Range("facts.depth", gte=3, lte=3)),
        ("hole != A-7", All((Present("facts.hole"), Not(A7)))),
        ("hole <> A-7", All((Present("facts.hole"), Not(A7)))),
        ("depth >= 2900 AND hole = A-7", All((DEEP, A7))),
        (
            "not hole = A-7 or depth >= 2900 and hole = A-7",
            AnyOf((Not(A7), All((DEEP, A7)))),
        ),
        ("not (hole = A-7 or depth >= 2900)", Not(AnyOf((A7, DEEP)))),
        ("hole in (A-7, 'B 1')", Match("facts.hole", ("A-7", "B 1"))),
        ("hole not in (A-7)", All((Present("facts.hole"), Not(A7)))),
        (
            "depth in (1,2)",
            AnyOf((Range("facts.depth", gte=1, lte=1), Range("facts.depth", gte=2, lte=2))),
        ),
        ("has(hole)", Present("facts.hole")),
        ("not has ( class )", Not(Present("class"))),
        ("has = x", Match("facts.has", ("x",))),
        ('"and" = or', Match("facts.and", ("or",))),
        ("android = x or depth >= 2900", None),
        ('"Tiefe ü (m)" > 3', Range('facts."Tiefe ü (m)"', gt=3)),
        ('"Tiefe u\u0308 (m)" > 3', Range('facts."Tiefe ü (m)"', gt=3)),
        ('"it\'s" = \'say ""x"" it\'\'s\'', Match('facts."it\'s"', ('say ""x"" it\'s',))),
        ('hole = "a ""b"""', Match("facts.hole", ('a "b"',))),
        ("hole = Süd", Match("facts.hole", ("Süd", "Su\u0308d"))),
        ("class = marble", Match("class", ("marble",))),
        ("facts.class = marble", Match("facts.class", ("marble",))),
        ("image.width > 100", Range("width", gt=100)),
        ("facts.width > 100", Range("facts.width", gt=100)),
        ("height <= 100", Range("height", lte=100)),
        ("taken = 2024-02-29", DateRange("facts.taken", gte="2024-02-29", lt="2024-03-01")),
        ("taken <= 2024-05-31", DateRange("facts.taken", lt="2024-06-01")),
        ("taken > 31.12.2023", DateRange("facts.taken", gte="2024-01-01")),
        ("taken < 2024-05-31", DateRange("facts.taken", lt="2024-05-31")),
        ("taken >= 2024-05-31T12:00Z", DateRange("facts.taken", gte="2024-05-31T12:00:00Z")),
        (
            "taken = '2024-05-31 12:00'",
            DateRange("facts.taken", gte="2024-05-31T12:00:00", lte="2024-05-31T12:00:00"),
        ),
        ("near(51.5, -0.1, 20 km)", Near("facts.location", 51.5, -0.1, 20_000)),
        ("NEAR(51.5,-0.1,20km)", Near("facts.location", 51.5, -0.1, 20_000)),
        ("near(location, 51.5, -0.1, 1.5e3 m)", Near("facts.location", 51.5, -0.1, 1500)),
    ],
)
def test_an_expression_is_read(text: str, expected: Condition | None) -> None:
    if expected is None:
        assert "no indexed image has a fact 'android'" in refused(text)[1]
    else:
        assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("", 0, "expected a condition, such as depth >= 2900, received the end"),
        ("depth", 5, "expected =, !=, <, <=, >, >= or in (...), received the end"),
        ("depth >= ", 8, "expected a name or a value, received the end"),
        ("depth >= 2900 hole = A-7", 14, "expected and, or, or the end, received 'hole'"),
        ("depth >= 2900 and", 17, "expected a condition, such as depth >= 2900, received the end"),
        ("(depth >= 2900", 14, "expected and, or, or ')', received the end"),
        ("depth >= 2900)", 13, "expected and, or, or the end, received ')'"),
        ("hole in (A-7, B", 15, "expected ',' or ')', received the end"),
        ("hole in A-7", 5, "expected =, !=, <, <=, >, >= or in (...), received 'in'"),
        ("hole in ()", 9, "expected a name or a value, received ')'"),
        ("has(hole, depth)", 8, "expected ')', received ','"),
        ("hole = 'A-7", 7, "the quote ' is not closed"),
        ("hole = “A-7”", 7, "received the quote “"),
        ("hole ! A-7", 5, "received '!'"),
        ("holes = A-7", 0, "no indexed image has a fact 'holes'; facts: Tiefe ü (m), and, class, "),
        ("depth = 3 and holes = A-7", 14, "column 15 of the expression: no indexed image has"),
        ("width > 3", 0, "write facts.width or image.width"),
        ("hole > A-7", 5, "hole is text, which > does not compare; use =, != or in"),
        ("depth = deep", 8, "depth is a number; received 'deep'"),
        ("depth = 1e999", 8, "depth is a number; received '1e999'"),
        ("depth in (1, x)", 13, "depth is a number; received 'x'"),
        ("depth = nan", 8, "depth is a number"),
        ("taken = 2024-13-01", 8, "taken is a date, such as 2024-05-31 or 2024-05-31T12:00"),
        ("location = 51", 11, "location is a place; use near(...)"),
        ("location > 51", 9, "location is a place, which > does not compare; use near(...)"),
        ("near(hole, 1, 2, 3 km)", 0, "hole is text, not a place"),
        ("near(91, 0, 1 km)", 5, "a latitude is -90 to 90 degrees; received '91'"),
        ("near(1, x, 1 km)", 8, "a longitude is -180 to 180 degrees; received 'x'"),
        ("near(1, 2, 3)", 0, "expected near(LATITUDE, LONGITUDE, DISTANCE km) or m"),
        ("near(1, 2, 0 km)", 11, "the distance is not above 0"),
        ("near(1, 2, 3 miles)", 0, "expected near(LATITUDE, LONGITUDE, DISTANCE km) or m"),
        ("near(1, 2 km)", 0, "expected near("),
        ("hole\x1b[2J = 1\u202e", 0, "'hole\\\\x1b[2J'"),
        ("depth >= 2900 and " * 300 + "depth = 1", MAX_LENGTH, "at most 4,000 are read"),
        ("not " * 900 + "depth = 1", 0, "more than 32 levels"),
    ],
)
def test_an_error_tells_the_place_and_what_was_expected(text: str, place: int, told: str) -> None:
    assert refused(text)[0] == place
    assert told in refused(text)[1]


def test_parentheses_may_be_deep() -> None:
    assert parse("(" * 1900 + "hole = A-7" + ")" * 1900) == A7
    many = parse(" or ".join(["hole=A-7"] * 300))
    assert many == AnyOf((A7,) * 300)
    nested = "not (hole = A-7 and " * 15 + "hole = A-7" + ")" * 15
    assert isinstance(parse(nested), Not)
    assert "more than 32 levels" in refused("not (hole = A-7 and " * 17 + nested + ")" * 17)[1]


def test_places_are_told_apart() -> None:
    assert "no indexed image has a place" in refused("near(1, 2, 3 km)", {"depth": "float"})[1]
    two = {"start": "geo", "end": "geo"}
    assert (
        "several places: start, end; write near('start', ...)" in refused("near(1,2,3 m)", two)[1]
    )
    assert parse("near('end', 1, 2, 3 m)", two) == Near("facts.end", 1, 2, 3)
    assert "the images have no facts" in refused("depth = 1", {})[1]


def test_facts_without_an_index_are_known_by_their_values() -> None:
    facts = {
        "depth": 3,
        "hole": "A-7",
        "taken": "2024-05-31",
        "at": {"lat": 1.0, "lon": 2.0},
    }
    point = Point(Payload("a/b.jpg", "", "0" * 64, 1, 1, "a", facts=facts))
    fields = Fields(Described({}, [point]))
    assert fields.facts == {"depth": "number", "hole": "text", "taken": "date", "at": "geo"}
    assert parse_where("near(1, 2, 3 km)", fields) == Near("facts.at", 1, 2, 3000)
    assert parse_where("depth > 2", fields) == Range("facts.depth", gt=2)


def test_images_are_not_read_where_facts_have_an_index() -> None:
    class Indexed(Described):
        def scan(self, *_: Any, **__: Any) -> Iterator[list[Point]]:
            raise AssertionError("reads images")

    fields = Fields(Indexed(KINDS))
    assert parse_where("near(1, 2, 3 km)", fields) == Near("facts.location", 1, 2, 3000)
    assert parse_where("depth > 2", fields) == Range("facts.depth", gt=2)


def test_dates_of_one_moment_are_one_group() -> None:
    field = Fields(Described(KINDS)).find("taken")
    day = "2024-05-31"
    dates = (day, f"{day}T00:00:00.0", f"{day}T00:00:00Z", f"{day}T02:00:00+02:00")
    payloads = [Payload("a/b.jpg", "", "0" * 64, 1, 1, "a", facts={"taken": one}) for one in dates]
    assert len({field.key(one) for one in payloads}) == 1
