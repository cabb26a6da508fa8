"""The interface of a recipe: how an embedding is learned on a backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.heads.fit import Fit, TrainOptions
from geosim.trainer.rows import Rows
from geosim.trainer.runtime.keras import KerasBackbone


class Recipe(ABC):
    """How an embedding is learned: what a fit is given, the fit, and how it is described.

    Attributes:
        name: value of ``--recipe``.
        summary: for ``--help``.
        backbones: those that ``--backbone auto`` takes, the first whose weights can be had.
        options_type: of its options; together with the backbone it tells the recipe.
        reads_pixels: whether the fit takes ``(n, size, size, 3) uint8`` pixels, not features.
        several_views: whether it takes ``(n, views, feature_width) float16`` features, not
            ``(n, feature_width) float32`` ones of one view.
        takes_unlabelled: whether it learns from images without a class as well.
        kept: names of the options that go on from the model at hand where they are not given.
    """

    name: str
    summary: str
    backbones: tuple[str, ...]
    options_type: type[TrainOptions] = TrainOptions
    reads_pixels = False
    several_views = False
    takes_unlabelled = False
    kept: tuple[str, ...] = ()

    def refusal(self, spec: BackboneSpec) -> str:
        """Return why a backbone does not fit, and what to do; empty if it fits.

        One that is trained end to end learns from pixels, a frozen one gives features.
        """
        if spec.trained == self.reads_pixels:
            return ""
        if spec.trained:
            return "it is trained end to end; take --recipe tile"
        return "it is frozen; take tile-fusion or tile-resnet"

    def options(
        self, spec: BackboneSpec, *, views: int | None = None, **given: Any
    ) -> TrainOptions:
        """Return options of a training, with defaults for values that are None.

        Raises:
            ModelError: a value is given that the recipe does not take.
        """
        return spec.train_options(**given)

    def training_views(self, spec: BackboneSpec, options: TrainOptions, images: int) -> int:
        """Return the number of views per image that the fit is given."""
        return 1

    @abstractmethod
    def fit(
        self,
        spec: BackboneSpec,
        rows: Rows,
        labels: NDArray[np.int32],
        classes: int,
        options: TrainOptions,
        *,
        progress: Callable[[int], object],
    ) -> tuple[KerasBackbone | None, Fit]:
        """Fit on pixels or features; call ``progress(1)`` after each epoch.

        ``labels`` is -1 for an image without a class. Return the backbone if it was trained.

        Raises:
            ModelError: no epoch has a finite loss.
        """

    @abstractmethod
    def module(self, spec: BackboneSpec) -> str:
        """Return the name of the module whose constants decide the outcome (`changed_recipe`)."""

    @abstractmethod
    def title(self, spec: BackboneSpec, options: TrainOptions) -> str:
        """Return the name of a row of ``geosim evaluate``."""

    @abstractmethod
    def seconds(self, spec: BackboneSpec, images: int) -> float:
        """Return about how long a training takes on this machine with the default options."""

    def optimizer(self, spec: BackboneSpec) -> str:
        """Return the optimizer, for the model card."""
        return spec.optimizer

    def preprocessing(self, size: int, options: TrainOptions) -> str:
        """Return what is done to a picture before the backbone, for the model card."""
        return (
            f"8-bit sRGB, EXIF orientation applied, whole picture resized to {size} x {size} "
            "(bilinear, antialiased), the backbone's own scaling in its graph"
        )
