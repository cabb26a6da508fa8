"""``geosim run`` and ``geosim demo``: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.ingest import recreate_option, replace_option, report_ingest
from geosim.ingest.cli.options import open_from_options, settings_options, store_options
from geosim.search.cli.export import k_option, report_export
from geosim.search.cli.search import print_results, result_form_option
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.fact_options import fact_options
from geosim.trainer.cli.messages import (
    report_dataset,
    report_rejected,
    report_sample,
    report_training,
    report_unlabelled,
)
from geosim.trainer.cli.options import (
    exclude_option,
    rehash_option,
    strict_option,
    train_options,
    working_option,
)
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geosim.ingest.sync import SyncReport
    from geosim.trainer.facts.collect import FactOptions

DATASET = Path("data", "geological_similarity")
"""Where ``geosim run`` without DATA looks for the data set, and downloads it to."""


@click.command(cls=Command)
@click.argument("data", type=click.Path(path_type=Path), required=False)
@train_options
@k_option
@result_form_option
@recreate_option
@replace_option
@fact_options
@exclude_option
@rehash_option
@strict_option
@settings_options
@store_options
@working_option
def run(
    data: Path | None,
    k: int,
    form: str,
    recreate: bool,
    replace: bool,
    strict: bool,
    exclude: tuple[str, ...],
    described: FactOptions,
    rehash: bool,
    qdrant: str | None,
    collection: str,
    wait: float,
    settings: Mapping[str, Any] | None,
    train_sample: int | None,
    working: Working,
    **training: Any,
) -> None:
    """Do the whole job on DATA: train, ingest, export, and answer sample queries.

    DATA is a folder of class folders or a .zip of one; pictures directly in DATA have no class.
    Without DATA the geological similarity data set is used, and downloaded first if it is not
    there. Run again, it repeats nothing that is done.

    \b
    Examples:
      geosim run photos
      geosim run geological_similarity.zip --backbone efficientnet-lite0
      geosim run photos --qdrant http://localhost:6333
    """  # noqa: D301
    from geosim.ingest.known import decide_for
    from geosim.search import pipeline
    from geosim.trainer.auto import choose_setup
    from geosim.trainer.data.download import download_dataset
    from geosim.trainer.data.subset import subset_of
    from geosim.trainer.facts.collect import open_described

    if data is None:
        data = DATASET if DATASET.is_dir() else download_dataset(DATASET.parent)
    with open_from_options(qdrant, collection, wait, working, settings=settings) as store:
        decide = decide_for(store, working.datasets)
        dataset = open_described(
            data, exclude, decide, described, hashes=working.hashes, rehash=rehash
        )
        learned = subset_of(dataset, train_sample, training["seed"])
        setup = choose_setup(learned, working, **training)
        report_dataset(dataset)
        report_sample(learned)
        say(setup.why, err=True)
        report_unlabelled(learned, setup.recipe)

        def on_ingested(report: SyncReport) -> None:
            report_ingest(report, store, err=True)
            report_rejected(report.rejected, dataset.passed_over, strict=strict)

        results = pipeline.run(
            dataset,
            setup.pretrained,
            store,
            working,
            learned=learned,
            options=setup.options,
            k=k,
            recreate=recreate,
            replace=replace,
            rehash=rehash,
            on_trained=report_training,
            on_ingested=on_ingested,
            on_exported=report_export,
            on_limited=_report_limit,
        )
    print_results([(result, None) for result in results], form)
    say(f"wrote {working.samples}", err=True)


def _report_limit(queries: int, classes: int) -> None:
    say(f"sample queries of {queries} of {classes:,} classes", err=True)


@click.command(cls=Command)
@k_option
@result_form_option
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
    from geosim.trainer.progress import progress_bar
    from geosim.trainer.sample.generate import PER_CLASS, write_sample
    from geosim.trainer.sample.textures import SAMPLE_CLASSES

    with progress_bar("generating", PER_CLASS * len(SAMPLE_CLASSES)) as bar:
        data = write_sample(working.sample_set, progress=bar.update)
    quick = {"recipe": "owner", "backbone": "efficientnet-lite0"}
    click.get_current_context().invoke(run, data=data, working=working, **quick, **options)
