"""``geosim search``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.search.cli.output import print_text
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import Range, exclude_option, form_option, working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.explain import Explanation
    from geosim.search.types import Result

    Answer = tuple[Result, Explanation | None]

STREAMED = ("jsonl", "csv")
"""Formats of which lines are printed as the answers come."""

result_form_option = form_option("table", "json", "jsonl", "csv", about="How results are printed.")


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-k",
    type=click.IntRange(min=1),
    help="Hits per query  [default: 10, or all that --min-score leaves]",
)
@click.option("--class", "label", metavar="C", help="Only hits of this class.")
@click.option(
    "--min-score",
    type=Range(-1, 1),
    metavar="S",
    help="Only hits with this cosine or a higher one.",
)
@click.option(
    "--one-per",
    type=click.Choice(["class", "dataset"]),
    help="Only the best hit of each class or data set; none without a class.",
)
@click.option(
    "--crop",
    metavar="X,Y,W,H",
    help="Search by this part of each PATH, in pixels of the upright picture or in per cent.",
)
@click.option("--together", is_flag=True, help="One search for what looks like all PATHs at once.")
@click.option(
    "--unlike",
    "negative",
    multiple=True,
    metavar="PATH",
    help="One search, away from this image; may be repeated.",
)
@result_form_option
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw queries and hits as a picture, .png or .jpg.",
)
@exclude_option
@store_options
@working_option
def search(
    paths: tuple[str, ...],
    crop: str | None,
    together: bool,
    negative: tuple[str, ...],
    form: str,
    sheet: Path | None,
    exclude: tuple[str, ...],
    qdrant: str | None,
    collection: str,
    wait: float,
    working: Working,
    **which: Any,
) -> None:
    """Find the indexed images that look like each PATH.

    PATH is an image file, a folder of them, or the stored path of an indexed image. An indexed
    image is answered from its stored vector and never lists itself; a search by a part of it lists
    it among the others.

    \b
    Examples:
      geosim search photo.jpg
      geosim search geological_similarity/marble/MGN0Z.jpg -k 5 --sheet hits.png
      geosim search field-day/ --class marble --format jsonl
      geosim search field-day/ --format csv > hits.csv
      geosim search photo.jpg --min-score 0.95
      geosim search photo.jpg --one-per class
      geosim search photo.jpg --crop 10%,20%,50%,50% --sheet hits.png
      geosim search a.jpg b.jpg --together --unlike c.jpg
    """  # noqa: D301 - click's mark for text that keeps its lines
    from geosim.search.crop import parse_crop
    from geosim.search.explain import explain_results
    from geosim.search.resolver import expand
    from geosim.search.searcher import Searcher
    from geosim.search.types import SearchOptions

    options, part = SearchOptions(**which), None if crop is None else parse_crop(crop)
    examples = list(expand(paths, exclude, report=lambda passed: say(str(passed), err=True)))
    drawn: list[Result] = []
    with open_from_options(qdrant, collection, wait, working) as store:
        searcher = Searcher(store, working)
        answers: Iterable[Answer]
        if together or negative:
            answers = [(searcher.recommend(examples, negative, options, part), None)]
        else:
            found = _with_progress(searcher.search(examples, options, part), len(examples), form)
            answers = explain_results(found, options, store, working)
        if options.one_per == "class" and (count := store.unlabelled()):
            noun = "image" if count == 1 else "images"
            say(f"--one-per class leaves out {count:,} {noun} without a class", err=True)
        if sheet is not None:
            answers = _collect(answers, drawn)
        if form in STREAMED:
            failed = print_results(answers, form)
        else:
            answers = list(answers)
    if form not in STREAMED:
        failed = print_results(answers, form)
    if sheet is not None and failed < len(drawn):
        from geosim.search.render.sheet import save_results

        save_results(drawn, sheet, working)
        say(f"wrote {sheet}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def print_results(answers: Iterable[Answer], form: str) -> int:
    """Print answers on stdout and errors on stderr; return the number of errors.

    Of formats in `STREAMED`, lines are printed, and an error told, before the next answer is asked
    for.
    """
    from geosim.search.render.table import render

    errors: list[str] = []

    def noted() -> Iterator[Answer]:
        for result, explanation in answers:
            if result.error is not None:
                errors.append(f"Error: {result.query}: {result.error}")
                if form in STREAMED:
                    say(errors[-1], err=True)
            yield result, explanation

    print_text(render(noted(), form), form)
    if form not in STREAMED:
        for error in errors:
            say(error, err=True)
    return len(errors)


def _collect(answers: Iterable[Answer], drawn: list[Result]) -> Iterator[Answer]:
    for result, explanation in answers:
        drawn.append(result)
        yield result, explanation


def _with_progress(results: Iterable[Result], count: int, form: str) -> Iterable[Result]:
    """Show the progress of several searches; a single one does not import the bar."""
    if count < 2 or (form in STREAMED and sys.stdout.isatty()):  # the lines show it
        yield from results
        return
    from geosim.trainer.progress import progress_bar

    with progress_bar("searching", count) as bar:
        for result in results:
            yield result
            bar.update()
