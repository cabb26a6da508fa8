"""The command ``geosim``: one group of all commands."""

from __future__ import annotations

import click

from geosim.ingest.cli.backup import backup, restore
from geosim.ingest.cli.copy import copy
from geosim.ingest.cli.ingest import ingest
from geosim.ingest.cli.model import model
from geosim.ingest.cli.remove import remove
from geosim.search.cli.duplicates import duplicates
from geosim.search.cli.evaluate import evaluate
from geosim.search.cli.export import export
from geosim.search.cli.label import label
from geosim.search.cli.outliers import outliers
from geosim.search.cli.run import demo, run
from geosim.search.cli.search import search
from geosim.search.cli.serve import serve
from geosim.search.cli.status import status
from geosim.trainer.cli.command import Group
from geosim.trainer.cli.train import download, train


@click.group(cls=Group)
@click.version_option(package_name="geosim")
def geosim() -> None:
    """Find similar geological images.

    \b
    Start here:
      geosim demo                    the whole job on a generated set
      geosim run FOLDER              the whole job on your class folders
      geosim search PICTURE          what looks like this?
    """  # noqa: D301


for command in (
    run,
    demo,
    download,
    train,
    ingest,
    search,
    label,
    duplicates,
    outliers,
    export,
    evaluate,
    serve,
    status,
    remove,
    copy,
    backup,
    restore,
    model,
):
    geosim.add_command(command)
