"""``geosim copy``: copies a collection between the embedded engine and servers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from geosim.ingest.cli.options import (
    collection_option,
    open_from_options,
    settings_options,
    wait_option,
)
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

replace_option = click.option(
    "--replace",
    is_flag=True,
    help="Overwrite and delete what the collection that is there has otherwise. One of another "
    "model is built anew; on a server it is searched meanwhile.",
)


@click.command(cls=Command)
@click.option(
    "--from",
    "source",
    metavar="URL[,URL...]_OR_PATH",
    help="The server or folder to copy from [default: WORKING/qdrant]. Its API key comes from "
    "GEOSIM_FROM_API_KEY, or from GEOSIM_QDRANT_API_KEY.",
)
@click.option(
    "--to",
    "target",
    metavar="URL[,URL...]_OR_PATH",
    help="The server or folder to copy to [default: WORKING/qdrant]. Its API key comes from "
    "GEOSIM_QDRANT_API_KEY.",
)
@click.option("--as", "name", metavar="NAME", help="Name of the copy  [default: as the original]")
@replace_option
@settings_options
@collection_option
@wait_option
@working_option
def copy(
    source: str | None,
    target: str | None,
    name: str | None,
    replace: bool,
    settings: Mapping[str, Any] | None,
    collection: str,
    wait: float,
    working: Working,
) -> None:
    """Copy a collection from a server or folder to another one.

    The copy has each vector bit for bit, each payload and payload index, and is compared with the
    original at the end. An interrupted copy can be run again; it resumes where it stopped. Marks
    of hits in the working folder come along under another name. The model is not copied.

    A collection that is there and holds anything else is left as it is.

    \b
    Examples:
      geosim copy --to http://localhost:6333
      geosim copy --from http://localhost:6333 --to backup/qdrant
      geosim copy --from http://old:6333 --to http://node1:6333,http://node2:6333 --replicas 2
      geosim copy --to http://localhost:6333 --collection rocks --as rocks-2027
    """  # noqa: D301
    from geosim.ingest.marks_file import copy_marks
    from geosim.ingest.transfer import copy_collection

    if not (source or target or name):
        raise click.UsageError("name where to copy from or to: --from, --to, or --as")
    key = os.environ.get("GEOSIM_FROM_API_KEY")
    with (
        open_from_options(source, collection, wait, working, shared=True, key=key) as original,
        open_from_options(target, name or collection, wait, working, settings=settings) as made,
    ):
        report = copy_collection(original, made, replace=replace)
        copy_marks(working, collection, made.name, replace=replace)
        deleted = f", {report.deleted:,} deleted" if report.deleted else ""
        say(
            f"collection {made.name} at {made.location}: {report.points:,} points, equal to "
            f"{original.name} at {original.location}; {report.copied:,} copied{deleted}"
        )
