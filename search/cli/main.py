"""The command ``geosim``: one group of all commands, each imported when it is named."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import Any

import click

from geosim.trainer.cli.command import Group

COMMANDS = {
    "run": "search.cli.run",
    "demo": "search.cli.run",
    "download": "trainer.cli.train",
    "train": "trainer.cli.train",
    "ingest": "ingest.cli.ingest",
    "search": "search.cli.search",
    "label": "search.cli.label",
    "duplicates": "search.cli.duplicates",
    "outliers": "search.cli.outliers",
    "export": "search.cli.export",
    "evaluate": "search.cli.evaluate",
    "serve": "search.cli.serve",
    "status": "search.cli.status",
    "remove": "ingest.cli.remove",
    "copy": "ingest.cli.copy",
    "backup": "ingest.cli.backup",
    "restore": "ingest.cli.backup",
    "model": "ingest.cli.model",
}
"""The module of each command, which has its name there."""


class _Commands(UserDict[str, Any]):
    """The commands by name, each imported when it is asked for: all take as long as a search."""

    def __getitem__(self, name: str) -> Any:
        """Return a command."""
        return getattr(import_module(f"geosim.{self.data[name]}"), name)


@click.group(cls=Group, commands=_Commands(COMMANDS))
@click.version_option(package_name="geosim")
def geosim() -> None:
    """Find similar geological images.

    \b
    Start here:
      geosim demo                    the whole job on a generated set
      geosim run FOLDER              the whole job on your class folders
      geosim search PICTURE          what looks like this?
    """  # noqa: D301
