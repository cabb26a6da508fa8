"""``geosim export``."""

from __future__ import annotations

from pathlib import Path

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.search.cli.messages import tell_export
from geosim.search.cli.options import k_option
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import working_option
from geosim.trainer.working import Working


@click.command(cls=Command)
@k_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The neighbour graph's file  [default: WORKING/inverted-index.json]",
)
@store_options
@working_option
def export(
    k: int,
    output: Path | None,
    qdrant: str | None,
    collection: str,
    working: Working,
) -> None:
    """Write every indexed image's K most similar others, exactly, as JSON.

    Writes WORKING/inverted-index.json and WORKING/embeddings.json.

    \b
    Examples:
      geosim export
      geosim export -k 50 --output graph.json
    """  # noqa: D301
    from geosim.search.graph.export import export as write

    index = output or working.index
    with open_from_options(qdrant, collection, working) as store:
        report = write(store, index, working.embeddings, k)
    tell_export(report)
