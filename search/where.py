r"""Conditions on the facts of images as a user writes them: ``depth >= 2900 and hole = "A-7"``.

An expression is made of:

- Comparisons ``FIELD = VALUE`` with ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``. A FIELD is a
  fact, or ``class``, ``dataset``, ``path``, ``sha256``, ``width`` or ``height`` (pixels). Where a
  fact is named like one of these, ``facts.width`` is the fact and ``image.width`` the pixels.
  Numbers and dates have an order, text has none.
- ``FIELD in (VALUE, ...)`` and ``FIELD not in (VALUE, ...)``.
- ``has(FIELD)``: the image has a value. All comparisons, also ``!=`` and ``not in``, hold only for
  images that have one.
- ``near(LATITUDE, LONGITUDE, DISTANCE km)`` or ``m``, in degrees; ``near(FIELD, ...)`` where images
  have several places.
- ``not``, ``and``, ``or``, which bind in this order, and parentheses. ``not hole = A-7`` holds also
  for images without a hole.

A date is written as ``2024-05-31``, which is the whole day, or with a time, ``2024-05-31T12:00``,
which is UTC unless it says otherwise. Yes and no are the text ``yes`` and ``no``. Names and values
with spaces, commas, parentheses, quotes or signs of comparison are put in ``"`` or ``'``; that
quote in them is written twice. Text is compared as a whole, and upper case differs from lower case.

Example::

    depth >= 2900 and depth < 3000 and hole in ("A-7", "B 1") and near(51.5, -0.1, 20 km)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, timedelta

from lark import Token, Tree

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
from geosim.search.fields import Field, Fields
from geosim.search.syntax import fault, parse
from geosim.trainer.data.facts import DATE, GEO, NUMBER, TEXT
from geosim.trainer.errors import ExpressionError, QueryError
from geosim.trainer.facts.types import read_date
from geosim.trainer.text import listed, printable

MAX_DEPTH = 32
"""Levels of and, or and not inside of each other; a server reads 64 levels of a filter."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_DISTANCE = re.compile(rf"({_NUMBER.pattern})\s*(km|m)")
_METRES = {"km": 1000.0, "m": 1.0}


def parse_where(text: str, fields: Fields) -> Condition:
    """Return the condition that an expression writes.

    Raises:
        ExpressionError: it is too long or too deep, is no expression, names no field, or compares
            one with what is not of its type; it tells the place.
    """
    return _Builder(fields).build(parse(text))


class _Builder:
    """Makes a condition of a syntax tree. Calls itself at most `MAX_DEPTH` deep."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._found: dict[str, Field] = {}
        self._rules: dict[str, Callable[[list[Token]], Condition]] = {
            "compare": self._compare,
            "contains": self._contains,
            "has": lambda children: Present(self._field(children[0]).path),
            "near": self._near,
        }

    def build(self, tree: Tree[Token], depth: int = 1) -> Condition:
        if rule := self._rules.get(tree.data):
            return rule([one for one in tree.children if isinstance(one, Token)])
        if depth > MAX_DEPTH:
            raise ExpressionError(
                f"the expression has more than {MAX_DEPTH} levels of and, or and not; write it "
                "flatter",
                0,
            )
        parts = tuple(self.build(one, depth + 1) for one in tree.children if isinstance(one, Tree))
        if tree.data == "negation":
            return Not(parts[0])
        return All(parts) if tree.data == "and" else AnyOf(parts)

    def _field(self, token: Token) -> Field:
        name = _text(token)
        if name not in self._found:
            try:
                self._found[name] = self._fields.find(name)
            except QueryError as error:
                raise fault(token.start_pos or 0, str(error)) from error
        return self._found[name]

    def _compare(self, children: list[Token]) -> Condition:
        name, sign, value = children
        field, operator = self._field(name), {"==": "=", "<>": "!="}.get(sign, str(sign))
        if operator == "!=":
            return All((Present(field.path), Not(_equals(field, value))))
        if operator == "=":
            return _equals(field, value)
        if field.kind == NUMBER:
            return Range(field.path, **{_BOUNDS[operator]: _number(field, value)})
        if field.kind == DATE:
            return _compare_dates(field, operator, value)
        what = "text" if field.kind == TEXT else "a place"
        instead = "=, != or in" if field.kind == TEXT else "near(...)"
        raise fault(
            sign.start_pos or 0,
            f"{printable(field.name)} is {what}, which {operator} does not compare; use {instead}",
        )

    def _contains(self, children: list[Token]) -> Condition:
        negated = children[1].type == "NOT_IN"
        field, values = self._field(children[0]), children[1 + negated :]
        equal: Condition
        if field.kind == TEXT:
            equal = Match(field.path, tuple(dict.fromkeys(v for t in values for v in _forms(t))))
        else:
            equal = AnyOf(tuple(_equals(field, value) for value in values))
        return All((Present(field.path), Not(equal))) if negated else equal

    def _near(self, children: list[Token]) -> Condition:
        start, *given = children
        place = start.start_pos or 0
        if given and not _NUMBER.fullmatch(_text(given[0])):
            field = self._field(given.pop(0))
            if field.kind != GEO:
                raise fault(place, f"{printable(field.name)} is {field.kind}, not a place")
        else:
            field = self._only_place(place)
        numbers, distance = given[:2], _DISTANCE.fullmatch(" ".join(map(_text, given[2:])))
        if len(numbers) < 2 or distance is None:
            raise fault(place, "expected near(LATITUDE, LONGITUDE, DISTANCE km) or m")
        lat, lon = (
            _degrees(number, what, most)
            for number, what, most in zip(
                numbers, ("latitude", "longitude"), (90, 180), strict=True
            )
        )
        metres = float(distance[1]) * _METRES[distance[4]]
        if not 0 < metres < float("inf"):
            raise fault(given[2].start_pos or 0, "the distance is not above 0")
        return Near(field.path, lat, lon, metres)

    def _only_place(self, place: int) -> Field:
        names = _places(self._fields.indexed) or _places(self._fields.facts)
        if len(names) != 1:
            raise fault(
                place,
                f"the images have several places: {listed(names)}; write near({names[0]!r}, ...)"
                if names
                else "no indexed image has a place: latitude and longitude",
            )
        return self._fields.find(names[0])


_BOUNDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def _places(types: Mapping[str, str]) -> list[str]:
    return [name for name, kind in types.items() if kind == GEO]


def _text(token: Token) -> str:
    """Return what a token names, without its quotes."""
    text = str(token)
    return text[1:-1].replace(text[0] * 2, text[0]) if token.type == "QUOTED" else text


def _forms(token: Token) -> list[str]:
    """Return the normal forms that a text may be stored in."""
    text = _text(token)
    return list(dict.fromkeys([text, *(unicodedata.normalize(f, text) for f in ("NFC", "NFD"))]))


def _equals(field: Field, value: Token) -> Condition:
    if field.kind == NUMBER:
        number = _number(field, value)
        return Range(field.path, gte=number, lte=number)
    if field.kind == DATE:
        return _compare_dates(field, "=", value)
    if field.kind == GEO:
        raise fault(value.start_pos or 0, f"{printable(field.name)} is a place; use near(...)")
    return Match(field.path, tuple(_forms(value)))


def _number(field: Field, value: Token) -> float:
    text = _text(value)
    number = float(text) if _NUMBER.fullmatch(text) else float("inf")
    if abs(number) == float("inf"):
        raise fault(
            value.start_pos or 0,
            f"{printable(field.name)} is a number; received {printable(text[:40])!r}",
        )
    return number


def _degrees(token: Token, what: str, most: int) -> float:
    text = _text(token)
    if not _NUMBER.fullmatch(text) or abs(float(text)) > most:
        raise fault(
            token.start_pos or 0,
            f"a {what} is -{most} to {most} degrees; received {printable(text[:40])!r}",
        )
    return float(text)


def _compare_dates(field: Field, operator: str, value: Token) -> DateRange:
    """Return a comparison with a date; one without a time is the whole day."""
    moment = read_date(_text(value))
    if moment is None:
        raise fault(
            value.start_pos or 0,
            f"{printable(field.name)} is a date, such as 2024-05-31 or 2024-05-31T12:00; received "
            f"{printable(_text(value)[:40])!r}",
        )
    start = end = moment
    if len(moment) == len("2024-05-31"):
        day = date.fromisoformat(moment)
        end = f"{day + timedelta(days=1)}" if day < date.max else "9999-12-31T23:59:59.999999"
        whole = {"=": {"gte": start, "lt": end}, "<=": {"lt": end}, ">": {"gte": end}}
        if operator in whole:
            return DateRange(field.path, **whole[operator])
    if operator == "=":
        return DateRange(field.path, gte=start, lte=start)
    return DateRange(field.path, **{_BOUNDS[operator]: moment})
