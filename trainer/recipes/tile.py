"""``tile``: a network of their own for small tiles, trained end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import Fit, TrainOptions
from geosim.trainer.recipes.duration import tile_seconds
from geosim.trainer.recipes.registry import register
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.rows import Rows
from geosim.trainer.runtime.keras import KerasBackbone


class Tile(Recipe):
    """The backbone's own fit on pixels."""

    name = "tile"
    summary = "a network is trained from scratch on small tiles"
    backbones = ("tile-fusion",)
    reads_pixels = True

    def options(
        self, spec: BackboneSpec, *, views: int | None = None, **given: Any
    ) -> TrainOptions:
        """Return options with the backbone's defaults; see `Recipe.options`."""
        if views is not None:
            raise ModelError(
                f"recipe tile has views of its own, received --views {views}; leave it out"
            )
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
    ) -> tuple[KerasBackbone, Fit]:
        """Train the backbone on ``(n, size, size, 3) uint8`` pixels."""
        if spec.fit is None:
            raise ModelError(f"backbone {spec.name} has no fit: {self.refusal(spec)}")
        return spec.fit(rows.whole(), labels, classes, options, progress=progress)

    def module(self, spec: BackboneSpec) -> str:
        """Return the module of the backbone's fit."""
        return str(getattr(spec.fit, "__module__", __name__))

    def title(self, spec: BackboneSpec, options: TrainOptions) -> str:
        """Return the backbone's name."""
        return spec.name

    def seconds(self, spec: BackboneSpec, images: int) -> float:
        """Return about how long a training takes."""
        return tile_seconds(images, spec.epochs)


register(Tile())
