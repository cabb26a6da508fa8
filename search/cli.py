"""``geosim`` and its search commands: parse, call one function, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingest.cli import ingest, recreate_option, tell_ingest
from ingest.commands import opened, store_options
from search.evaluate_cli import evaluate
from trainer.cli import download, train
from trainer.commands import (
    Command,
    strict_option,
    tell_rejected,
    tell_training,
    train_options,
    working_option,
)
from trainer.working import Working

if TYPE_CHECKING:
    from search.export import ExportReport
    from search.query import Result

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
@k_option
@click.option("--class", "label", metavar="C", help="Only hits of this class.")
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
    k: int,
    label: str | None,
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
    """  # noqa: D301 - click's mark for text that keeps its lines
    from search.query import Searcher, expand

    with opened(qdrant, collection, working) as store:
        results = list(Searcher(store, working).search(expand(paths), k, label=label))
    failed = _tell_results(results, form)
    if sheet is not None and failed < len(results):
        from search.results import save_results

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
    k: int, output: Path | None, qdrant: str | None, collection: str, working: Working
) -> None:
    """Write every indexed image's K most similar others, exactly, as JSON.

    Writes WORKING/inverted-index.json and WORKING/embeddings.json.

    \b
    Examples:
      geosim export
      geosim export -k 50 --output graph.json
    """  # noqa: D301
    from search.export import export as write

    with opened(qdrant, collection, working) as store:
        report = write(store, output or working.index, working.embeddings, k)
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
    from trainer.download import download_dataset

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
    from trainer.progress import Progress
    from trainer.sample import PER_CLASS, write_sample
    from trainer.textures import SAMPLE_CLASSES

    with Progress("generating", PER_CLASS * len(SAMPLE_CLASSES)) as bar:
        data = write_sample(working.sample_set, progress=bar.update)
    _run(data, "efficientnet-lite0", None, strict=False, working=working, **options)


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
    from search import pipeline
    from trainer.backbones import choose
    from trainer.dataset import open_dataset
    from trainer.fit import TrainOptions

    dataset = open_dataset(data)
    pretrained, why = choose(backbone, weights)
    click.echo(why, err=True)
    with opened(qdrant, collection, working) as store:
        told = pipeline.Told(
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


def _tell_results(results: Sequence[Result], form: str) -> int:
    """Print answers to stdout and what has none to stderr; return the number of the latter."""
    from search.table import printable, render

    for text in render(results, form):
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


for command in (run, demo, download, train, ingest, search, export, evaluate):
    geosim.add_command(command)
