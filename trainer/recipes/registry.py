"""The table of all recipes, and the recipe of a training or of a run's name.

A module of a recipe registers it on import; `geosim.trainer.recipes` imports the built-in ones.
"""

from __future__ import annotations

from geosim.trainer.backbones.registry import spec_of
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.recipes.spec import Recipe

RECIPES: dict[str, Recipe] = {}
"""All registered recipes by name."""


def register(recipe: Recipe) -> Recipe:
    """Add a recipe to the table and return it; raise ValueError if the name is taken."""
    if recipe.name == "auto" or RECIPES.setdefault(recipe.name, recipe) is not recipe:
        raise ValueError(f"the recipe name {recipe.name!r} is taken; choose another")
    return recipe


def recipe_called(name: str) -> Recipe:
    """Return the recipe called ``name``; raise `ModelError` with the valid names otherwise."""
    try:
        return RECIPES[name]
    except KeyError:
        raise ModelError(
            f"unknown recipe {name!r}; expected auto, {', '.join(sorted(RECIPES))}"
        ) from None


def recipe_of(spec: BackboneSpec, options: TrainOptions) -> Recipe:
    """Return the recipe that has options of this type and takes this backbone."""
    for recipe in RECIPES.values():
        if type(options) is recipe.options_type and not recipe.refusal(spec):
            return recipe
    raise ModelError(f"no recipe takes backbone {spec.name} and {type(options).__name__}")


def read_title(title: str) -> tuple[Recipe, BackboneSpec]:
    """Return the recipe and the backbone that `Recipe.title` names.

    Raises:
        ModelError: one of them is unknown.
    """
    name, _, rest = title.rpartition(": ")
    spec = spec_of(rest.partition(" + ")[0])
    return (recipe_called(name) if name else recipe_of(spec, TrainOptions())), spec
