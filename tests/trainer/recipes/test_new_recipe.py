"""A newcomer's recipe: one module that registers it, and the commands take it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from geosim.trainer.backbones.registry import spec_of
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import Fit, TrainOptions
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.recipes.photograph import PhotographOptions
from geosim.trainer.recipes.registry import RECIPES, read_title, recipe_of, register
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.working import Working


@dataclass(frozen=True, slots=True)
class ToyOptions(TrainOptions):
    epochs: int = 2


class Toy(Recipe):
    """A random projection of two views."""

    name = "toy"
    summary = "a random projection"
    backbones = ("colour-grid",)
    options_type = ToyOptions
    several_views = True

    def refusal(self, spec: BackboneSpec) -> str:
        return "" if spec.name == "colour-grid" else "take colour-grid"

    def options(self, spec: BackboneSpec, **given: Any) -> TrainOptions:
        return ToyOptions()

    def training_views(self, spec: BackboneSpec, options: TrainOptions, images: int) -> int:
        return 2

    def fit(
        self,
        spec: BackboneSpec,
        array: Any,
        labels: Any,
        classes: int,
        options: TrainOptions,
        *,
        progress: Callable[[int], object],
    ) -> tuple[None, Fit]:
        assert array.shape == (len(labels), 2, spec.feature_width)
        generator = np.random.default_rng(options.seed)
        kernel = generator.normal(size=(spec.feature_width, EMBEDDING_DIM)).astype(np.float32)
        bias = np.zeros(EMBEDDING_DIM, np.float32)
        return None, Fit(Head(kernel, bias, relu=False, views=2), [1.0, 0.5], [], 2)

    def module(self, spec: BackboneSpec) -> str:
        return __name__

    def title(self, spec: BackboneSpec, options: TrainOptions) -> str:
        return f"toy: {spec.name}"

    def seconds(self, spec: BackboneSpec, images: int) -> float:
        return 600.0


@pytest.fixture
def toy() -> Iterator[Recipe]:
    yield register(Toy())
    del RECIPES["toy"]


def test_the_commands_take_it(
    toy: Recipe, small_sample: Path, geosim: Callable[..., Result], tmp_path: Path
) -> None:
    sample = small_sample
    working = Working(tmp_path / "working")
    options = ("--recipe", "toy", "--working", working.root)
    done = geosim("run", sample, *options, "-k", 2)
    assert done.exit_code == 0, done.output
    assert "recipe toy (as asked), backbone colour-grid: its weights are installed" in done.stderr
    assert "; a first training takes about 10 minutes" in done.stderr
    card = json.loads((working.model / "model.json").read_bytes())
    assert card["training"]["recipe"] == "toy"
    assert card["views"]["embedding"] == card["views"]["training"] == 2
    kept = geosim("train", sample, "--working", working.root)
    assert "recipe toy (as the model in" in kept.stderr
    assert "kept, it is up to date" in kept.stderr
    for _ in range(2):
        evaluated = geosim("evaluate", sample, *options, "--split", "random")
        assert evaluated.stdout.count("toy: colour-grid") == 1, evaluated.output
    refused = geosim("train", sample, *options, "--backbone", "tile-resnet")
    assert "recipe toy does not take backbone tile-resnet: take colour-grid" in refused.stderr
    assert f"toy ({toy.summary})" in " ".join(geosim("train", "--help").stdout.split())


def test_a_name_is_taken_once(toy: Recipe) -> None:
    assert register(toy) is toy
    with pytest.raises(ValueError, match="is taken"):
        register(Toy())


def test_options_and_backbone_tell_the_recipe() -> None:
    lite0, tile = spec_of("efficientnet-lite0"), spec_of("tile-resnet")
    assert recipe_of(lite0, TrainOptions()).name == "owner"
    assert recipe_of(tile, TrainOptions()).name == "tile"
    assert recipe_of(lite0, PhotographOptions()).name == "photograph"
    with pytest.raises(ModelError, match="no recipe takes backbone tile-resnet and Photograph"):
        recipe_of(tile, PhotographOptions())


@pytest.mark.parametrize("name", ["owner", "tile", "photograph"])
def test_a_title_tells_recipe_and_backbone(name: str) -> None:
    recipe = RECIPES[name]
    spec = spec_of(recipe.backbones[-1])
    assert read_title(recipe.title(spec, recipe.options(spec))) == (recipe, spec)
    with pytest.raises(ModelError, match="unknown"):
        read_title("other: efficientnet-lite0")
