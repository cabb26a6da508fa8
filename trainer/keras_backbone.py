"""Runs a Keras graph as a backbone, and brings in Keras itself, quietly and on demand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import ModelError


def import_keras() -> Any:
    """Import Keras on TensorFlow, without its start-up chatter; 6-20 s the first time."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    return keras


class KerasBackbone:
    """A Keras model from ``(n, size, size, 3)`` pixels 0..255 to ``(n, width)`` features."""

    def __init__(self, model: Any) -> None:
        import tensorflow as tf

        model.trainable = False
        self.model = model
        signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        self._run = tf.function(
            lambda images: model(images, training=False), input_signature=[signature]
        )

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, width) float32``."""
        return np.asarray(self._run(images.astype(np.float32)), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write the weights as Keras' ``.weights.h5``."""
        self.model.save_weights(path)

    def load(self, path: Path) -> None:
        """Load what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged or of another architecture.
        """
        try:
            self.model.load_weights(path)
        except Exception as error:  # h5py and Keras raise many kinds on a damaged file
            raise ModelError(
                f"the model's weights {path} cannot be loaded; train again with `geosim train DATA`"
            ) from error
