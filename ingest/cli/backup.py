"""``geosim backup`` and ``geosim restore``: a collection and its model in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from geosim.ingest.cli.model import say_current
from geosim.ingest.cli.options import open_from_options, store_options
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working


@click.command(cls=Command)
@click.argument("target", metavar="FILE_OR_FOLDER")
@click.option("--without-model", is_flag=True, help="Back up the collection alone.")
@store_options
@working_option
def backup(target: str, without_model: bool, wait: float, working: Working, **store: Any) -> None:
    """Write the collection and its model to FILE, or to a new file in a FOLDER that is there.

    The marks of right and wrong hits are in it, too.

    Other commands may read and write meanwhile: the backup has the state of one moment. A server
    takes a snapshot of its own. The points of a cluster are copied one after the other, and the
    backup fails if they change meanwhile.

    The pictures are not in it.

    \b
    Examples:
      geosim backup rocks.zip
      geosim backup /mnt/backups
      geosim backup rocks.zip --qdrant http://localhost:6333 --collection rocks
    """  # noqa: D301
    from geosim.ingest.backup import back_up, new_file

    with open_from_options(wait=wait, working=working, **store) as opened:
        file = new_file(target, opened.name)
        made = back_up(opened, working, file, wait=wait, with_model=not without_model)
        model = "without its model" if without_model else f"model {made.model}"
        say(f"wrote {file}: collection {opened.name}, {made.points:,} points, {model}")


@click.command(cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--replace",
    is_flag=True,
    help="Replace the collection that is there, if it is another one.",
)
@store_options
@working_option
def restore(
    file: Path,
    replace: bool,
    collection: str,
    working: Working,
    **store: Any,
) -> None:
    """Write the collection and the model of a backup to where they are missing.

    The model is put beside one that is there. Marks of hits are restored where there are none.

    The collection gets the name that it had, unless --collection is given. A backup of the embedded
    engine or of a cluster can be restored to any engine, and one of a server to a server.

    \b
    Examples:
      geosim restore rocks.zip
      geosim restore rocks.zip --collection rocks-2027 --qdrant http://localhost:6333
      geosim restore rocks.zip --replace
    """  # noqa: D301
    from geosim.ingest.backup import restore as write
    from geosim.ingest.backup_file import BackupFile

    with BackupFile(file) as opened:
        if (
            click.get_current_context().get_parameter_source("collection")
            is ParameterSource.DEFAULT
        ):
            collection = opened.manifest.collection
        with open_from_options(collection=collection, working=working, **store) as made:
            points = write(opened, made, working, replace=replace)
            say(f"collection {made.name} at {made.location}: {points:,} points, as in {file}")
    if opened.manifest.with_model:
        say(f"model {opened.manifest.model} in {working.model}")
        say_current(working, opened.manifest.model.fingerprint)
    else:
        say(f"the backup is without its model {opened.manifest.model}", err=True)
