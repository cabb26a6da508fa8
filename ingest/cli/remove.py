"""``geosim remove``: removes one data set from a collection."""

from __future__ import annotations

import sys
from typing import Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import working_option
from geosim.trainer.console import say
from geosim.trainer.text import printable
from geosim.trainer.working import Working


@click.command(cls=Command)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_options
@working_option
def remove(name: str, yes: bool, working: Working, **store: Any) -> None:
    """Remove the data set NAME from the collection. Its pictures stay on disk.

    \b
    Examples:
      geosim remove photos
      geosim remove photos --yes --qdrant http://localhost:6333
    """  # noqa: D301
    from geosim.ingest.remove import find_points
    from geosim.ingest.remove import remove as delete

    name = name.rstrip("/")  # a shell completes the folder's name
    with open_from_options(working=working, **store) as opened:
        images = {point.path for point in find_points(opened, name)}
        what = f"{len(images):,} images of {name} from collection {opened.name}"
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError(printable(f"{what} would be removed; confirm it with --yes"))
            click.confirm(printable(f"Remove {what} at {opened.location}?"), abort=True, err=True)
        delete(opened, name, working.datasets)
    say(f"removed {what}; the pictures stay on disk", err=True)
