"""The images that a search may return: its options as filters of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geosim.ingest.conditions import Condition, Match, Not, Present, both
from geosim.ingest.schema import Filter, Payload, ScoredPoint, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.search.fields import Field, Fields
from geosim.search.types import SearchOptions
from geosim.trainer.errors import NoMatchError, QueryError
from geosim.trainer.text import listed, printable, stored_name

FIRST_ROUND = 32
"""Images per query of the first round of `best_of_each`; each round asks for twice as many."""

MOST_IN_A_ROUND = 4096
"""Images per query of a round at most."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The images that a search may return, whatever the query is.

    Attributes:
        where: filter of all hits.
        one_per: only the best hit of each value of this field; None for all hits.
        not_same: without hits that have the query's own value of this field.
        shown: fields to show of each hit.
    """

    where: Filter
    one_per: Field | None = None
    not_same: Field | None = None
    shown: tuple[Field, ...] = ()

    def of(self, known: Iterable[Payload]) -> tuple[Filter, str | None]:
        """Return the filter of a query's hits, and a note if its own value is not known.

        ``known`` are the indexed images that the query is, is a part of, or has the bytes of.
        """
        field = self.not_same
        if field is None:
            return self.where, None
        values = field.values(known)
        if not values:
            told = f"its {printable(field.name)} is not known, so no hit is left out by it"
            return self.where, told
        others = Not(field.any_of(values))
        return replace(self.where, where=both(self.where.where, others)), None

    def is_alone(self, known: Iterable[Payload]) -> bool:
        """Return whether no value of ``not_same`` is known of a query; see `of`."""
        field = self.not_same
        return field is None or all(field.of(one) is None for one in known)


def open_scope(store: VectorStore, options: SearchOptions) -> Scope:
    """Return the scope of a search.

    Raises:
        ExpressionError: the expression of ``where`` cannot be read.
        QueryError: an option names no field, or no indexed image is in the scope, of which
            `NoMatchError` if none matches ``where``, is in ``among``, or is left.
    """
    fields = Fields(store)
    within: list[Condition | None] = [options.among]
    if options.label is not None:
        within.append(_of_class(store, options.label))
    if options.where is not None:
        from geosim.search.where import parse_where  # its parser takes a moment to load

        within.append(parse_where(options.where, fields))
    if options.without:
        within.append(Not(Match("path", tuple(sorted(options.without)))))
    where = Filter(where=both(*within))
    if (options.where or options.among or options.without) and not store.has(where):
        some = "" if options.label is None else f" of the class {printable(options.label)!r}"
        asked = f"matches {printable(options.where[:200])}" if options.where else "is in this part"
        raise NoMatchError(f"no indexed image{some} {asked}")
    one_per = None if options.one_per is None else fields.find(options.one_per)
    not_same = None if options.not_same is None else fields.find(options.not_same)
    for field in (one_per, not_same):
        if field is not None:
            field.require_comparable()
    if one_per is not None and not store.has(_having(where, one_per)):
        what = "a class" if one_per.path == "class" else f"a {printable(one_per.name)}"
        raise QueryError(
            f"no indexed image has {what}, so there is no best hit of each; search without one "
            f"per {printable(one_per.name)}"
        )
    shown = tuple(fields.find(name) for name in dict.fromkeys(options.show))
    return Scope(where, one_per, not_same, shown)


def condition_of(store: VectorStore, where: str | None) -> Condition | None:
    """Return the condition of an expression for a whole collection; None without one.

    Raises:
        ExpressionError: it cannot be read.
        QueryError: no indexed image matches.
    """
    if where is None or store.info() is None:
        return None
    return open_scope(store, SearchOptions(where=where)).where.where


def count_without(store: VectorStore, options: SearchOptions) -> int:
    """Return the number of images in the scope that ``one_per`` leaves out: without its field."""
    if options.one_per is None:
        return 0
    scope = open_scope(store, replace(options, one_per=None, show=(options.one_per,)))
    (field,) = scope.shown
    return store.count(Filter(where=both(scope.where.where, Not(Present(field.path)))))


def best_of_each(
    store: VectorStore, queries: Sequence[VectorQuery], field: Field, most: int | None
) -> list[list[ScoredPoint]]:
    """Return the best point of each value of a field, best first, for each query.

    There are at most ``most``; all if None. Points without a value are left out. Each round asks
    for the nearest points without the values that were found before.
    """
    found: list[dict[Any, ScoredPoint]] = [{} for _ in queries]
    pending = list(range(len(queries)))
    size = store.count() if most is None else FIRST_ROUND
    while pending:
        requests = [
            replace(queries[index], where=_without(queries[index].where, field, found[index]))
            for index in pending
        ]
        unfinished = []
        for index, points in zip(pending, store.query(requests, size), strict=True):
            best = found[index]
            for point in points:
                best.setdefault(field.key(point.payload), point)
            if len(points) == size and (most is None or len(best) < most):
                unfinished.append(index)
        pending, size = unfinished, max(size, min(2 * size, MOST_IN_A_ROUND))
    return [[*best.values()][:most] for best in found]


def _without(where: Filter, field: Field, found: dict[Any, ScoredPoint]) -> Filter:
    values = field.values(point.payload for point in found.values())
    others = Not(field.any_of(values)) if values else None
    return replace(where, where=both(where.where, Present(field.path), others))


def _having(where: Filter, field: Field) -> Filter:
    return replace(where, where=both(where.where, Present(field.path)))


def _of_class(store: VectorStore, label: str) -> Match:
    classes = store.values("class")
    labels = tuple(one for one in classes if stored_name(one) == stored_name(label))
    if not labels:
        expected = f"expected one of {listed([*classes], 20)}" if classes else "none has any"
        raise QueryError(f"no indexed image has the class {label!r}; {expected}")
    return Match("class", labels)
