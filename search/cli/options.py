"""Options that several search commands share."""

from __future__ import annotations

import click

k_option = click.option(
    "-k", default=10, show_default=True, type=click.IntRange(min=1), help="Hits per image."
)

form_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="How results are printed.",
)
