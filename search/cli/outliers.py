"""``geosim outliers``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.search.cli.output import print_text, sheet_option, where_option
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import form_option, working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.outliers import Outliers

MOST_DRAWN, MOST_BESIDE = 20, 5
"""Outliers of a sheet, and nearest images beside each, at most."""


@click.command(cls=Command)
@form_option("table", "json", "csv")
@sheet_option
@where_option
@store_options
@working_option
def outliers(
    form: str, sheet: Path | None, where: str | None, working: Working, **store: Any
) -> None:
    """Find the indexed images that are unlike their class, probably wrong labels first.

    The 10 nearest images of each image vote on its class, without the image itself and its copies.
    An image is listed if they vote for another class, with a certainty that was calibrated on
    held-out images, or if no image is like it at all. With --where, only images for which it holds
    are listed; all vote. A picture in tiles counts by the mean of its tiles, without a certainty.

    \b
    Examples:
      geosim outliers
      geosim outliers --sheet outliers.png
      geosim outliers --format csv > outliers.csv
    """  # noqa: D301
    from geosim.search.fact_columns import read_facts
    from geosim.search.outliers import find_outliers
    from geosim.search.render.outliers import render_outliers
    from geosim.search.render.sheet import check_sheet, save_stored
    from geosim.search.scope import condition_of

    if sheet is not None:
        check_sheet(sheet)
    with open_from_options(working=working, **store) as opened:
        report = find_outliers(opened, working, condition_of(opened, where))
        listed = [] if form == "table" else [one.path for one in report.found]
        facts = read_facts(opened, listed)
    print_text(render_outliers(report.found, form, facts), form)
    _report(report)
    if sheet is not None and report.found:
        drawn = report.found[:MOST_DRAWN]
        rows = [(one.path, one.label, one.nearest[:MOST_BESIDE]) for one in drawn]
        save_stored(rows, sheet, working)
        some = f" of the first {MOST_DRAWN} outliers" if len(report.found) > MOST_DRAWN else ""
        say(f"wrote {sheet}{some}", err=True)


def _report(report: Outliers) -> None:
    kinds = Counter(one.kind for one in report.found)
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    noun = "outlier" if len(report.found) == 1 else "outliers"
    say(
        f"{len(report.found):,} {noun} in {report.images:,} images{': ' * bool(listed)}{listed}",
        err=True,
    )
    if report.classes < 2:
        say("no label was checked: that needs images of two classes", err=True)
        return
    if report.unlabelled:
        noun = "image has" if report.unlabelled == 1 else "images have"
        say(f"{report.unlabelled:,} {noun} no class to check", err=True)
    if report.unchecked:
        noun = "image is" if report.unchecked == 1 else "images are"
        say(f"{report.unchecked:,} {noun} of a class too small to check", err=True)
