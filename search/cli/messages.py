"""Prints answers on stdout and what was exported on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from geosim.search.explain import Explanation
    from geosim.search.graph.export import ExportReport
    from geosim.search.types import Result


def tell_results(
    results: Sequence[Result], form: str, explanations: Sequence[Explanation | None] = ()
) -> int:
    """Print answers to stdout and what has none to stderr; return the number of the latter."""
    from geosim.search.render.table import printable, render

    for text in render(results, form, explanations):
        click.echo(text)
    failed = [one for one in results if one.error is not None]
    for one in failed:
        click.echo(f"Error: {printable(one.query)}: {printable(one.error or '')}", err=True)
    return len(failed)


def tell_export(report: ExportReport) -> None:
    """Say what was exported."""
    click.echo(
        f"wrote {report.index}: {report.images:,} images, {report.k} neighbours each, "
        f"{report.same_class:.2%} of them of the same class; and {report.embeddings}; "
        f"{report.seconds:.1f} s",
        err=True,
    )
