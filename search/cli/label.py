"""``geosim label``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import exclude_option, working_option
from geosim.trainer.console import say, say_csv
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.label import Label


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="NEW...")
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The CSV file to write  [default: stdout]",
)
@exclude_option
@store_options
@working_option
def label(
    paths: tuple[str, ...],
    table: Path | None,
    exclude: tuple[str, ...],
    working: Working,
    **store: Any,
) -> None:
    """Predict the class of each picture in NEW, files or folders, as a CSV table.

    The 10 nearest indexed images vote; the certainty was calibrated on held-out images in training.
    A picture that is unlike all indexed ones has no class and a yes in the column unlike. One that
    cannot be read has a row with the reason, and the exit status is 1.

    A table that is not finished is in FILE.part. Embeddings are kept in the working folder, so that
    the same command goes on quickly after Ctrl-C.

    \b
    Examples:
      geosim label field-day/ --table field-day.csv
      geosim label new.jpg
      geosim label field-day/ --exclude '*_old*' --table field-day.csv
    """  # noqa: D301
    from geosim.search.label import label_pictures, table_lines, write_labels
    from geosim.search.resolver import expand

    pictures = list(expand(paths, exclude, report=lambda passed: say(str(passed), err=True)))
    counts: Counter[str] = Counter()

    def stopped(part: Path) -> None:
        say(f"{part} has the {counts['pictures']:,} of {len(pictures):,} that were done", err=True)

    with open_from_options(working=working, **store) as opened:
        found = label_pictures(pictures, opened, working)
        shown = table is not None or not sys.stdout.isatty()
        labels = _counted(found, counts, len(pictures), shown=shown)
        if table is None:
            for line in table_lines(labels):
                say_csv(line)
        else:
            write_labels(labels, table, on_stopped=stopped)
    what = "" if table is None else f"wrote {table}: "
    say(
        f"{what}{counts['pictures']:,} pictures, {counts['labelled']:,} labelled, "
        f"{counts['unlike']:,} unlike anything indexed, {counts['errors']:,} not readable",
        err=True,
    )
    if counts["unsure"]:
        say("too few images or classes to tell how sure the labels are", err=True)
    if counts["errors"]:
        raise click.exceptions.Exit(1)


def _counted(
    labels: Iterable[Label], counts: Counter[str], total: int, *, shown: bool
) -> Iterator[Label]:
    """Count labels as they come, tell errors, and show the progress."""
    from geosim.trainer.progress import progress_bar

    with progress_bar("labelling", total if shown else None) as bar:
        for one in labels:
            if one.error is not None:
                say(f"Error: {one.path}: {one.error}", err=True)
            yield one
            counts["pictures"] += 1
            counts["labelled"] += one.label is not None
            counts["unlike"] += bool(one.unlike)
            counts["errors"] += one.error is not None
            counts["unsure"] += one.label is not None and one.certainty is None
            bar.update()
