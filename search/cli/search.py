"""``geosim search``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.search.cli.output import print_text, where_option
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import Range, exclude_option, form_option, working_option
from geosim.trainer.console import say
from geosim.trainer.errors import QueryError
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.explain import Explanation
    from geosim.search.fact_columns import FactColumns
    from geosim.search.types import Result

    Answer = tuple[Result, Explanation | None]

STREAMED = ("jsonl", "csv")
"""Formats of which lines are printed as the answers come."""


def _names(text: str | None) -> tuple[str, ...]:
    from geosim.search.fields import field_names

    try:
        return () if text is None else field_names(text)
    except QueryError as error:
        raise click.BadParameter(str(error)) from error


APPROXIMATE = (
    "many images: Qdrant's index chose the hits, see `geosim status`; --exact compares all"
)
"""What is told once of hits that may miss one."""

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
@where_option
@click.option(
    "--one-per",
    metavar="FIELD",
    help="Only the best hit of each class, dataset, or value of a fact; none without one.",
)
@click.option(
    "--not-same",
    metavar="FIELD",
    help="No hits with the query's own value of a field, such as its hole, sample or class.",
)
@click.option(
    "--show",
    metavar="FIELD,...",
    callback=lambda _context, _option, text: _names(text),
    help="Fields to show of each hit. A name with a comma is put in quotes.",
)
@click.option(
    "--crop",
    metavar="X,Y,W,H",
    help="Search by this part of each PATH, in pixels of the upright picture or in per cent.",
)
@click.option("--together", is_flag=True, help="One search for what looks like all PATHs at once.")
@click.option(
    "--together-by",
    metavar="FIELD",
    help="Search by all indexed images with the FIELD of each PATH, such as its specimen, and rank "
    "specimens, each with its image that is most like one of these.",
)
@click.option(
    "--unlike",
    "negative",
    multiple=True,
    metavar="PATH",
    help="One search, away from this image; may be repeated.",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Compare all images of a server's collection, also where it has more than a million and "
    "Qdrant's index would answer.",
)
@result_form_option
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw queries and hits as a picture, .png, .jpg or .pdf.",
)
@exclude_option
@store_options
@working_option
def search(
    paths: tuple[str, ...],
    crop: str | None,
    together: bool,
    together_by: str | None,
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
    An EXPRESSION of --where compares facts of the images (`geosim ingest --table`) and class,
    dataset, path, sha256, width or height:
      depth >= 2900 and depth < 3000      numbers and dates: = != < <= > >=
      sampled >= 2024-05-01               a date is the whole day
      hole in ("A-7", B-2) or not has(hole)
      near(51.5, -0.1, 20 km)             latitude, longitude, and km or m
      "depth (m)" > 3 and not (class = marble or class = schist)
    Names and values with spaces or signs are put in " or '; that quote in them is written twice.
    facts.width is a fact with the name of such a field, image.width the field. Comparisons, also
    !=, hold only for images that have the fact; not holds for the others as well.

    \b
    Examples:
      geosim search photo.jpg
      geosim search geological_similarity/marble/MGN0Z.jpg -k 5 --sheet hits.png
      geosim search field-day/ --class marble --format jsonl
      geosim search field-day/ --format csv > hits.csv
      geosim search photo.jpg --min-score 0.95
      geosim search photo.jpg --one-per class
      geosim search photo.jpg --where 'depth >= 2900 and hole = "A-7"' --show hole,depth
      geosim search core.jpg --not-same hole --one-per hole
      geosim search photo.jpg --crop 10%,20%,50%,50% --sheet hits.png
      geosim search a.jpg b.jpg --together --unlike c.jpg
      geosim search thin-section.jpg --together-by specimen
    """  # noqa: D301 - click's mark for text that keeps its lines
    from geosim.search.crop import parse_crop
    from geosim.search.explain import explain_results, with_voters
    from geosim.search.render.table import csv_facts
    from geosim.search.resolver import expand
    from geosim.search.scope import count_without
    from geosim.search.searcher import Searcher
    from geosim.search.types import SearchOptions

    options, part = SearchOptions(**which), None if crop is None else parse_crop(crop)
    if together_by is not None and (crop or negative or options.one_per or options.not_same):
        raise click.UsageError(
            "--together-by compares whole specimens: leave out --crop, --unlike, --one-per and "
            "--not-same"
        )
    examples = list(expand(paths, exclude, report=lambda passed: say(str(passed), err=True)))
    drawn: list[Result] = []
    with open_from_options(qdrant, collection, wait, working) as store:
        searcher = Searcher(store, working)
        answers: Iterable[Answer]
        if together_by is not None:
            options = replace(options, show=(together_by, *options.show))
            specimens = searcher.search_specimens(examples, together_by, options, together=together)
            answers = ((result, None) for result in specimens)
        elif together or negative:
            answers = [(searcher.recommend(examples, negative, options, part), None)]
        else:
            found = searcher.search(examples, with_voters(options), part)
            shown = _with_progress(found, len(examples), form)
            answers = explain_results(shown, options, store, working)
        option, field = "--one-per", options.one_per
        if together_by is not None:
            option, field = "--together-by", together_by
        if count := count_without(store, replace(options, one_per=field)):
            from geosim.ingest.tiling import is_tiled

            noun = ("tile" if is_tiled(store) else "image") + "s" * (count != 1)
            say(f"{option} {field} leaves out {count:,} {noun} without a {field}", err=True)
        if sheet is not None:
            answers = _collect(answers, drawn)
        if form in STREAMED:
            facts = csv_facts(store, options.show) if form == "csv" else None
            failed = print_results(answers, form, options.show, facts)
        else:
            answers = list(answers)
    if form not in STREAMED:
        failed = print_results(answers, form, options.show)
    if sheet is not None and failed < len(drawn):
        from geosim.search.render.sheet import save_results

        save_results(drawn, sheet, working)
        say(f"wrote {sheet}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def print_results(
    answers: Iterable[Answer],
    form: str,
    show: Sequence[str] = (),
    facts: FactColumns | None = None,
) -> int:
    """Print answers on stdout, errors and notes on stderr; return the number of errors.

    Of formats in `STREAMED`, lines are printed, and an error told, before the next answer is asked
    for. ``show`` are the fields that were shown, ``facts`` further columns of a ``csv``.
    """
    from geosim.search.render.table import NO_FACTS, render

    failed, told, approximate = 0, list[str](), False

    def noted() -> Iterator[Answer]:
        nonlocal failed, approximate
        for result, explanation in answers:
            if result.approximate and not approximate:
                approximate = True
                told.append(APPROXIMATE)
            if result.error is not None:
                failed += 1
                told.append(f"Error: {result.query}: {result.error}")
            elif result.note is not None:
                told.append(f"{result.query}: {result.note}")
            if form in STREAMED:
                tell()
            yield result, explanation

    def tell() -> None:
        for text in told:
            say(text, err=True)
        told.clear()

    print_text(render(noted(), form, show, facts or NO_FACTS), form)
    tell()
    return failed


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
