"""Groups of duplicates as text: a list, CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from geosim.search.duplicates import Group
from geosim.search.graph.collection import Collection
from geosim.search.spreadsheet import Cell, csv_lines
from geosim.trainer.console import to_json
from geosim.trainer.text import printable, printable_class

COLUMNS = ("group", "kind", "two_classes", "path", "class", "sha256")


def render_groups(groups: Sequence[Group], collection: Collection, form: str) -> Iterator[str]:
    """Yield groups as text: a ``table`` each, one array as ``json``, or lines of ``csv``."""
    if form == "json":
        yield to_json([_as_json(group, collection) for group in groups], indent=True).decode()
    elif form == "csv":
        yield from csv_lines(COLUMNS, _rows(groups, collection))
    else:
        yield from (_table(number, one, collection) for number, one in enumerate(groups, 1))


def _as_json(group: Group, collection: Collection) -> dict[str, object]:
    return {
        "kind": group.kind,
        "classes": group.classes,
        "images": [
            {
                "path": collection.paths[row],
                "class": collection.labels[row] or None,
                "sha256": collection.hashes[row],
            }
            for row in group.rows
        ],
    }


def _rows(groups: Sequence[Group], collection: Collection) -> Iterator[list[Cell]]:
    for number, group in enumerate(groups, 1):
        for row in group.rows:
            facts = (collection.paths[row], collection.labels[row], collection.hashes[row])
            yield [number, group.kind, len(group.classes) > 1, *facts]


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
