"""About how long a training takes on this machine; for messages and for the choice of a recipe."""

from __future__ import annotations

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.runtime.choice import gpu_present, training_policy
from geosim.trainer.runtime.machine import usable_cores

CORES = 2
"""Cores of the machine that the figures are from."""

TILE_SECONDS = {"mixed_bfloat16": 6.5e-4, "float32": 7.8e-3}
"""Seconds per tile and epoch of ``tile-fusion`` by Keras' policy: 30,000 tiles and 80 epochs take
26 minutes with bfloat16; in float32 a batch of 128 tiles took a second (tests/benches/RESULTS.md).
"""

VIEW_SECONDS = {"resnet50": 1 / 30, "efficientnet-lite-pair": 1 / 45}
"""Seconds per view of a frozen network, by name, on two cores without bfloat16."""

OTHER_VIEW_SECONDS = 1 / 150
"""Seconds per view of a network that is not in `VIEW_SECONDS`: EfficientNet-Lite0's."""

FIT_SECONDS = 5e-4
"""Seconds per picture and epoch of a fit of ``photograph``: 100 epochs of 1,513 pictures took 134
to 148 seconds of one core, without bfloat16."""

FITS = 3
"""Fits of a training: the head's, and two whose votes tell how sure a vote is."""

GPU_GAIN = 20
"""How many times as fast a GPU is, at least."""


def tile_seconds(tiles: int, epochs: int) -> float:
    """Return the seconds of a training of a tile network."""
    if gpu_present():
        return tiles * epochs * TILE_SECONDS["mixed_bfloat16"] / GPU_GAIN
    return tiles * epochs * TILE_SECONDS[training_policy()] * CORES / usable_cores()


def fit_seconds(pictures: int, epochs: int) -> float:
    """Return the seconds of the fits on features of several views of each picture."""
    seconds = pictures * epochs * FIT_SECONDS * FITS
    return seconds / GPU_GAIN if gpu_present() else seconds * CORES / usable_cores()


def feature_seconds(spec: BackboneSpec, views: int) -> float:
    """Return the seconds that a frozen network takes for a number of views."""
    seconds = views * VIEW_SECONDS.get(spec.name, OTHER_VIEW_SECONDS)
    return seconds / GPU_GAIN if gpu_present() else seconds * CORES / usable_cores()
