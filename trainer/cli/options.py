"""What all commands share: options, how errors and Ctrl-C end, how rejected images are told.

Imports nothing heavy, so that ``--help`` answers at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from geosim.trainer.errors import DatasetError, GeosimError
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.trainer.data.dataset import Rejected
    from geosim.trainer.train import TrainReport

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

MAX_SEED = 2**32 - 1
"""What numpy and Keras take."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


class Range(click.FloatRange):
    """A range of numbers; NaN, which click lets through, is in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


class Command(click.Command):
    """A command whose known errors are one line on stderr and exit status 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and translate what it raises."""
        try:
            return super().invoke(ctx)
        except GeosimError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise click.ClickException(f"{error.strerror or error}{where}") from error
        except KeyboardInterrupt:
            told = "interrupted; run the same command again, what was finished is kept"
            click.echo(f"\n{told}", err=True)
            ctx.exit(INTERRUPTED)


def _working(_ctx: click.Context, _parameter: click.Parameter, value: Path) -> Working:
    return Working(value)


working_option = click.option(
    "--working",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("working"),
    show_default=True,
    envvar="GEOSIM_WORKING",
    show_envvar=True,
    callback=_working,
    help="Folder for everything geosim writes.",
)

strict_option = click.option("--strict", is_flag=True, help="Fail if any image was rejected.")

table_or_json_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How the result is printed.",
)

data_argument = click.argument("data", type=click.Path(path_type=Path))


def recipe_options(function: AnyFunction) -> AnyFunction:
    """Add the options of a recipe: backbone, weights, head, epochs, batch size, held-out share."""
    for option in (
        click.option(
            "--backbone",
            default="auto",
            show_default=True,
            help="resnet50, efficientnet-lite0, tile-resnet (learned from scratch, for tiles), "
            "tile-fusion (that and efficientnet-lite0 side by side), colour-grid (a baseline), or "
            "auto: resnet50 if its weights can be had, else efficientnet-lite0.",
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="ResNet50 weights, a Keras .h5 file without the top.",
        ),
        click.option(
            "--head",
            type=click.Choice(["dense-relu", "cosine"]),
            help="What is trained on a frozen backbone: Dense(32, relu), or a hidden layer and a "
            "unit-norm embedding under a cosine softmax  [default: dense-relu; tile-resnet and "
            "tile-fusion have their own]",
        ),
        click.option(
            "--epochs",
            type=click.IntRange(min=1),
            help="Passes over the images  [default: the recipe's own]",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="Images per training step  [default: the recipe's own]",
        ),
        click.option(
            "--validation-split",
            type=Range(0, 1, max_open=True),
            default=0.0,
            show_default=True,
            help="Share of each class held out to choose the best epoch by; 0 trains on all.",
        ),
    )[::-1]:
        function = option(function)
    return function


def train_options(function: AnyFunction) -> AnyFunction:
    """Add the options of a training: those of a recipe, and the seed."""
    seed = click.option(
        "--seed",
        type=click.IntRange(0, MAX_SEED),
        default=0,
        show_default=True,
        help="Of all randomness.",
    )
    return recipe_options(seed(function))


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
