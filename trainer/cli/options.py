"""Options shared by several commands.

Imports nothing heavy, to keep ``--help`` fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from geosim.trainer.working import Working

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

MAX_SEED = 2**32 - 1
"""Largest seed that numpy and Keras accept."""


MAX_VIEWS = 64
"""Most views of a picture that can be asked for."""


class Range(click.FloatRange):
    """A range of numbers that excludes NaN, which click accepts."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


class BackboneOption(click.Option):
    """``--backbone``; builds its help, a list of the registered backbones, when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help."""
        from geosim.trainer.backbones.own_sidecar import EXAMPLE, OPTIONAL
        from geosim.trainer.backbones.registry import AUTO, BACKBONES

        listed = ", ".join(f"{name} ({spec.summary})" for name, spec in sorted(BACKBONES.items()))
        self.help = (
            f"auto (the first of {', '.join(AUTO)} with available weights), {listed}, or a FILE of "
            "a network of your own: ONNX (.onnx), OpenVINO (.xml with its .bin) or Keras (.keras), "
            f"with a .json file beside it such as {EXAMPLE}; further keys: "
            f"{', '.join(OPTIONAL)}."
        )
        return super().get_help_record(ctx)


class RecipeOption(click.Option):
    """``--recipe``; builds its help, a list of the registered recipes, when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help."""
        from geosim.trainer.recipes.registry import RECIPES

        listed = ", ".join(f"{name} ({one.summary})" for name, one in sorted(RECIPES.items()))
        self.help = f"How the embedding is learned: auto (by the data), {listed}."
        return super().get_help_record(ctx)


def _working(_ctx: click.Context, _parameter: click.Parameter, value: Path) -> Working:
    working = Working(value)
    working.sweep()
    return working


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

strict_option = click.option(
    "--strict",
    is_flag=True,
    help="Fail if any image was rejected, or a picture passed over for its format.",
)

rehash_option = click.option(
    "--rehash",
    is_flag=True,
    help="Read all files, also those whose size, times and inode are as they were.",
)

exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out files and folders with this name or path below the folder, such as '*_old*' or "
    "gneiss/raw; may be repeated.",
)


def form_option(
    *forms: str, about: str = "How the result is printed."
) -> Callable[[AnyFunction], AnyFunction]:
    """Return the option ``--format``, received as ``form``; the first one is the default."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help=about,
    )


data_argument = click.argument("data", type=click.Path(path_type=Path))


def shared_train_options(function: AnyFunction) -> AnyFunction:
    """Add recipe, views, backbone, weights, head, epochs, batch size and held-out share."""
    for option in (
        click.option(
            "--recipe",
            cls=RecipeOption,
            default="auto",
            show_default=True,
            envvar="GEOSIM_RECIPE",
            show_envvar=True,
        ),
        click.option(
            "--views",
            type=click.IntRange(1, MAX_VIEWS),
            envvar="GEOSIM_VIEWS",
            show_envvar=True,
            help="Views of a picture that recipe photograph makes an embedding of: fewer are "
            "faster, more are better  [default: set by the recipe]",
        ),
        click.option("--backbone", cls=BackboneOption, default="auto", show_default=True),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="ResNet50 weights, a Keras .h5 file without the top.",
        ),
        click.option(
            "--head",
            type=click.Choice(["dense-relu", "cosine"]),
            help="What recipe owner trains on a frozen backbone: Dense(32, relu), or a hidden "
            "layer and a unit-norm embedding under a cosine softmax  [default: dense-relu; cosine "
            "where --recipe auto takes owner for tiles]",
        ),
        click.option(
            "--epochs",
            type=click.IntRange(min=1),
            help="Passes over the images  [default: set by recipe and backbone]",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="Images per training step  [default: set by recipe and backbone]",
        ),
        click.option(
            "--validation-split",
            type=Range(0, 1, max_open=True),
            default=0.0,
            show_default=True,
            help="Share of each class held out to choose the best epoch by; 0 trains on all.",
        ),
        click.option(
            "--train-sample",
            type=click.IntRange(min=2),
            metavar="N",
            help="Learn from N of the pictures alone, drawn by --seed with each class in "
            "proportion. Faster, and less good the fewer they are.",
        ),
    )[::-1]:
        function = option(function)
    return function


def train_options(function: AnyFunction) -> AnyFunction:
    """Add all options of a training: the shared ones and the seed."""
    seed = click.option(
        "--seed",
        type=click.IntRange(0, MAX_SEED),
        default=0,
        show_default=True,
        help="Seed of all randomness.",
    )
    return shared_train_options(seed(function))
