"""``geosim export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.graph.export import ExportReport

k_option = click.option(
    "-k", default=10, show_default=True, type=click.IntRange(min=1), help="Hits per image."
)


@click.command(cls=Command)
@k_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The neighbour graph's file  [default: WORKING/inverted-index.json]",
)
@store_options
@working_option
def export(k: int, output: Path | None, working: Working, **store: Any) -> None:
    """Write every indexed image's K most similar others, exactly, as JSON.

    Writes WORKING/inverted-index.json and WORKING/embeddings.json.

    \b
    Examples:
      geosim export
      geosim export -k 50 --output graph.json
    """  # noqa: D301
    from geosim.search.graph.export import export as write

    index = output or working.index
    with open_from_options(working=working, **store) as opened:
        report = write(opened, index, working.embeddings, k)
    report_export(report)


def report_export(report: ExportReport) -> None:
    """Print a summary of an export on stderr."""
    embeddings = f"and {report.embeddings}"
    if report.embeddings is None:
        embeddings = "no embeddings, the working folder is read-only"
    same, both = "", " where both have one" if report.without_class else ""
    if report.same_class is not None:
        same = f", {report.same_class:.2%} of them of the same class{both}"
    say(
        f"wrote {report.index}: {report.images:,} images, {report.k} neighbours each"
        f"{same}; {embeddings}; {report.seconds:.1f} s",
        err=True,
    )
