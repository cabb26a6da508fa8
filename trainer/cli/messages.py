"""Messages on stderr about a training and about rejected images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from geosim.trainer.errors import DatasetError

if TYPE_CHECKING:
    from geosim.trainer.data.dataset import Rejected
    from geosim.trainer.train import TrainReport


def tell_training(report: TrainReport) -> None:
    """Say on stderr what a training did."""
    training = report.model.card["training"]
    losses = training["validation_loss"] or training["loss"]
    verb = "kept, it is up to date" if report.reused else "trained"
    click.echo(
        f"model {report.model.fingerprint[:12]} {verb}: {report.images:,} images of "
        f"{len(report.model.classes)} classes ({report.computed:,} through the backbone), loss "
        f"{losses[training['best_epoch'] - 1]:.4f} at epoch {training['best_epoch']} of "
        f"{training['epochs']}, {report.seconds:.1f} s",
        err=True,
    )
    if report.zero:
        click.echo(
            f"warning: the model embeds {len(report.zero):,} training images to a zero vector, "
            f"which cannot be searched: {_first(report.zero)}. Train with another --seed",
            err=True,
        )


def tell_rejected(rejected: Sequence[Rejected], *, strict: bool) -> None:
    """Name every rejected image and its reason on stderr.

    Raises:
        DatasetError: there are any, and the user asked to fail on them.
    """
    for one in rejected:
        click.echo(f"rejected {one.path}: {one.reason}", err=True)
    if rejected and strict:
        raise DatasetError(f"{len(rejected):,} images were rejected, and --strict is set")


def _first(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3:,} more" if len(paths) > 3 else "")
