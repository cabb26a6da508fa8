"""What a backbone is: one frozen spec with everything that names, builds, loads or fits it.

Owns the spec, and a spec together with its weights file. `registry.py` owns the table of all specs.
"""

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

    A frozen backbone computes features under a head that is trained. A backbone with ``fit`` is
    trained end to end at the tiles' own size; its features are the embedding.

    Attributes:
        name: as given to ``--backbone``.
        summary: what it is and where its weights come from, for ``--help``.
        input_size: side of the square RGB input in pixels.
        feature_width: length of its feature vector.
        version: number to raise whenever its graph, preprocessing or precision changes; it keeps
            features of different versions apart in the cache.
        licence: of its weights.
        build: returns the backbone for an input size, its weights not loaded.
        find_weights: returns the file of its pretrained weights, or raises `WeightsError`; None
            where there are none.
        load: puts a weights file into what ``build`` returned; None where there are no weights.
        takes_weights: whether ``--weights FILE`` may replace what ``find_weights`` returns.
        fit: trains it end to end; None for a frozen backbone.
        optimizer: of the training, in words, for the model card.
        keras: whether ``build`` returns a `KerasBackbone`, which has weights to save.
        precision: of the arithmetic on a CPU, ``f32`` or ``bf16``.
        epochs: default passes over the images.
        batch_size: default images per training step.
    """

    name: str
    summary: str
    input_size: int
    feature_width: int
    version: int
    licence: str
    build: Callable[[int], Backbone]
    find_weights: Callable[[], Path] | None = None
    load: Callable[[Any, Path], None] | None = None
    takes_weights: bool = False
    fit: FitBackbone | None = None
    optimizer: str = f"Adam, rate {LEARNING_RATE}"
    keras: bool = True
    precision: str = "f32"
    epochs: int = 20
    batch_size: int = 64

    @property
    def trained(self) -> bool:
        """Whether it is trained end to end instead of frozen."""
        return self.fit is not None

    def train_options(self, **given: Any) -> TrainOptions:
        """Return the options of a training: what is given, and defaults for what is None.

        Raises:
            ModelError: a head is given for a backbone that brings its own.
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
    """A backbone together with the file of its weights.

    Attributes:
        spec: the backbone.
        file: pretrained weights in their publisher's format; None where there are none.
        sha256: hex digest of the weights; empty where there are none.
    """

    spec: BackboneSpec
    file: Path | None
    sha256: str

    @property
    def fingerprint(self) -> str:
        """Hex digest that changes whenever the features of an image would."""
        spec = self.spec
        facts = f"{spec.name}|{spec.version}|{spec.input_size}|{self.sha256}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def load(self) -> Backbone:
        """Build the backbone and load its pretrained weights.

        Raises:
            WeightsError: the file is missing, damaged or of another architecture.
        """
        if self.spec.trained:
            raise WeightsError(f"backbone {self.spec.name} has no weights before it is trained")
        backbone = self.spec.build(self.spec.input_size)
        if self.file is not None:
            if self.spec.load is None:
                raise WeightsError(f"backbone {self.spec.name} takes no weights")
            self.spec.load(backbone, self.file)
        return backbone
