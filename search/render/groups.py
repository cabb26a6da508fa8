"""Groups of duplicates as text: a list, CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from geosim.search.duplicates import Group
from geosim.search.fact_columns import FactColumns, Facts
from geosim.search.graph.collection import Collection
from geosim.search.spreadsheet import Cell, csv_lines
from geosim.trainer.console import to_json
from geosim.trainer.text import printable, printable_class

COLUMNS = ("group", "kind", "two_classes", "path", "class", "sha256")


def render_groups(
    groups: Sequence[Group], collection: Collection, form: str, facts: Mapping[str, Facts]
) -> Iterator[str]:
    """Yield groups as text: a ``table`` each, one array as ``json``, or lines of ``csv``.

    ``facts`` are those of the images by stored path; a table has none.
    """
    if form == "json":
        objects = [_as_json(group, collection, facts) for group in groups]
        yield to_json(objects, indent=True).decode()
    elif form == "csv":
        columns = FactColumns.of(facts.values(), COLUMNS)
        yield from csv_lines((*COLUMNS, *columns.header), _rows(groups, collection, columns, facts))
    else:
        yield from (_table(number, one, collection) for number, one in enumerate(groups, 1))


def _as_json(group: Group, collection: Collection, facts: Mapping[str, Facts]) -> dict[str, object]:
    return {
        "kind": group.kind,
        "classes": group.classes,
        "images": [
            {
                "path": collection.paths[row],
                "class": collection.labels[row] or None,
                "sha256": collection.hashes[row],
                **({"facts": known} if (known := facts.get(collection.paths[row])) else {}),
            }
            for row in group.rows
        ],
    }


def _rows(
    groups: Sequence[Group],
    collection: Collection,
    columns: FactColumns,
    facts: Mapping[str, Facts],
) -> Iterator[list[Cell]]:
    for number, group in enumerate(groups, 1):
        for row in group.rows:
            path, label, sha256 = (
                collection.paths[row],
                collection.labels[row],
                collection.hashes[row],
            )
            several = len(group.classes) > 1
            cells = columns.cells(facts.get(path, {}))
            yield [number, group.kind, several, path, label, sha256, *cells]


def _table(number: int, group: Group, collection: Collection) -> str:
    title = f"group {number}: {group.kind}"
    if len(group.classes) > 1:
        title += f", under {len(group.classes)} classes"
    labels = [printable_class(collection.labels[row]) for row in group.rows]
    width = max(map(len, labels))
    lines = [
        f"  {label:<{width}}  {printable(collection.paths[row])}"
        for label, row in zip(labels, group.rows, strict=True)
    ]
    return "\n".join([title, *lines]) + "\n"
