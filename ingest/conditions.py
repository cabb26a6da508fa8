"""Conditions on payloads, the same for every engine. Owns neither their syntax nor their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Match:
    """The text at a path of the payload is one of ``values``."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The number at a path of the payload is inside of the given bounds."""

    path: str
    gte: float | None = None
    gt: float | None = None
    lte: float | None = None
    lt: float | None = None


@dataclass(frozen=True, slots=True)
class DateRange:
    """The date at a path of the payload is inside of the given bounds, in ISO 8601.

    A date without a time is its first moment; without a time zone it is UTC.
    """

    path: str
    gte: str | None = None
    gt: str | None = None
    lte: str | None = None
    lt: str | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """The point at a path of the payload is at most ``metres`` from a place, in degrees."""

    path: str
    lat: float
    lon: float
    metres: float


@dataclass(frozen=True, slots=True)
class Present:
    """There is a value at a path of the payload."""

    path: str


@dataclass(frozen=True, slots=True)
class All:
    """All conditions hold."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the conditions holds."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold, also where there is no value."""

    of: Condition


Condition: TypeAlias = "Match | Range | DateRange | Near | Present | All | AnyOf | Not"


def both(*conditions: Condition | None) -> Condition | None:
    """Return the condition that all those given hold; None without any."""
    given = tuple(one for one in conditions if one is not None)
    return given[0] if len(given) == 1 else All(given) if given else None
