"""``geosim train`` and ``geosim download``: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
    data_argument,
    exclude_option,
    rehash_option,
    strict_option,
    train_options,
    working_option,
)
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.trainer.facts.collect import FactOptions


@click.command(cls=Command)
@data_argument
@train_options
@fact_options
@exclude_option
@rehash_option
@strict_option
@working_option
def train(
    data: Path,
    strict: bool,
    exclude: tuple[str, ...],
    described: FactOptions,
    rehash: bool,
    train_sample: int | None,
    working: Working,
    **options: Any,
) -> None:
    """Learn the embedding from DATA, a folder of class folders or a .zip of one.

    Pictures directly in DATA have no class.

    Writes WORKING/model and prints its path. A frozen backbone runs once per image: a second
    training takes the features from the cache.

    \b
    Examples:
      geosim train photos
      geosim train geological_similarity.zip --backbone tile-fusion
      geosim train photos --backbone dinov2.onnx   (dinov2.json beside it)
      geosim train photos --recipe photograph --views 2
      geosim train photos --validation-split 0.2 --epochs 40 --seed 1
      geosim train archive --train-sample 30000
    """  # noqa: D301 - \b keeps the lines in click
    from geosim.trainer.auto import choose_setup
    from geosim.trainer.data.layout import decide_by
    from geosim.trainer.data.places import read_places
    from geosim.trainer.data.subset import subset_of
    from geosim.trainer.facts.collect import open_described
    from geosim.trainer.train import train as fit

    decide = decide_by(read_places(working.datasets))
    dataset = open_described(data, exclude, decide, described, hashes=working.hashes, rehash=rehash)
    learned = subset_of(dataset, train_sample, options["seed"])
    setup = choose_setup(learned, working, **options)
    report_dataset(dataset)
    report_sample(learned)
    say(setup.why, err=True)
    report_unlabelled(learned, setup.recipe)
    report = fit(learned, setup.pretrained, working, setup.options, rehash=rehash)
    report_training(report)
    report_rejected(report.rejected, dataset.passed_over, strict=strict)
    say(str(working.model))


@click.command(cls=Command)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("data"))
def download(folder: Path) -> None:
    """Fetch the geological similarity data set (34 MB, 29,998 tiles) into FOLDER [data].

    Resumes a broken download, checks the archive, unpacks it and prints the folder.

    \b
    Examples:
      geosim download
      geosim run data/geological_similarity
    """  # noqa: D301
    from geosim.trainer.data.download import download_dataset

    say(str(download_dataset(folder)))
