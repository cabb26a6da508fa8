"""CSV tables that any spreadsheet opens as they are, and in which it runs nothing as a formula.

UTF-8 with a byte order mark, by which Excel knows the encoding; commas, quotes and line ends as in
RFC 4180; the first row has the names of the columns. Numbers are written as numbers, yes and no as
``yes`` and ``no``, and what is unknown is empty. Text is written as `printable`, so that each row
is a line. Where it would begin a formula, an apostrophe is put before it (`safe_text`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from math import isfinite

from geosim.trainer.text import printable

BOM = "\ufeff"

Cell = str | float | bool | None

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)

_FORMULA = re.compile(r"(^|;)(?=[ \"]*[=+@＝＋－＠-])")
"""Starts of a formula: the characters that OWASP's page CSV Injection lists, also in full width.
Where the list separator is a semicolon, one in a text starts a cell."""


def safe_text(text: str) -> str:
    """Return a text as it is written to a cell: `printable`, and no formula.

    An apostrophe is put before ``=``, ``+``, ``-`` or ``@`` at the start and after a semicolon,
    and before the spaces and quotes in front of it. A decimal number stays as it is.

    Example: ``=1+1`` becomes ``'=1+1``; ``-5`` stays.
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", printable(text))


def csv_lines(header: Iterable[str], rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    """Yield the lines of a table as the rows come, each with its line end, the first with `BOM`."""
    yield BOM + _line(header)
    yield from map(_line, rows)


def _line(cells: Iterable[Cell]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_text(cell) for cell in cells])
    return buffer.getvalue()


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return safe_text(cell)
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None or not isfinite(cell) else repr(cell)
