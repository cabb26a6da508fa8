"""``geosim duplicates``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.search.cli.output import print_text, sheet_option, where_option
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import form_option, working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.duplicates import Duplicates
    from geosim.search.graph.collection import Collection

MOST_DRAWN, MOST_BESIDE = 20, 10
"""Groups of a sheet, and images beside the first of each, at most."""


@click.command(cls=Command)
@click.option(
    "--ignore",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A CSV file of pairs that are known, with the columns path and other: they are left out.",
)
@click.option(
    "--accept",
    is_flag=True,
    help="Add all pairs that were found to the file of --ignore, which may not exist yet.",
)
@form_option("table", "json", "csv")
@sheet_option
@where_option
@store_options
@working_option
def duplicates(
    ignore: Path | None,
    accept: bool,
    form: str,
    sheet: Path | None,
    where: str | None,
    working: Working,
    **store: Any,
) -> None:
    """Find the indexed images that are identical, nearly identical, or overlap.

    Identical images have the same bytes; nearly identical ones show the same picture, re-encoded or
    resized; overlapping ones were cut from one larger picture on a grid. Groups under two classes
    come first: one of the classes is wrong. Turned and mirrored copies are not found. Pictures that
    are not on this machine are compared by bytes and embeddings alone. A picture in tiles is
    compared as a whole.

    \b
    Examples:
      geosim duplicates
      geosim duplicates --sheet duplicates.png
      geosim duplicates --format csv > duplicates.csv
      geosim duplicates --ignore known.csv --accept
      geosim duplicates --ignore known.csv
    """  # noqa: D301
    from geosim.search.duplicates import find_duplicates
    from geosim.search.fact_columns import read_facts
    from geosim.search.graph.collection import read_filled
    from geosim.search.pairs import Pairs, read_pairs, write_pairs
    from geosim.search.render.groups import render_groups
    from geosim.search.render.sheet import check_sheet
    from geosim.search.scope import condition_of

    if sheet is not None:
        check_sheet(sheet)
    if accept and ignore is None:
        raise click.UsageError("--accept needs the file to write: --ignore FILE")
    known = Pairs()
    if ignore is not None and not (accept and not ignore.exists()):
        known = read_pairs(ignore)
    with open_from_options(working=working, **store) as opened:
        collection = read_filled(opened, "compare", condition_of(opened, where))
    rows = known.rows(collection.paths)
    if missing := len(known.pairs) - len(rows):
        say(f"{missing:,} of {len(known.pairs):,} pairs of {ignore} are not indexed", err=True)
    found = find_duplicates(collection, working, rows)
    facts: dict[str, Any] = {}  # a table shows none
    if form != "table":
        with open_from_options(working=working, **store) as opened:
            listed = [collection.paths[row] for group in found.groups for row in group.rows]
            facts = read_facts(opened, listed)
    print_text(render_groups(found.groups, collection, form, facts), form)
    _report(found, len(collection.paths))
    paths = collection.paths
    if accept and ignore is not None:
        pairs = ((paths[one.rows[0]], paths[row]) for one in found.groups for row in one.rows[1:])
        write_pairs(ignore, known, pairs)
        say(f"wrote {ignore}", err=True)
    if sheet is not None and found.groups:
        _draw(found, collection, sheet, working)


def _draw(found: Duplicates, collection: Collection, sheet: Path, working: Working) -> None:
    from geosim.search.duplicates import beside_first
    from geosim.search.render.sheet import save_stored

    rows = []
    for group in found.groups[:MOST_DRAWN]:
        first, hits = group.rows[0], beside_first(collection, group)
        rows.append((collection.paths[first], collection.labels[first], hits[:MOST_BESIDE]))
    save_stored(rows, sheet, working)
    some = f" of the first {MOST_DRAWN} groups" if len(found.groups) > MOST_DRAWN else ""
    say(f"wrote {sheet}{some}", err=True)


def _report(found: Duplicates, images: int) -> None:
    """Tell how many groups there are of each kind, and what could not be compared."""
    kinds = Counter(group.kind for group in found.groups)
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    noun = "group" if len(found.groups) == 1 else "groups"
    several = sum(len(group.classes) > 1 for group in found.groups)
    wrong = f"; {several:,} under two classes or more" if several else ""
    say(
        f"{len(found.groups):,} {noun} in {images:,} images{': ' * bool(listed)}{listed}{wrong}",
        err=True,
    )
    if found.unread:
        noun = "picture was" if found.unread == 1 else "pictures were"
        say(
            f"{found.unread:,} {noun} compared by bytes and embedding alone: {found.reason}",
            err=True,
        )
