"""A table as Apache Parquet, with typed columns, for pandas, polars, DuckDB or a GIS.

Needs pyarrow, which is not installed with geosim unless asked for: ``geosim[parquet]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

from geosim.ingest.schema import INDEX_KINDS
from geosim.search.fact_columns import Facts
from geosim.search.graph.export_table import COLUMNS, Table, Write
from geosim.search.spreadsheet import Cell
from geosim.trainer.data.facts import DATE
from geosim.trainer.errors import QueryError

ROW_GROUP = 20_000
"""Rows that are written at once; bounds the memory."""


def parquet_writer(facts: Iterable[Facts], kinds: Mapping[str, str]) -> Write:
    """Return a writer of Parquet.

    ``facts`` have each fact of the collection once or more often, and ``kinds`` are those of their
    payload indexes by name. Text is a string, a number a double, a place two doubles, and a date a
    timestamp in UTC, which is also the zone of a date that names none, as it is in the engines.

    Raises:
        QueryError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise QueryError(
            "Parquet needs pyarrow; pip install 'geosim[parquet]', or take --format csv"
        ) from error
    numbers = {
        name for one in facts for name, value in one.items() if isinstance(value, float | int)
    }
    dates = {name for name, kind in kinds.items() if kind == INDEX_KINDS[DATE]}
    types = dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(dates, pa.timestamp("us", "UTC"))
    return partial(_write, types)


def _write(types: Mapping[str, Any], file: BinaryIO, table: Table) -> None:
    """Write a table whose facts are of Arrow's ``types``, else strings."""
    import pyarrow as pa
    from pyarrow import parquet

    number, text = pa.float64(), pa.string()
    own = [number if name == "vote_share" else text for name in COLUMNS]
    facts = [number if key else types.get(name, text) for name, key in table.facts.sources]
    near = [text, number] * (len(table.neighbours) // 2)
    schema = pa.schema(list(zip(table.header, (*own, *facts, *near), strict=True)))
    rows = (row.cells for row in table.rows)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROW_GROUP)):
            columns = [
                pa.array(_values(cells, field), field.type)
                for field, cells in zip(schema, zip(*group, strict=True), strict=True)
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _values(cells: Iterable[Cell], field: Any) -> list[Any]:
    """Return cells as values of their column; raise `QueryError` for one of another type."""
    kind = str(field.type)
    converters: dict[str, Callable[[Any], Any]] = {"double": float, "string": _text}
    convert = converters.get(kind, _moment)
    try:
        return [None if cell is None else convert(cell) for cell in cells]
    except ValueError as error:
        raise QueryError(
            f"fact {field.name} has a value that is no {kind}, as those of other images are "
            f"({error}); ingest its table again, or take --format csv"
        ) from error


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else repr(cell)


def _moment(cell: Cell) -> datetime:
    moment = datetime.fromisoformat(str(cell).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
