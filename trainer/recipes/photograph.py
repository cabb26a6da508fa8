"""``photograph``: a frozen backbone, several views of each picture, and a head on their mean.

The embedding of a picture is that of the mean of its first views' features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.data import views as view_table
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import Fit, TrainOptions
from geosim.trainer.heads.photograph import LEARNING_RATE, fit_views
from geosim.trainer.recipes.duration import feature_seconds, fit_seconds
from geosim.trainer.recipes.registry import register
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.rows import Rows

VIEWS = 7
"""Views of a picture that its embedding is made of, by default: the fixed ones. With fewer the head
is taught by the embedding of this many."""

EPOCHS, BATCH_SIZE = 100, 128
"""Default passes over the pictures, and pictures per step."""


@dataclass(frozen=True, slots=True)
class PhotographOptions(TrainOptions):
    """Options of a training on several views."""

    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    head: str = "cosine"
    views: int = VIEWS  # that an embedding is made of


class Photograph(Recipe):
    """A cosine head on the features of several views."""

    name = "photograph"
    summary = "a frozen backbone sees several views of each picture, whole and in part: --views"
    backbones = ("resnet50", "efficientnet-lite-pair")
    options_type = PhotographOptions
    several_views = True
    takes_unlabelled = True
    kept = ("views",)

    def options(self, spec: BackboneSpec, **given: Any) -> TrainOptions:
        """Return options with the recipe's defaults; see `Recipe.options`."""
        if given.get("head") is not None:
            raise ModelError(
                f"recipe photograph has a head of its own, received the head {given['head']!r}; "
                "leave --head out, or take --recipe owner"
            )
        views = given.get("views")
        if views is not None and not (isinstance(views, int) and views >= 1):
            raise ModelError(f"--views is a whole number from 1 on, received {views!r}")
        return PhotographOptions(**{name: one for name, one in given.items() if one is not None})

    def training_views(self, spec: BackboneSpec, options: TrainOptions, images: int) -> int:
        """Return the number of views per image that the fit is given."""
        return max(_views(options), VIEWS)

    def fit(
        self,
        spec: BackboneSpec,
        rows: Rows,
        labels: NDArray[np.int32],
        classes: int,
        options: TrainOptions,
        *,
        progress: Callable[[int], object],
    ) -> tuple[None, Fit]:
        """Fit a head on ``(n, views, feature_width) float16`` features."""
        views = _views(options)
        return None, fit_views(rows, labels, classes, options, views=views, progress=progress)

    def module(self, spec: BackboneSpec) -> str:
        """Return this module, which uses the fit and the table of views."""
        return __name__

    def title(self, spec: BackboneSpec, options: TrainOptions) -> str:
        """Return the names of recipe and backbone."""
        return f"{self.name}: {spec.name}"

    def seconds(self, spec: BackboneSpec, images: int) -> float:
        """Return about how long a training takes: features, and fits for the head and its votes."""
        return feature_seconds(spec, images * VIEWS) + fit_seconds(images, EPOCHS)

    def optimizer(self, spec: BackboneSpec) -> str:
        """Return the optimizer, for the model card."""
        return f"Adam, rate {LEARNING_RATE} falling to zero as a cosine"

    def preprocessing(self, size: int, options: TrainOptions) -> str:
        """Return what is done to a picture before the backbone, for the model card."""
        views = _views(options)
        if views == 1:
            return super().preprocessing(size, options)
        crops, random = len(view_table.CROPS), 2 + len(view_table.CROPS)
        return (
            f"8-bit sRGB, EXIF orientation applied; the first {views} views of a picture, each "
            f"resized to {size} x {size} (bilinear, antialiased): the whole picture, its mirror "
            f"image, {crops} square crops from {view_table.CROP_SIDE:.0%} of the shorter side to "
            f"native scale, and from view {random} random crops, turned and lit; the embedding is "
            "that of the mean of their features; the backbone's own scaling in its graph"
        )


def _views(options: TrainOptions) -> int:
    if not isinstance(options, PhotographOptions):
        raise ModelError(f"recipe photograph takes PhotographOptions, received {options}")
    return options.views


register(Photograph())
