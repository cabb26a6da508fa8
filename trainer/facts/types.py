"""Finds the type of a column of text, and reads its cells as values of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from geosim.trainer.data.facts import DATE, NUMBER, TEXT, YES_NO, Value
from geosim.trainer.errors import DatasetError

LATITUDE, LONGITUDE = "latitude", "longitude"
"""Types of the two columns of numbers that make a point on the earth, in degrees."""

TYPES = (TEXT, NUMBER, DATE, YES_NO, LATITUDE, LONGITUDE)
"""Types that a column can be given."""

MISSING = frozenset({"-", "--", "?", "n/a", "#n/a", "na", "nan", "null", "none", "nil"})
"""Cells, in lower case, that are no value of a column of numbers, dates or yes and no. In a column
of text they are text: Na is an element."""

_MOSTLY = 0.8  # share of a column from which the rest is told
_EXACT = 2**53  # integers above are not exact in the engine's index
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|[+-]?\.[0-9]+")
_COMMA = re.compile(r"[+-]?(0|[1-9][0-9]*)(,[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_TIME = (
    r"(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_YES_NO = {"yes": "yes", "y": "yes", "true": "yes", "no": "no", "n": "no", "false": "no"}
_WHAT = {NUMBER: "a number", DATE: "a date", YES_NO: "yes or no"}

Reader = Callable[[str], Value | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A column with its type and values, and what to tell about it."""

    type: str
    values: Sequence[Value | None]
    note: str | None = None


def read_column(
    name: str,
    cells: Sequence[str],
    where: Callable[[int], str],
    forced: str | None = None,
    *,
    decimal_comma: bool = False,
) -> Column:
    """Return a column with the type that all its cells have, text otherwise.

    ``forced`` is the type to read it with; cells that are none are left out. ``where`` tells where
    a row is. ``decimal_comma``: commas may be in numbers.

    Raises:
        DatasetError: no cell is of the type ``forced``, or its dates have two readings.
    """
    wanted = NUMBER if forced in (LATITUDE, LONGITUDE) else forced
    known = {cell for cell in set(cells) if cell and cell.casefold() not in MISSING}
    mostly: tuple[str, dict[str, Value]] | None = None
    if known and wanted != TEXT:
        for kind in (YES_NO, NUMBER, DATE) if wanted is None else (wanted,):
            least = 0.0 if wanted else _MOSTLY
            found = _readings(kind, known, least, decimal_comma=decimal_comma)
            if len(found) > 1:
                return _ambiguous(name, cells, where, forced=wanted is not None)
            (read,) = found
            if len(read) == len(known):
                return Column(kind, [*map(read.get, cells)])
            if wanted is not None or len(read) >= _MOSTLY * len(known):
                mostly = kind, read
    if mostly is None:
        return Column(TEXT, [cell or None for cell in cells])
    kind, read = mostly
    others = [row for row, cell in enumerate(cells) if cell in known and cell not in read]
    first = f"{cells[others[0]]!r} ({where(others[0])})"
    if wanted is None:
        text = [cell or None for cell in cells]
        note = (
            f"column {name} is text: {len(others):,} of its values are not {_WHAT[kind]}, such as "
            f"{first}; --fact-type '{name}={kind}' leaves them out"
        )
        return Column(TEXT, text, note)
    if not read:
        raise DatasetError(
            f"no value of column {name} is {_WHAT[kind]}, the first is {first}; leave out "
            f"--fact-type {name}={forced}"
        )
    note = (
        f"column {name}: {len(others):,} values that are not {_WHAT[kind]} left out, first {first}"
    )
    return Column(kind, [*map(read.get, cells)], note)


def _ambiguous(
    name: str, cells: Sequence[str], where: Callable[[int], str], *, forced: bool
) -> Column:
    row = next(row for row, cell in enumerate(cells) if cell and cell.casefold() not in MISSING)
    told = (
        f"the dates of column {name} can be read with the day or the month first, such as "
        f"{cells[row]} ({where(row)}); write them as 2024-05-31"
    )
    if forced:
        raise DatasetError(told)
    return Column(TEXT, [cell or None for cell in cells], f"{told}. They are text now")


def _readings(
    kind: str, known: set[str], least: float, *, decimal_comma: bool
) -> list[dict[str, Value]]:
    """Return the best reading of cells as a type; two if they are equally good and differ.

    A reading of less than the share ``least`` of the cells is given up, and empty.
    """
    readers: dict[str, tuple[Reader, ...]] = {
        YES_NO: (lambda cell: _YES_NO.get(cell.casefold()),),
        NUMBER: (_number, _comma) if decimal_comma else (_number,),
        DATE: tuple(map(_date_reader, _DATES)),
    }
    every = [_reading(read, known, (1 - least) * len(known)) for read in readers[kind]]
    most = max(map(len, every))
    best = [reading for reading in every if len(reading) == most]
    distinct = [one for number, one in enumerate(best) if one not in best[:number]]
    # Of numbers the point comes first: "1" reads alike, and a column has one of both.
    return distinct if kind == DATE and most == len(known) else distinct[:1]


def _reading(read: Reader, cells: set[str], most: float) -> dict[str, Value]:
    """Return the cells that can be read; none if more than ``most`` cannot."""
    found: dict[str, Value] = {}
    others = 0
    for cell in cells:
        if (value := read(cell)) is not None:
            found[cell] = value
        else:
            others += 1
            if others > most:
                return {}
    return found


def _number(cell: str) -> int | float | None:
    if not cell.isascii():
        cell = cell.replace("\u2212", "-")  # the minus sign of typesetting
    found = _NUMBER.fullmatch(cell)
    if found is None:
        return None
    if found.lastindex == 1:
        return int(cell) if abs(int(cell)) <= _EXACT else None
    value = float(cell)
    return value if abs(value) < float("inf") else None


def _comma(cell: str) -> int | float | None:
    return _number(cell.replace(",", ".")) if _COMMA.fullmatch(cell) else None


_DATES = (
    (r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})", "ymd"),
    (r"([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})", "ymd"),
    (r"([0-9]{4}):([0-9]{2}):([0-9]{2})", "ymd"),  # EXIF
    (r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})", "dmy"),
    (r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})", "dmy"),
    (r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})", "mdy"),
)
"""Forms of dates; each may be followed by a time."""


def read_date(cell: str) -> str | None:
    """Return a date, with or without a time, as in ISO 8601; None for other text."""
    return next((found for form in _DATES if (found := _date_reader(form)(cell))), None)


def _date_reader(form: tuple[str, str]) -> Reader:
    pattern, order = re.compile(form[0] + _TIME), form[1]

    def read(cell: str) -> str | None:
        found = pattern.fullmatch(cell)
        if found is None:
            return None
        *numbers, hour, minute, second, fraction, zone = found.groups()
        part = dict(zip(order, map(int, numbers), strict=True))
        try:
            day = datetime(
                part["y"], part["m"], part["d"], int(hour or 0), int(minute or 0), int(second or 0)
            )
        except ValueError:
            return None
        if hour is None:
            return day.date().isoformat()
        if zone and zone != "Z":
            zone = f"{zone[:3]}:{zone[-2:]}"
        return f"{day.isoformat()}{(fraction or '')[:7]}{zone or ''}"

    return read
