"""Translates a `Filter` to an engine's own, which evaluates it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

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
from geosim.ingest.schema import Filter


@dataclass(frozen=True, slots=True)
class Terms:
    """An engine's constructors of filters; the engines name their arguments alike."""

    filter: Callable[..., Any]
    field: Callable[..., Any]
    match: Callable[..., Any]
    range: Callable[..., Any]
    date_range: Callable[..., Any]
    radius: Callable[..., Any]
    point: Callable[..., Any]
    is_empty: Callable[[str], Any]
    has_id: Callable[[frozenset[str]], Any]


def translate(where: Filter | None, terms: Terms) -> Any | None:
    """Return the engine's filter; None if all points match."""
    if where is None or where == Filter():
        return None
    must = [_condition(Match(path, (value,)), terms) for path, value in where.conditions.items()]
    if where.where is not None:
        must.append(_condition(where.where, terms))
    must_not = [terms.has_id(where.exclude)] if where.exclude else []
    if where.exclude_sha256:
        must_not.append(_condition(Match("sha256", tuple(sorted(where.exclude_sha256))), terms))
    if where.exclude_paths:
        must_not.append(_condition(Match("path", tuple(sorted(where.exclude_paths))), terms))
    return terms.filter(must=must or None, must_not=must_not or None)


def _condition(one: Condition, terms: Terms) -> Any:
    match one:
        case All() | AnyOf():
            parts = [_condition(part, terms) for part in one.of]
            return terms.filter(**{"must" if isinstance(one, All) else "should": parts})
        case Not():  # of any of some: without a level that a server's JSON would count
            none = one.of.of if isinstance(one.of, AnyOf) else (one.of,)
            return terms.filter(must_not=[_condition(part, terms) for part in none])
        case Present():
            return terms.filter(must_not=[terms.is_empty(one.path)])
        case Match():
            return terms.field(key=one.path, match=terms.match(any=[*one.values]))
        case Near():
            centre = terms.point(lon=one.lon, lat=one.lat)
            radius = terms.radius(center=centre, radius=one.metres)
            return terms.field(key=one.path, geo_radius=radius)
        case Range() | DateRange():
            bounds = asdict(one)
            path = bounds.pop("path")
            within = terms.range if isinstance(one, Range) else terms.date_range
            return terms.field(key=path, range=within(**bounds))
