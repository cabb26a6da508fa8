"""A file of pairs of images that a user knows to be alike, and wants no more to be told of.

It is a CSV with the columns ``path`` and ``other``, stored paths as in the tables of
`geosim.search.spreadsheet`; a spreadsheet may have changed commas to semicolons or tabs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.search.spreadsheet import csv_lines, safe_text
from geosim.trainer.errors import QueryError
from geosim.trainer.files import replacing

COLUMNS = ("path", "other")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of stored paths, as they are spelled in the file."""

    pairs: tuple[tuple[str, str], ...] = ()

    def rows(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Return the pairs of which both are in ``paths``, as ``(p, 2)`` row numbers."""
        if not self.pairs:
            return np.empty((0, 2), dtype=np.int64)
        rows = {safe_text(path): row for row, path in enumerate(paths)}
        rows |= {path: row for row, path in enumerate(paths)}
        found = [(rows[a], rows[b]) for a, b in self.pairs if a in rows and b in rows]
        return np.array(found, dtype=np.int64).reshape(-1, 2)


def read_pairs(path: Path) -> Pairs:
    """Read a file of pairs; raise `QueryError` if it is none."""
    expected = f"expected a CSV file with the columns {' and '.join(COLUMNS)}"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise QueryError(f"cannot read {path}: {error.strerror}; {expected}") from error
    except UnicodeDecodeError as error:
        raise QueryError(f"{path} is not in UTF-8; save it as CSV UTF-8") from error
    heading = text.partition("\n")[0].strip()
    for delimiter in ",;\t":
        if heading.replace('"', "").split(delimiter) == [*COLUMNS]:
            break
    else:
        raise QueryError(f"{path} begins with {heading[:80]!r}; {expected}")
    pairs: list[tuple[str, str]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for row in reader:
            if len(row) != len(COLUMNS) and any(row):
                raise QueryError(
                    f"line {reader.line_num} of {path} has {len(row)} cells; {expected}"
                )
            if any(row):
                pairs.append((row[0], row[1]))
    except csv.Error as error:
        raise QueryError(f"line {reader.line_num} of {path}: {error}; {expected}") from error
    return Pairs(tuple(pairs[1:]))


def write_pairs(path: Path, known: Pairs, found: Iterable[tuple[str, str]]) -> None:
    """Write the pairs that were known and those that were found, atomically."""
    rows = dict.fromkeys((*known.pairs, *((safe_text(a), safe_text(b)) for a, b in found)))
    with replacing(path) as temporary, temporary.open("wb") as file:
        for line in csv_lines(COLUMNS, rows):
            file.write(line.encode())
