"""A table beside the pictures as facts: its columns become values of the pictures of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from geosim.trainer.data.facts import Layer
from geosim.trainer.errors import DatasetError
from geosim.trainer.facts.layer import as_layer, describe_types
from geosim.trainer.facts.matching import Names, is_pattern, match_rows, share_named
from geosim.trainer.facts.reading import Table, read_table
from geosim.trainer.text import listed

_SAMPLE_ROWS = 200  # looked at to find the column that names pictures


def table_facts(
    path: Path,
    paths: Sequence[str],
    key: str | None,
    forced: Mapping[str, str],
    *,
    encoding: str | None = None,
) -> tuple[Layer, list[str]]:
    """Return the facts that a table has of the pictures ``paths``, and what to tell about it.

    ``key`` is the column that names pictures and ``encoding`` the table's, found if None;
    ``forced`` are types of columns.

    Raises:
        DatasetError: the table cannot be used.
    """
    table, names = read_table(path, encoding), Names(paths)
    key = _key(table, names, key, path)
    cells = table.columns.pop(key)
    rows, without = match_rows(cells, table.lines, names, str(path))
    if not rows:
        raise _no_match(f"column {key} of {path} names", cells, names)
    _check_patterns(table, cells, rows, path)

    def where(row: int) -> str:
        return f"line {table.lines[row]}"

    comma = table.delimiter != ","
    layer, notes = as_layer(table.columns, rows, forced, where, decimal_comma=comma)
    told = [
        f"table {path}: column {key} names {len(rows):,} of {len(paths):,} pictures; facts: "
        f"{describe_types(layer.types)}",
        *table.notes,
        *notes,
    ]
    if without:
        lines = listed([f"{cells[row] or 'no name'} ({where(row)})" for row in without])
        told.append(f"{_count(len(without), 'row')} of {path} without a picture: {lines}")
    if missing := [one for one in paths if one not in rows]:
        told.append(f"{_count(len(missing), 'picture')} without a row in {path}: {listed(missing)}")
    return layer, told


def _key(table: Table, names: Names, key: str | None, path: Path) -> str:
    """Return the column that names pictures: as given, or that most of whose cells do."""
    if key is not None:
        if key not in table.columns:
            raise DatasetError(
                f"{path} has no column {key!r}; its columns: {', '.join(table.columns)}"
            )
        return key
    step = -(-len(table.lines) // _SAMPLE_ROWS)
    shares = {name: share_named(cells[::step], names) for name, cells in table.columns.items()}
    best = max(shares, key=shares.__getitem__)
    if not shares[best]:
        first = {name: next(filter(None, cells), "") for name, cells in table.columns.items()}
        listing = listed([f"{name} ({cell})" for name, cell in first.items()])
        raise DatasetError(
            f"no column of {path} names pictures, such as {names.example}; its columns begin with "
            f"{listing}. Name one with --table-key, or write names or paths into it"
        )
    return best


def _no_match(what: str, cells: Sequence[str], names: Names) -> DatasetError:
    return DatasetError(
        f"{what} none of the pictures, such as {names.example}; it begins with {cells[0]!r}. Name "
        "another one with --table-key, or write names or paths into it"
    )


def _check_patterns(
    table: Table, cells: Sequence[str], rows: Mapping[str, Sequence[int]], path: Path
) -> None:
    """Raise `DatasetError` if two patterns give a picture different values."""
    checked = set()
    for picture, found in rows.items():
        if len(found) < 2:
            continue
        fitting = tuple(row for row in found if is_pattern(cells[row]))
        if len(fitting) < 2 or fitting in checked:
            continue
        checked.add(fitting)
        for name, column in table.columns.items():
            given = {column[row]: row for row in fitting if column[row]}
            if len(given) > 1:
                first, second, *_ = given.values()
                raise DatasetError(
                    f"lines {table.lines[first]} and {table.lines[second]} of {path} both fit "
                    f"{picture} and give it another {name}; make their patterns narrower"
                )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
