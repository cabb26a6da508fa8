"""The choice of recipe, backbone and options of a training: as asked, as before, or by the data."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geosim.trainer.backbones.registry import asked_for, choose, spec_of
from geosim.trainer.backbones.spec import BackboneSpec, Pretrained
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.images import size_of
from geosim.trainer.errors import GeosimError, ImageError, ModelError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import TILE_SIZES
from geosim.trainer.kept import read_card
from geosim.trainer.recipes.registry import RECIPES, recipe_called
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.runtime.keras import check_installed
from geosim.trainer.working import Working

AUTO = "auto"
"""Value of ``--recipe`` and ``--backbone`` that leaves the choice to this module."""

SAMPLE = 64
"""Pictures whose size is looked at, spread over the set."""

FEW_TILES = 2_000
"""Fewer tiles than this are not tried on a network that starts from nothing. Not measured."""

LONG_SECONDS = 45 * 60
"""A fit of a tile network that takes longer than this is not begun without being asked for."""

TOLD_SECONDS = 120
"""A training that takes longer than this is announced with about how long it takes."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A recipe with its backbone and options, and one line on what was chosen and why."""

    recipe: Recipe
    pretrained: Pretrained
    options: TrainOptions
    why: str


@dataclass(frozen=True, slots=True)
class _Choice:
    """A recipe, the reason for it, and the backbone and options that it brings."""

    recipe: Recipe
    reason: str
    backbone: str = AUTO
    given: tuple[tuple[str, Any], ...] = ()


def choose_setup(
    dataset: Dataset,
    working: Working,
    *,
    recipe: str = AUTO,
    backbone: str = AUTO,
    weights: Path | None = None,
    **options: Any,
) -> Setup:
    """Choose how a data set is learned.

    The recipe ``auto`` is that of the model in the working folder, if it was trained on a data set
    of this name and nothing else is asked for; else the one that what is asked for belongs to; else
    it is chosen by the data. ``options`` are those of `Recipe.options`.

    Raises:
        ModelError: a name is unknown, what is asked for does not go together, or TensorFlow is not
            installed.
        WeightsError: the weights of the backbone are not available.
    """
    check_installed()
    named = None if (backbone, weights) == (AUTO, None) else asked_for(backbone, weights)
    if recipe != AUTO:
        found = _Choice(recipe_called(recipe), "as asked")
    else:
        found = (
            _kept(dataset, working, named, weights, options)
            or _asked(named, options)
            or _by_data(dataset, named)
        )
    if named is not None and (refusal := found.recipe.refusal(named)):
        raise ModelError(
            f"recipe {found.recipe.name} does not take backbone {named.name}: {refusal}"
        )
    name = found.backbone if named is None else backbone
    chosen = dict(found.given) | {key: one for key, one in options.items() if one is not None}
    # Refuse options before weights are looked for, perhaps by a download.
    found.recipe.options(named or spec_of(found.recipe.backbones[0]), **chosen)
    pretrained, reason = choose(name, weights, found.recipe.backbones)
    if named is None and name != AUTO:
        reason = f"backbone {name}"
    made = found.recipe.options(pretrained.spec, **chosen)
    told = [f"recipe {found.recipe.name} ({found.reason}), {reason}"]
    seconds = found.recipe.seconds(pretrained.spec, len(dataset.records))
    if seconds > TOLD_SECONDS:
        told.append(f"a first training takes about {_duration(seconds)}")
    if recipe == AUTO:
        others = [other for other in RECIPES if other != found.recipe.name]
        told.append(f"for another name --recipe {' or '.join(others)}")
    return Setup(found.recipe, pretrained, made, "; ".join(told))


def _kept(
    dataset: Dataset,
    working: Working,
    named: BackboneSpec | None,
    weights: Path | None,
    options: dict[str, Any],
) -> _Choice | None:
    """Return the choice that the model in the working folder was made by, if it still applies."""
    if weights is not None or options.get("head") is not None:
        return None
    with suppress(GeosimError, KeyError, TypeError, ValueError, AttributeError):
        card = read_card(working.model)
        training, spec = card["training"], spec_of(card["backbone"]["name"])
        if training["dataset"] != dataset.name or named not in (None, spec):
            return None
        name = training.get("recipe") or ("tile" if spec.trained else "owner")
        found = recipe_called(name)
        if len(dataset.classes) < 2 and not found.takes_unlabelled:
            return None  # they had classes then
        if options.get("views") is not None and "views" not in found.kept:
            return None
        given = {key: training[key] for key in found.kept}
        found.options(spec, **given)
        if named is None:
            choose(spec.name)  # its weights may be gone
        reason = f"as the model in {working.model} was trained on {dataset.name}"
        return _Choice(found, reason, spec.name, tuple(given.items()))
    return None


def _asked(named: BackboneSpec | None, options: dict[str, Any]) -> _Choice | None:
    """Return the choice that a named backbone, a head or a number of views asks for."""
    if named is not None and (named.trained or named.recipe):
        name = "tile" if named.trained else named.recipe
        return _Choice(recipe_called(name), f"that of {named.name}")
    if options.get("head") is not None:
        return _Choice(recipe_called("owner"), f"for --head {options['head']}")
    if options.get("views") is not None:
        return _Choice(recipe_called("photograph"), f"for --views {options['views']}")
    return None


def _by_data(dataset: Dataset, named: BackboneSpec | None) -> _Choice:
    """Return the choice for a data set, by the size and the number of its pictures."""
    side, count = _median_side(dataset), len(dataset.records)
    if side > TILE_SIZES[1]:
        what = f"for photographs: the median shorter side is {side:,} pixels"
        return _Choice(recipe_called("photograph"), what)
    if len({record.label for record in dataset.records if record.label}) < 2:
        what = f"the one for pictures without classes, here of {side:,} pixels"
        return _Choice(recipe_called("photograph"), what)
    tiles, tile = f"{count:,} tiles of {side} pixels", recipe_called("tile")
    if named is not None:
        reason = f"{named.name} is frozen"
    elif count < FEW_TILES:
        reason = f"fewer than {FEW_TILES:,}"
    elif (seconds := tile.seconds(spec_of(tile.backbones[0]), count)) > LONG_SECONDS:
        reason = f"recipe tile takes about {_duration(seconds)} here"
    else:
        return _Choice(tile, tiles)
    return _Choice(recipe_called("owner"), f"{tiles}, {reason}", given=(("head", "cosine"),))


def _median_side(dataset: Dataset) -> int:
    """Return the median shorter side of a sample of the pictures, in pixels; 0 if none is read."""
    sides = []
    for record in dataset.records[:: -(-len(dataset.records) // SAMPLE)]:
        with suppress(ImageError):
            if (size := size_of(dataset.source.read(record))) is not None:
                sides.append(min(size))
    return round(float(np.median(sides))) if sides else 0


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 90 else f"{round(minutes / 60)} hours"
