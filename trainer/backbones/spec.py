"""The spec of a backbone: its facts and the functions that build, load or fit it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import ModelError, WeightsError
from geosim.trainer.heads.fit import LEARNING_RATE, Fit, TrainOptions
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.keras import KerasBackbone


class FitBackbone(Protocol):
    """Trains a backbone end to end."""

    def __call__(
        self,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int32],
        classes: int,
        options: TrainOptions,
        *,
        progress: Callable[[int], object],
    ) -> tuple[KerasBackbone, Fit]:
        """Train on ``(n, size, size, 3) uint8`` RGB; call ``progress(1)`` after each epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """A backbone: its facts and its functions.

    A frozen backbone computes features for a head that is trained. A backbone with ``fit`` is
    trained end to end at the size of the tiles; its features are the embedding.
    """

    name: str  # value of --backbone
    summary: str  # for --help
    input_size: int  # side of the square RGB input in pixels
    feature_width: int
    version: int  # raised with each change of the graph, the preprocessing or the precision
    licence: str  # of the weights
    build: Callable[[int], Backbone]  # from the input size, without weights
    find_weights: Callable[[], tuple[Path, ...]] | None = None  # may raise WeightsError
    load: Callable[..., None] | None = None  # weights files into what `build` returned, the first
    takes_weights: bool = False  # whether --weights FILE may replace those of `find_weights`
    fit: FitBackbone | None = None
    recipe: str = ""  # that ``--recipe auto`` takes for it when it is named; empty: by the data
    optimizer: str = f"Adam, rate {LEARNING_RATE}"  # for the model card
    keras: bool = True  # whether `build` returns a KerasBackbone
    graph_only: bool = False  # whether it returns an ExportedBackbone: a network of the user's own
    precision: str = "f32"  # of the arithmetic on a CPU, f32 or bf16
    epochs: int = 20  # default for training
    batch_size: int = 64  # default for training

    @property
    def trained(self) -> bool:
        """Whether it is trained end to end instead of frozen."""
        return self.fit is not None

    def train_options(self, **given: Any) -> TrainOptions:
        """Return training options, with this backbone's defaults for values that are None.

        Raises:
            ModelError: a head is given for a backbone that is trained end to end.
        """
        defaults: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size}
        if self.trained:
            defaults["head"] = "cosine"
            if given.get("head") not in (None, "cosine"):
                raise ModelError(
                    f"backbone {self.name} is trained under a cosine softmax of its own, received "
                    f"the head {given['head']!r}; leave --head out"
                )
        chosen = {name: value for name, value in given.items() if value is not None}
        return TrainOptions(**defaults | chosen)


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A backbone with its weights files."""

    spec: BackboneSpec
    files: tuple[Path, ...]  # the weights as published; empty without weights
    sha256: str  # of the weights, hex; empty without weights

    @property
    def fingerprint(self) -> str:
        """Hex digest that changes with the features that the backbone computes."""
        spec = self.spec
        name = "" if spec.graph_only else spec.name  # a file may be renamed
        facts = f"{name}|{spec.version}|{spec.input_size}|{self.sha256}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def load(self) -> Backbone:
        """Build the backbone and load its pretrained weights.

        Raises:
            WeightsError: the backbone takes no weights, or a file does not fit.
        """
        if self.spec.trained:
            raise WeightsError(f"backbone {self.spec.name} has no weights before it is trained")
        backbone = self.spec.build(self.spec.input_size)
        if self.files:
            if self.spec.load is None:
                raise WeightsError(f"backbone {self.spec.name} takes no weights")
            self.spec.load(backbone, *self.files)
        return backbone
