"""``geosim export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.search.cli.output import where_option
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import form_option, working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.graph.export import ExportReport

TABLES = ("csv", "parquet", "geojson")
"""Formats with a row or a point per image."""

k_option = click.option(
    "-k", default=10, show_default=True, type=click.IntRange(min=1), help="Hits per image."
)


@click.command(cls=Command)
@k_option
@form_option(
    "json",
    *TABLES,
    about="The neighbour graph and the embeddings as JSON, one table as CSV for a spreadsheet or "
    "as Parquet for pandas and the like, or a GeoJSON point for each image that has coordinates.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of the neighbour graph, the table or the points  [default: "
    "WORKING/inverted-index.json, or of the suffix of the format]",
)
@where_option
@store_options
@working_option
def export(
    k: int,
    form: str,
    output: Path | None,
    where: str | None,
    working: Working,
    **store: Any,
) -> None:
    """Write every indexed image's K most similar others, exactly, as JSON or a table.

    Writes WORKING/inverted-index.json and WORKING/embeddings.json; or, as CSV, one row per image
    with its class, the class that its 10 nearest vote for, its facts, and its neighbours with their
    scores. An apostrophe is put before text that a spreadsheet would run as a formula. Parquet has
    the same columns, with their types. As GeoJSON, the images with coordinates are points with the
    same columns as properties.

    \b
    Examples:
      geosim export
      geosim export -k 50 --output graph.json
      geosim export --format csv --output neighbours.csv
      geosim export --format parquet --output neighbours.parquet
      geosim export --format geojson --output outcrops.geojson
      geosim export --where 'hole = "A-7"' --output a7.json
    """  # noqa: D301
    from geosim.search.graph.export import export as write
    from geosim.search.graph.export import export_table
    from geosim.search.scope import condition_of

    with open_from_options(working=working, **store) as opened:
        only = condition_of(opened, where)
        if form in TABLES:
            table = output or working.index.with_suffix(f".{form}")
            report = export_table(opened, table, k, only, form=form)
        else:
            report = write(opened, output or working.index, working.embeddings, k, only)
    report_export(report, form)


def report_export(report: ExportReport, form: str = "json") -> None:
    """Print a summary of an export on stderr."""
    embeddings = f"; and {report.embeddings}"
    if form in TABLES:
        embeddings = ""
    elif report.embeddings is None:
        embeddings = "; no embeddings, the working folder is read-only"
    same, both = "", " where both have one" if report.without_class else ""
    if report.same_class is not None:
        same = f", {report.same_class:.2%} of them of the same class{both}"
    written = report.images - report.without_place
    say(
        f"wrote {report.index}: {written:,} images, {report.k} neighbours each"
        f"{same}{embeddings}; {report.seconds:.1f} s",
        err=True,
    )
    if report.without_place:
        noun = "image" if report.without_place == 1 else "images"
        say(f"{report.without_place:,} {noun} without coordinates left out", err=True)
