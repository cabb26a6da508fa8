"""Facts of pictures: named values from a table, from file names or from EXIF, by stored path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TEXT, NUMBER, DATE, YES_NO, GEO = "text", "number", "date", "yes/no", "geo"
"""Types of facts: str, int or float, str of ISO 8601, ``yes`` or ``no``, and a dict of ``lat`` and
``lon`` in degrees."""

Value = Any
"""A value of one of the types, as JSON has it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Facts from one source.

    Attributes:
        columns: values of each fact, by row; None where there is none.
        types: type of each fact.
        rows: numbers of the rows of each picture, by stored path; the first that has a value wins.
    """

    columns: Mapping[str, Sequence[Value | None]]
    types: Mapping[str, str]
    rows: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts from all sources; the first layer that has a value wins."""

    layers: tuple[Layer, ...]

    @property
    def types(self) -> dict[str, str]:
        """The type of each fact."""
        types: dict[str, str] = {}
        for layer in reversed(self.layers):
            types |= layer.types
        return types

    def of(self, path: str) -> dict[str, Value]:
        """Return the facts of a picture by its stored path; a fact without a value is left out."""
        found: dict[str, Value] = {}
        for layer in self.layers:
            for row in layer.rows.get(path, ()):
                for name, values in layer.columns.items():
                    if (value := values[row]) is not None and name not in found:
                        found[name] = value
        return found
