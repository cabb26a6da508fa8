"""Views of a square image: its rotations by right angles and their mirror images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.runtime.keras import import_keras

VIEWS = 8
"""Number of views."""


def view_of(images: NDArray[Any], view: int) -> NDArray[Any]:
    """Return a view, 0 (unchanged) to 7, of ``(n, s, s, c)`` images."""
    if view & 1:
        images = images[:, ::-1]
    if view & 2:
        images = images[:, :, ::-1]
    if view & 4:
        images = images.swapaxes(1, 2)
    return images


def view_averaged(network: Any) -> Any:
    """Return a Keras model that averages a network's outputs over all views; weights are shared."""
    keras = import_keras()
    ops = keras.ops
    image = keras.Input(network.input_shape[1:], name="image")
    side, _, channels = image.shape[1:]
    positions = np.arange(side * side).reshape(1, side, side, 1)
    indices = np.concatenate([view_of(positions, view).ravel() for view in range(VIEWS)])
    # OpenVINO 2026.4 does not convert flips and transposes, but it converts a gather.
    views = ops.take(ops.reshape(image, (-1, side * side, channels)), indices, axis=1)
    outputs = network(ops.reshape(views, (-1, side, side, channels)))
    outputs = ops.reshape(outputs, (-1, VIEWS, network.output_shape[1]))
    return keras.Model(image, ops.mean(outputs, axis=1), name=f"{network.name}_turned")
