"""Turns by right angles and mirror images: rock has no up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.runtime.keras import import_keras

VIEWS = 8
"""Turns by right angles and their mirror images."""


def turned(images: NDArray[Any], view: int) -> NDArray[Any]:
    """Return ``(n, s, s, c)`` images turned and mirrored: view 0 is as they are, up to 7."""
    if view & 1:
        images = images[:, ::-1]
    if view & 2:
        images = images[:, :, ::-1]
    if view & 4:
        images = images.swapaxes(1, 2)
    return images


def turn_averaged(network: Any) -> Any:
    """Return a Keras model of the mean over a network's outputs for all turns and mirror images.

    Args:
        network: a Keras model from ``(n, s, s, c)`` to ``(n, width)``; its weights are shared.
    """
    keras = import_keras()
    ops = keras.ops
    image = keras.Input(network.input_shape[1:], name="image")
    side, _, channels = image.shape[1:]
    places = np.arange(side * side).reshape(1, side, side, 1)
    gathered = np.concatenate([turned(places, view).ravel() for view in range(VIEWS)])
    # A gather says in one step what OpenVINO 2026.4 does not convert as flips and transposes.
    views = ops.take(ops.reshape(image, (-1, side * side, channels)), gathered, axis=1)
    outputs = network(ops.reshape(views, (-1, side, side, channels)))
    outputs = ops.reshape(outputs, (-1, VIEWS, network.output_shape[1]))
    return keras.Model(image, ops.mean(outputs, axis=1), name=f"{network.name}_turned")
