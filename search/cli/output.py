"""Options and printing that the commands with tables share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from geosim.trainer.console import say, say_csv, say_json

sheet_option = click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw the images as a picture, .png, .jpg or .pdf.",
)


where_option = click.option(
    "--where",
    metavar="EXPRESSION",
    help="Only images for which this holds, such as 'depth >= 2900 and hole = \"A-7\"'. See "
    "`geosim search --help`.",
)


def print_text(parts: Iterable[str], form: str) -> None:
    """Print parts of a ``table``, JSON documents, or lines of ``csv`` on stdout, as they come."""
    for text in parts:
        if form == "csv":
            say_csv(text)
        elif form == "table":
            say(*text.split("\n"))
        else:
            say_json(text.encode())
