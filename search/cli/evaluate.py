"""``geosim evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.trainer.cli.command import Command
from geosim.trainer.cli.fact_options import fact_options
from geosim.trainer.cli.messages import report_dataset, report_rejected, report_unlabelled
from geosim.trainer.cli.options import (
    MAX_SEED,
    Range,
    data_argument,
    exclude_option,
    form_option,
    rehash_option,
    shared_train_options,
    working_option,
)
from geosim.trainer.console import say, say_json
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.trainer.facts.collect import FactOptions


def _seeds(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        seeds = ()
    if not seeds or not all(0 <= seed <= MAX_SEED for seed in seeds):
        raise click.BadParameter(f"expected numbers such as 0,1,2, received {value!r}")
    return seeds


@click.command(cls=Command)
@data_argument
@click.option(
    "--split",
    type=click.Choice(["random", "overlap-free", "both"]),
    default="both",
    show_default=True,
    help="How queries are held out: at random, or so that none shares pixels with the gallery.",
)
@click.option(
    "--test-share",
    type=Range(0, 1, min_open=True, max_open=True),
    help="Share of each class to query with.  [default: 0.2]",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Deal each class to so many parts and query with each in turn, instead of one share: for "
    "small sets, as every image is a query once. One training each.",
)
@click.option(
    "--group-by",
    metavar="FACT",
    help="Also keep pictures with the same value of this fact, such as a sample or a hole, on one "
    "side of each split and out of each other's hits; the report has both figures. Takes two "
    "trainings in place of each.",
)
@click.option(
    "--without-labels",
    is_flag=True,
    help="Hide the labels from the training and measure with them.",
)
@click.option(
    "--novelty",
    is_flag=True,
    help="Measure how well pictures unlike all are told: a frozen recipe is trained once more per "
    "class, without that class.",
)
@click.option(
    "--seeds", "--seed", default="0", show_default=True, callback=_seeds, help="One run each: 0,1,2"
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of runs and report  [default: WORKING/report]",
)
@form_option("table", "json")
@shared_train_options
@fact_options
@exclude_option
@rehash_option
@working_option
def evaluate(
    data: Path,
    split: str,
    test_share: float | None,
    folds: int | None,
    group_by: str | None,
    without_labels: bool,
    novelty: bool,
    seeds: tuple[int, ...],
    report: Path | None,
    form: str,
    exclude: tuple[str, ...],
    described: FactOptions,
    rehash: bool,
    train_sample: int | None,
    working: Working,
    **options: Any,
) -> None:
    """Measure how well similar images are found in DATA, honestly.

    Trains on a part of DATA, indexes that part alone, and queries with the rest. Compares this with
    colour histograms, which learn nothing. Writes report.html and report.json. Runs are kept in the
    report folder: a killed study goes on where it stopped, and the report covers all recipes and
    seeds that were run into it. Pictures without a class are neither queries nor hits.

    \b
    Examples:
      geosim evaluate photos
      geosim evaluate photos --backbone tile-resnet --seeds 0,1,2
      geosim evaluate photos --backbone efficientnet-lite0 --head cosine --split overlap-free
      geosim evaluate few-photos --folds 5
      geosim evaluate photos --table samples.csv --group-by sample
    """  # noqa: D301 - click's mark for text that keeps its lines
    from geosim.search.evaluation.baseline import baseline_runs
    from geosim.search.evaluation.grouping import find_grouping
    from geosim.search.evaluation.report import write_report
    from geosim.search.evaluation.runs import read_runs
    from geosim.search.evaluation.study import SPLITS, Study
    from geosim.search.evaluation.study import evaluate as measure
    from geosim.search.evaluation.summary import text_table
    from geosim.trainer.auto import choose_setup
    from geosim.trainer.data.layout import decide_by
    from geosim.trainer.data.places import read_places
    from geosim.trainer.facts.collect import open_described

    if folds and test_share is not None:
        raise click.UsageError(
            f"received --folds {folds} and --test-share {test_share:g}; give one of them, as folds "
            f"hold out 1/{folds} each"
        )
    decide = decide_by(read_places(working.datasets))
    dataset = open_described(data, exclude, decide, described, hashes=working.hashes, rehash=rehash)
    grouping = None if group_by is None else find_grouping(dataset, group_by)
    setup = choose_setup(dataset, working, **options)
    report_dataset(dataset)
    if grouping is not None:
        say(str(grouping), err=True)
    say(setup.why, err=True)
    report_unlabelled(dataset, setup.recipe)
    folder, splits = report or working.report, SPLITS if split == "both" else (split,)
    study = Study(
        options=setup.options,
        splits=splits,
        seeds=seeds,
        test_share=0.2 if test_share is None else test_share,
        folder=folder,
        folds=folds or 0,
        without_labels=without_labels,
        novelty=novelty,
        grouping=grouping,
        train_sample=train_sample,
    )
    inputs = measure(dataset, setup.pretrained, working, study, rehash=rehash)
    report_rejected(inputs.rejected, dataset.passed_over, strict=False)
    records = [item.record for item in inputs.items]
    runs = read_runs(folder, inputs)
    runs += baseline_runs(runs, dataset, inputs, folder)
    rows = write_report(runs, records, dataset.source, folder)
    if form == "json":
        say_json((folder / "report.json").read_bytes())
    else:
        say(*text_table(rows).split("\n"))
    say(f"wrote {folder / 'report.html'}", err=True)
