"""``geosim-ingest``: makes a collection equal to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, settings_options, store_options
from geosim.ingest.work import Part
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.fact_options import fact_options
from geosim.trainer.cli.messages import report_dataset, report_rejected, report_scaled
from geosim.trainer.cli.options import (
    data_argument,
    exclude_option,
    rehash_option,
    strict_option,
    working_option,
)
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.ingest.store.base import VectorStore
    from geosim.ingest.sync import SyncReport
    from geosim.trainer.facts.collect import FactOptions


recreate_option = click.option(
    "--recreate",
    is_flag=True,
    help="Build the collection anew, of this data set alone. The old one is searched until the new "
    "one is complete.",
)

replace_option = click.option(
    "--replace",
    is_flag=True,
    help="Let DATA replace or delete most of its data set's images, or those that come from "
    "another folder or machine.",
)


def _part(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Part | None:
    try:
        return None if value is None else Part.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(cls=Command)
@data_argument
@recreate_option
@replace_option
@click.option(
    "--image-url",
    metavar="BASE",
    help="Address of `geosim serve`. Each point stores the URL of its picture there, which the "
    "Qdrant dashboard shows.",
)
@click.option(
    "--tiles",
    "size",
    metavar="SIZE",
    help="Store an embedding of each tile of every picture, so that a search tells where in it: "
    "the side in pixels, as 512, or in millimetres, as 5mm, with a fact mm_per_pixel.",
)
@click.option(
    "--part",
    metavar="NUMBER/COUNT",
    callback=_part,
    help="Add and change only the pictures of one part, as 2/8. Parts may run at the same time, on "
    "several machines; they delete nothing.",
)
@click.option(
    "--finish",
    is_flag=True,
    help="After all parts: see that no picture is missing, and delete from the collection what is "
    "gone. Embeds nothing.",
)
@fact_options
@exclude_option
@rehash_option
@strict_option
@settings_options
@store_options
@working_option
def ingest(
    data: Path,
    recreate: bool,
    replace: bool,
    image_url: str | None,
    size: str | None,
    part: Part | None,
    finish: bool,
    strict: bool,
    exclude: tuple[str, ...],
    described: FactOptions,
    rehash: bool,
    working: Working,
    **store: Any,
) -> None:
    """Make the collection equal to DATA, a folder of class folders or a .zip of one.

    Pictures directly in DATA have no class.

    New and changed images are embedded and stored, deleted ones are deleted from the collection,
    and unchanged ones are skipped. Points of other data sets stay; a data set whose folder was
    renamed or moved moves with it. An interrupted ingest can be run again; it resumes where it
    stopped.

    The data set has DATA's name. Which level of folders names the classes is decided at its first
    ingest or training, told, and kept.

    A collection holds whole pictures or tiles, not both. Tiles are squares; those at the right and
    lower edge overlap others. A picture that is not larger than a tile is one, and a long one that
    is not as wide is cut along its length.

    On a server, another ingest of the same data set is waited for. Many machines may share the
    work: each ingests a part of the pictures, by the hash of their paths, and a last run finishes.
    Give every run the same options, model and DATA.

    \b
    Examples:
      geosim ingest photos
      geosim ingest photos --qdrant http://localhost:6333
      geosim ingest photos --recreate
      geosim ingest scans --tiles 512 --collection scans
      geosim ingest photos --qdrant http://localhost:6333 --image-url http://localhost:8000
      geosim ingest photos --qdrant http://node1:6333,http://node2:6333 --replicas 2

    \b
    In parts: at the same time on one machine, and as an array of Slurm:
      export GEOSIM_QDRANT_URL=http://node1:6333
      for i in 1 2 3 4; do geosim ingest photos --part $i/4 & done; wait
      geosim ingest photos --finish

    \b
      run='geosim ingest photos --part $SLURM_ARRAY_TASK_ID/8'
      id=$(sbatch --parsable --array=1-8 --wrap "$run")
      sbatch --dependency=afterok:$id --wrap 'geosim ingest photos --finish'
    """  # noqa: D301 - click's mark for lines that are not wrapped
    from geosim.ingest.known import decide_for
    from geosim.ingest.sync import sync
    from geosim.trainer.data.tiles import parse_tile_size
    from geosim.trainer.facts.collect import open_described
    from geosim.trainer.model import load_model

    tiles = None if size is None else parse_tile_size(size)
    model = load_model(working.model)
    with open_from_options(working=working, **store) as opened:
        decide = decide_for(opened, working.datasets)
        dataset = open_described(
            data, exclude, decide, described, hashes=working.hashes, rehash=rehash
        )
        report_dataset(dataset)
        report = sync(
            dataset,
            model,
            opened,
            working,
            recreate=recreate,
            replace=replace,
            image_url=image_url,
            rehash=rehash,
            tiles=tiles,
            part=part,
            finish=finish,
        )
        report_ingest(report, opened, err=False)
    if part is not None:
        say(
            f"part {part} of {dataset.name} is done; after all of them, run `geosim ingest DATA "
            "--finish`",
            err=True,
        )
    report_scaled(report.scaled)
    report_rejected(report.rejected, dataset.passed_over, strict=strict)


def report_ingest(report: SyncReport, store: VectorStore, *, err: bool) -> None:
    """Print the result of an ingest to stdout, or to stderr if ``err``."""
    name = report.dataset
    if report.dropped:
        others = ", ".join(f"{one} {count:,}" for one, count in report.dropped.items())
        say(f"--recreate dropped other data sets: {others}", err=True)
    for one, count in report.moved.items():
        left = report.left.get(one, 0)
        more = f"; {left:,} others of it stay, see `geosim remove`" if left else ""
        say(f"moved {count:,} pictures from {one} to {name}{more}", err=True)
    say(f"collection {store.name} at {store.location}: {report.points:,} points", err=err)
    if report.updated:
        say(
            f"updated {report.updated:,} without embedding: {report.relabelled:,} with another "
            "class, the others with other facts",
            err=err,
        )
    say(
        f"added {report.added:,}, changed {report.changed:,}, deleted {report.deleted:,}, "
        f"unchanged {report.unchanged:,}, rejected {len(report.rejected):,}; "
        f"{report.computed:,} embedded by the backbone; "
        f"{report.seconds:.1f} s, {report.images_per_second:,.0f} images/s",
        err=err,
    )
