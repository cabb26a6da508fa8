"""Outliers as text: an aligned table, CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from geosim.search.fact_columns import FactColumns, Facts
from geosim.search.outliers import Outlier
from geosim.search.spreadsheet import Cell, csv_lines
from geosim.trainer.console import to_json
from geosim.trainer.text import printable, printable_class

COLUMNS = ("rank", "kind", "class", "vote", "certainty", "vote_share", "score", "path", "nearest")

HEADINGS = ("rank", "kind", "class", "vote", "sure", "score", "path")


def render_outliers(
    outliers: Sequence[Outlier], form: str, facts: Mapping[str, Facts]
) -> Iterator[str]:
    """Yield outliers as text: one ``table``, one array as ``json``, or lines of ``csv``.

    ``facts`` are those of the images by stored path; a table has none.
    """
    rows = [[rank, *_cells(one)] for rank, one in enumerate(outliers, 1)]
    known = [facts.get(one.path, {}) for one in outliers]
    if form == "json":
        objects = [
            dict(zip(COLUMNS, row, strict=True)) | ({"facts": one} if one else {})
            for row, one in zip(rows, known, strict=True)
        ]
        yield to_json(objects, indent=True).decode()
    elif form == "csv":
        columns = FactColumns.of(known, COLUMNS)
        lines = ([*row, *columns.cells(one)] for row, one in zip(rows, known, strict=True))
        yield from csv_lines((*COLUMNS, *columns.header), lines)
    elif outliers:
        yield _table(outliers)


def _cells(one: Outlier) -> list[Cell]:
    """Return the values of `COLUMNS` after the rank; None for what is unknown."""
    return [
        one.kind,
        one.label or None,
        one.vote or None,
        None if one.certainty is None else round(one.certainty, 4),
        round(one.share, 4) if one.vote else None,
        one.score,
        one.path,
        one.nearest[0].path if one.nearest else None,
    ]


def _table(outliers: Sequence[Outlier]) -> str:
    rows = [HEADINGS]
    for rank, one in enumerate(outliers, 1):
        sure = "" if one.certainty is None else f"{int(100 * one.certainty)}%"
        label, score = printable_class(one.label), f"{one.score:.4f}"
        found = (str(rank), one.kind, label, printable(one.vote), sure, score, printable(one.path))
        rows.append(found)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{rank:>{widths[0]}}  {kind:<{widths[1]}}  {label:<{widths[2]}}  {vote:<{widths[3]}}  "
        f"{sure:>{widths[4]}}  {score:>{widths[5]}}  {path}"
        for rank, kind, label, vote, sure, score, path in rows
    )
