"""``geosim`` and its search commands: parse, call one function, print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from geosim.ingest.cli.ingest import ingest, recreate_option, tell_ingest
from geosim.ingest.cli.options import opened, store_options
from geosim.search.cli.evaluate import evaluate
from geosim.search.cli.serve import serve
from geosim.trainer.cli.options import (
    Command,
    Range,
    strict_option,
    table_or_json_option,
    tell_rejected,
    tell_training,
    train_options,
    working_option,
)
from geosim.trainer.cli.train import download, train
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.search.explain import Explanation
    from geosim.search.graph.export import ExportReport
    from geosim.search.types import Result

DATASET = Path("data", "geological_similarity")
"""Where ``geosim run`` without DATA looks for the data set, and downloads it to."""

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
    help="Only the best hit of each class or data set.",
)
@click.option("--together", is_flag=True, help="One search for what looks like all PATHs at once.")
@click.option(
    "--unlike",
    "negative",
    multiple=True,
    metavar="PATH",
    help="One search, away from this image; may be repeated.",
)
@form_option
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw queries and hits as a picture, .png or .jpg.",
)
@store_options
@working_option
def search(
    paths: tuple[str, ...],
    k: int | None,
    label: str | None,
    min_score: float | None,
    one_per: str | None,
    together: bool,
    negative: tuple[str, ...],
    form: str,
    sheet: Path | None,
    qdrant: str | None,
    collection: str,
    working: Working,
) -> None:
    """Find the indexed images that look like each PATH.

    PATH is an image file, a folder of them, or the stored path of an indexed image. An indexed
    image is answered from its stored vector and never lists itself.

    \b
    Examples:
      geosim search photo.jpg
      geosim search geological_similarity/marble/MGN0Z.jpg -k 5 --sheet hits.png
      geosim search field-day/ --class marble --format jsonl
      geosim search photo.jpg --min-score 0.95
      geosim search photo.jpg --one-per class
      geosim search a.jpg b.jpg --together --unlike c.jpg
    """  # noqa: D301 - click's mark for text that keeps its lines
    from geosim.search.explain import explained
    from geosim.search.resolver import expand
    from geosim.search.searcher import Searcher
    from geosim.search.types import SearchOptions

    options, examples = SearchOptions(k, label, min_score, one_per), list(expand(paths))
    with opened(qdrant, collection, working) as store:
        searcher = Searcher(store, working)
        if together or negative:
            results, explanations = [searcher.together(examples, negative, options)], []
        else:
            results = list(_followed(searcher.search(examples, options), len(examples)))
            explanations = explained(results, options, store, working)
    failed = _tell_results(results, form, explanations)
    if sheet is not None and failed < len(results):
        from geosim.search.render.result_sheet import save_results

        save_results(results, sheet, working)
        click.echo(f"wrote {sheet}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


@click.command(cls=Command)
@k_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The neighbour graph's file  [default: WORKING/inverted-index.json]",
)
@store_options
@working_option
def export(
    k: int,
    output: Path | None,
    qdrant: str | None,
    collection: str,
    working: Working,
) -> None:
    """Write every indexed image's K most similar others, exactly, as JSON.

    Writes WORKING/inverted-index.json and WORKING/embeddings.json.

    \b
    Examples:
      geosim export
      geosim export -k 50 --output graph.json
    """  # noqa: D301
    from geosim.search.graph.export import export as write

    index = output or working.index
    with opened(qdrant, collection, working) as store:
        report = write(store, index, working.embeddings, k)
    tell_export(report)


@click.command(cls=Command)
@click.argument("data", type=click.Path(path_type=Path), required=False)
@train_options
@k_option
@form_option
@recreate_option
@strict_option
@store_options
@working_option
def run(data: Path | None, backbone: str, weights: Path | None, **options: Any) -> None:
    """Do the whole job on DATA: train, ingest, export, and answer sample queries.

    DATA is a folder of class folders or a .zip of one. Without DATA the geological similarity data
    set is used, and downloaded first if it is not there. Run again, it repeats nothing that is
    done.

    \b
    Examples:
      geosim run photos
      geosim run geological_similarity.zip --backbone efficientnet-lite0
      geosim run photos --qdrant http://localhost:6333
    """  # noqa: D301
    from geosim.trainer.data.download import download_dataset

    if data is None:
        data = DATASET if DATASET.is_dir() else download_dataset(DATASET.parent)
    _run(data, backbone, weights, **options)


@click.command(cls=Command)
@k_option
@form_option
@recreate_option
@store_options
@working_option
def demo(working: Working, **options: Any) -> None:
    """Do the whole job on a generated set of rock textures: no download, no server.

    \b
    Examples:
      geosim demo
      geosim search working/geosim-sample/granite/*.jpg -k 5
    """  # noqa: D301
    from geosim.trainer.progress import Progress
    from geosim.trainer.sample.generate import PER_CLASS, write_sample
    from geosim.trainer.sample.textures import SAMPLE_CLASSES

    with Progress("generating", PER_CLASS * len(SAMPLE_CLASSES)) as bar:
        data = write_sample(working.sample_set, progress=bar.update)
    _run(data, "efficientnet-lite0", None, strict=False, working=working, **options)


@click.command(cls=Command)
@table_or_json_option
@store_options
@working_option
def status(form: str, qdrant: str | None, collection: str, working: Working) -> None:
    """Tell what there is: images per class, model, engine, disk use, dashboard.

    \b
    Examples:
      geosim status
      geosim status --qdrant http://localhost:6333 --format json
    """  # noqa: D301
    import orjson
    from geosim.search.status import render
    from geosim.search.status import status as look

    with opened(qdrant, collection, working) as store:
        found = look(store, working)
    if form == "json":
        click.echo(orjson.dumps(found.to_dict(), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(render(found))


def _run(
    data: Path,
    backbone: str,
    weights: Path | None,
    *,
    k: int,
    form: str,
    recreate: bool,
    strict: bool,
    qdrant: str | None,
    collection: str,
    working: Working,
    **training: Any,
) -> None:
    from geosim.search import pipeline
    from geosim.trainer.backbones.registry import choose
    from geosim.trainer.data.dataset import open_dataset
    from geosim.trainer.heads.fit import TrainOptions

    dataset = open_dataset(data)
    pretrained, why = choose(backbone, weights)
    click.echo(why, err=True)
    with opened(qdrant, collection, working) as store:
        told = pipeline.StepCallbacks(
            training=tell_training,
            ingest=lambda report: _tell_step(report, store, strict=strict),
            export=tell_export,
        )
        results = pipeline.run(
            dataset,
            pretrained,
            store,
            working,
            options=TrainOptions.of(pretrained.spec, **training),
            k=k,
            recreate=recreate,
            told=told,
        )
    _tell_results(results, form)
    click.echo(f"wrote {working.samples}", err=True)


def _followed(results: Iterable[Result], count: int) -> Iterable[Result]:
    """Show the progress of several searches; one is answered before a bar is imported."""
    if count < 2:
        yield from results
        return
    from geosim.trainer.progress import Progress

    with Progress("searching", count) as bar:
        yield from bar.each(results)


def _tell_results(
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


def _tell_step(report: Any, store: Any, *, strict: bool) -> None:
    tell_ingest(report, store, err=True)
    tell_rejected(report.rejected, strict=strict)


def tell_export(report: ExportReport) -> None:
    """Say what was exported."""
    click.echo(
        f"wrote {report.index}: {report.images:,} images, {report.k} neighbours each, "
        f"{report.same_class:.2%} of them of the same class; and {report.embeddings}; "
        f"{report.seconds:.1f} s",
        err=True,
    )


@click.group()
@click.version_option(package_name="geosim")
def geosim() -> None:
    """Find similar geological images.

    \b
    Start here:
      geosim demo                    the whole job on a generated set
      geosim run FOLDER              the whole job on your class folders
      geosim search PICTURE          what looks like this?
    """  # noqa: D301


for command in (run, demo, download, train, ingest, search, export, evaluate, serve, status):
    geosim.add_command(command)
