"""``owner``: a frozen backbone, one view of a picture, and a head, as the product's owner asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import AUTO
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import Fit, TrainOptions, fit_head
from geosim.trainer.heads.head import HEADS
from geosim.trainer.recipes.duration import feature_seconds
from geosim.trainer.recipes.registry import register
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.rows import Rows


class Owner(Recipe):
    """A head on the features of whole pictures."""

    name = "owner"
    summary = "a frozen backbone sees each picture once, under a head: --head"
    backbones = AUTO
    kept = ("head",)

    def options(
        self, spec: BackboneSpec, *, views: int | None = None, **given: Any
    ) -> TrainOptions:
        """Return options with the backbone's defaults; see `Recipe.options`."""
        if views not in (None, 1):
            raise ModelError(
                f"recipe owner takes one view of a picture, received --views {views}; leave it "
                "out, or take --recipe photograph"
            )
        if (head := given.get("head")) not in (None, *HEADS):
            raise ModelError(f"unknown head {head!r}; expected one of {', '.join(HEADS)}")
        return spec.train_options(**given)

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
        """Fit a head on ``(n, feature_width) float32`` features."""
        return None, fit_head(rows, labels, classes, options, progress=progress)

    def module(self, spec: BackboneSpec) -> str:
        """Return the module of `fit_head`."""
        return fit_head.__module__

    def title(self, spec: BackboneSpec, options: TrainOptions) -> str:
        """Return the names of backbone and head."""
        return f"{spec.name} + {options.head}"

    def seconds(self, spec: BackboneSpec, images: int) -> float:
        """Return about how long a training takes."""
        return feature_seconds(spec, images)


register(Owner())
