"""``geosim status``."""

from __future__ import annotations

from typing import Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import form_option, working_option
from geosim.trainer.console import say, say_json, to_json
from geosim.trainer.errors import StoreError
from geosim.trainer.working import Working


@click.command(cls=Command)
@form_option("table", "json")
@store_options
@working_option
def status(form: str, working: Working, **store: Any) -> None:
    """Tell what there is: images per class, model, engine, disk use, dashboard.

    \b
    Examples:
      geosim status
      geosim status --qdrant http://localhost:6333 --format json
    """  # noqa: D301
    from geosim.search.status import render
    from geosim.search.status import status as look

    with open_from_options(working=working, **store) as opened:
        found = look(opened, working)
    if form == "json":
        say_json(to_json(found, indent=True))
    else:
        say(*render(found).split("\n"))
    if found.points is None:
        raise StoreError(f"collection {found.collection} cannot be read; see the warnings above")
