"""Reads the text of a table: encoding, delimiter, header and rows. Knows nothing of pictures.

The standard library's `csv` reads it: its import costs nothing and it reads line by line.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from geosim.trainer.data.dataset import blocks
from geosim.trainer.errors import DatasetError
from geosim.trainer.text import stored_name

MAX_BYTES = 256 * 2**20
"""Largest file that is read: the table of a million pictures has about 200 MB."""

MAX_COLUMNS = 256
"""Most columns; each becomes a payload index."""

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_BLOCK = 2**20
_BLOCK_ROWS = 4096  # turned into columns at once
_BINARY = {
    b"PK\x03\x04": "an Excel or OpenDocument workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a compressed file",
}
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text.

    Attributes:
        columns: cells of each column by its name, without white space around; empty for none.
        lines: line of the file that each row ends at.
        delimiter: between cells.
        notes: what to tell about it, a line each.
    """

    columns: dict[str, list[str]]
    lines: list[int]
    delimiter: str
    notes: tuple[str, ...]


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a CSV or TSV file with any usual delimiter.

    ``encoding`` is found if None: UTF-8, UTF-16, or else Windows-1252.

    Raises:
        DatasetError: it is missing, empty, too large or no such table.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DatasetError(
                f"{path} has {size / 1e6:,.0f} MB, at most {MAX_BYTES / 1e6:,.0f} MB of a table "
                "are read; leave out columns or rows"
            )
        found = _encoding(path, encoding)
        # newline="" leaves line ends in quoted cells to `csv`.
        with path.open(encoding=found, newline="") as file:
            table = _read(file, path)
    except OSError as error:
        raise DatasetError(f"cannot read table {path}: {error.strerror or error}") from error
    except UnicodeError as error:
        what = "text in an encoding that cannot be told" if encoding is None else f"no {encoding}"
        raise DatasetError(
            f"{path} is {what}; name its encoding with --table-encoding, or save it as CSV in UTF-8"
        ) from error
    except csv.Error as error:
        raise DatasetError(f"{path} is no CSV table ({error}); save it as CSV in UTF-8") from error
    if encoding is not None or found != "cp1252":
        return table
    note = (
        f"{path} is not in UTF-8; read as Windows-1252. If letters look wrong, name its encoding "
        "with --table-encoding, or save it as UTF-8"
    )
    return Table(table.columns, table.lines, table.delimiter, (*table.notes, note))


def _encoding(path: Path, given: str | None) -> str:
    """Return the encoding of a file; without a given one, all of the file is read to know it."""
    with path.open("rb") as file:
        head = file.read(_BLOCK)
    for mark, what in _BINARY.items():
        if head.startswith(mark):
            raise DatasetError(f"{path} is {what}, expected a table as text; save it as CSV")
    if given is not None:  # with or without a byte order mark
        return "utf-8-sig" if codecs.lookup(given).name == "utf-8" else given
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        if (wide := _without_mark(head)) is not None:
            return wide
        raise DatasetError(f"{path} is no text; expected a table, CSV or TSV in UTF-8")
    with suppress(UnicodeDecodeError), path.open(encoding="utf-8") as text:
        while text.read(_BLOCK):
            pass
        return "utf-8"
    return "cp1252"


def _without_mark(head: bytes) -> str | None:
    """Return the kind of UTF-16 without a byte order mark; None for bytes that are no text."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    # Most characters of a table are of ASCII.
    if max(even, odd) * 4 < len(head) or min(even, odd) * 10 > max(even, odd):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _read(file: io.TextIOWrapper, path: Path) -> Table:
    sample = list(islice(file, _SAMPLE_LINES))
    if sample and sample[0].lower().startswith("sep=") and len(sample[0].strip()) == 5:
        delimiter, skipped = sample[0][4], 1  # as Excel writes it
    else:
        delimiter, skipped = _delimiter(sample), 0
    file.seek(0)
    for _ in range(skipped):
        file.readline()
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    rows = ((skipped + reader.line_num, row) for row in reader if any(map(str.strip, row)))
    _, header = next(rows, (0, []))
    if not header:
        raise DatasetError(f"{path} is empty; expected a header and a row for each picture")
    names = _names(header, path)
    cells: list[list[str]] = [[] for _ in names]
    lines = _fill(cells, rows, path)
    if not lines:
        raise DatasetError(f"{path} has a header and no rows; expected a row for each picture")
    columns = {}
    for number, (name, column) in enumerate(zip(names, cells, strict=True), start=1):
        if name:
            columns[name] = column
        elif any(column):
            raise DatasetError(f"column {number} of {path} has no name; name it in the first line")
    return Table(columns, lines, delimiter, ())


def _names(header: Sequence[str], path: Path) -> list[str]:
    # A double quote cannot be in a path of a Qdrant payload.
    names = [stored_name(" ".join(name.replace('"', "'").split())) for name in header]
    if len(names) > MAX_COLUMNS:
        raise DatasetError(
            f"{path} has {len(names):,} columns, at most {MAX_COLUMNS} are read; leave some out"
        )
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise DatasetError(f"{path} has two columns {twice[0]!r}; rename or remove one of them")
    return names


def _fill(cells: list[list[str]], rows: Iterator[tuple[int, list[str]]], path: Path) -> list[int]:
    """Append the cells of all rows to their columns; return the lines of the rows."""
    lines: list[int] = []
    width, read = len(cells), _Cells()
    for block in blocks(rows, _BLOCK_ROWS):
        for line, row in block:
            if len(row) != width:
                if any(map(str.strip, row[width:])):
                    raise DatasetError(
                        f"line {line} of {path} has {len(row)} cells, the header has {width}; put "
                        "cells with the delimiter in them in double quotes"
                    )
                row[width:] = [""] * (width - len(row))
            lines.append(line)
        for column, found in zip(cells, zip(*(row for _, row in block), strict=True), strict=True):
            column.extend(map(read.__getitem__, found))
    return lines


class _Cells(dict[str, str]):
    """Cells as they are kept, by what is written; equal ones share their memory."""

    def __missing__(self, written: str) -> str:
        cell = stored_name(written.strip())
        self[written] = kept = self.setdefault(cell, cell)
        return kept


def _delimiter(sample: Sequence[str]) -> str:
    """Return the delimiter that gives most of the first lines the cells of the header."""

    def fits(delimiter: str) -> tuple[int, int]:
        try:
            counts = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        except csv.Error:
            return 0, 0
        same = sum(count == counts[0] for count in counts) if counts else 0
        return (same, counts[0]) if counts and counts[0] > 1 else (0, 0)

    return max(_DELIMITERS, key=fits)
