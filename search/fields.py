"""The fields of an indexed image by which a search selects: its facts, and what every image has."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from geosim.ingest.conditions import AnyOf, Condition, DateRange, Match, Range
from geosim.ingest.schema import INDEX_KINDS, Payload, fact_field
from geosim.ingest.store.base import VectorStore
from geosim.trainer.data.facts import DATE, GEO, NUMBER, TEXT
from geosim.trainer.errors import QueryError
from geosim.trainer.facts.types import read_date
from geosim.trainer.text import listed, printable

BUILT_IN = {
    "class": TEXT,
    "dataset": TEXT,
    "path": TEXT,
    "sha256": TEXT,
    "width": NUMBER,
    "height": NUMBER,
}
"""Fields of every image and their types; ``width`` and ``height`` are in pixels. Only a class may
be missing."""

FIRM = ("class", "dataset", "path")
"""Fields whose name never means a fact of the same name."""

FACT, IMAGE = "facts.", "image."
"""Prefixes that tell a fact from a field of every image with the same name."""

SEEN = 4096
"""Images whose facts are looked at for those without an index."""

MOST_LISTED = 20
"""Facts that an error lists at most."""

_TYPES = {kind: name for name, kind in INDEX_KINDS.items() if name in (TEXT, NUMBER, DATE, GEO)}


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name as it was given, its type, and the fact that it is, if it is one.

    ``kind`` is `TEXT`, also for yes and no, `NUMBER`, `DATE` or `GEO`.
    """

    name: str
    kind: str
    fact: str | None

    @property
    def path(self) -> str:
        """Its path in the payload."""
        return self.name.removeprefix(IMAGE) if self.fact is None else fact_field(self.fact)

    def of(self, payload: Payload) -> Any:
        """Return the value of an image, as JSON has it; None without one."""
        if self.fact is not None:
            return payload.facts.get(self.fact)
        name = self.path
        return getattr(payload, "label" if name == "class" else name) or None

    def key(self, payload: Payload) -> Any:
        """Return what images with an equal value share; None without a value."""
        value = self.of(payload)
        if value is None or self.kind != DATE:
            return value
        return _moment(value)

    def equals(self, value: Any) -> Condition:
        """Return the condition that the field has a value, as `of` returns it.

        Raises:
            QueryError: it is a place; no two are equal.
        """
        if self.kind == NUMBER:
            return Range(self.path, gte=value, lte=value)
        if self.kind == DATE:
            return DateRange(self.path, gte=value, lte=value)
        self.require_comparable()
        return Match(self.path, (value,))

    def any_of(self, values: Iterable[Any]) -> Condition:
        """Return the condition that the field has one of some values; see `equals`."""
        return AnyOf(tuple(self.equals(value) for value in values))

    def values(self, payloads: Iterable[Payload]) -> list[Any]:
        """Return the different values of images, as `of` returns them."""
        found = {self.key(one): self.of(one) for one in payloads}
        found.pop(None, None)
        return [*found.values()]

    def require_comparable(self) -> None:
        """Raise `QueryError` for a place."""
        if self.kind == GEO:
            raise QueryError(
                f"{printable(self.name)} is a place, and no two are equal; name a text, number or "
                "date"
            )


class Fields:
    """The fields of the images of a collection."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    @cached_property
    def facts(self) -> dict[str, str]:
        """The type of each fact, by name; those without an index are of the first images."""
        return self._seen | self.indexed

    @cached_property
    def indexed(self) -> dict[str, str]:
        """The type of each fact that has a payload index, by name."""
        kinds = self._store.fact_indexes()
        return {name: _TYPES.get(kind, TEXT) for name, kind in kinds.items()}

    @cached_property
    def _seen(self) -> dict[str, str]:
        """Facts of the first images: another program may have deleted their indexes."""
        first = self._store.sample(SEEN, vectors=False)
        return {
            name: _type_of(value) for point in first for name, value in point.payload.facts.items()
        }

    def find(self, name: str) -> Field:
        """Return the field of a name; one that starts with `FACT` or `IMAGE` is one of these.

        Raises:
            QueryError: there is none, or a fact has the name of a field of every image.
        """
        if name.startswith(IMAGE) and (plain := name.removeprefix(IMAGE)) in BUILT_IN:
            return Field(name, BUILT_IN[plain], None)
        if name in FIRM:
            return Field(name, BUILT_IN[name], None)
        fact = self._fact(name) or (
            self._fact(name.removeprefix(FACT)) if name.startswith(FACT) else None
        )
        if fact is None and name in BUILT_IN:
            return Field(name, BUILT_IN[name], None)
        if fact is None:
            raise QueryError(self._unknown(name))
        if name in BUILT_IN:
            raise QueryError(
                f"{name} is a fact here, and a field of every image; write {FACT}{name} or "
                f"{IMAGE}{name}"
            )
        return Field(name, self.indexed.get(fact) or self.facts[fact], fact)

    def fact(self, name: str) -> Field:
        """Return the field of a fact, with a name by which `find` finds it.

        Raises:
            QueryError: there is none.
        """
        return self.find(f"{FACT}{name}" if name in BUILT_IN else name)

    def _fact(self, name: str) -> str | None:
        """Return the fact of a name, in any normal form; the index is asked first."""
        return _same_name(name, self.indexed) or _same_name(name, self._seen)

    def _unknown(self, name: str) -> str:
        known = listed([printable(one) for one in sorted(self.facts)], MOST_LISTED)
        facts = f"facts: {known}" if known else "the images have no facts"
        return (
            f"no indexed image has a fact {printable(name)!r}; {facts}; every image has "
            f"{', '.join(BUILT_IN)}"
        )


def field_names(text: str) -> tuple[str, ...]:
    """Return names with commas between; one with a comma or quotes is quoted as in CSV.

    Raises:
        QueryError: there is no name, or one is empty.
    """
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise QueryError(f"{printable(text[:60])!r} is no list of fields: {error}") from error
    names = tuple(name.strip() for row in rows for name in row)
    if not names or not all(names):
        raise QueryError(f"expected fields such as hole,depth, received {printable(text[:60])!r}")
    return names


def _moment(date: str) -> datetime:
    """Return a date as an engine compares it; Python 3.10 reads no Z and few fractions."""
    text = re.sub(r"\.([0-9]+)", lambda found: f".{found[1]:0<6}", date.replace("Z", "+00:00"))
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _type_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return GEO
    if isinstance(value, int | float):
        return NUMBER
    return DATE if read_date(str(value)) == value else TEXT


def shown(value: Any) -> str:
    """Return a value as text: a place as latitude and longitude, none as ``-``."""
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return f"{value['lat']}, {value['lon']}"
    return printable(str(value))


def _same_name(name: str, known: Collection[str]) -> str | None:
    """Return the name among ``known``, in this normal form if it is there, else in another."""
    if name in known:
        return name
    form = unicodedata.normalize("NFC", name)
    return next((one for one in known if unicodedata.normalize("NFC", one) == form), None)
