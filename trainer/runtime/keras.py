"""Runs a Keras graph as a backbone, exports it, and brings in Keras itself, quietly, on demand."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import ModelError
from geosim.trainer.runtime.openvino import Exported, import_openvino


def check_installed() -> None:
    """Refuse a training where TensorFlow is not installed; imports nothing.

    Raises:
        ModelError: it is not installed; the message says how to install it.
    """
    if find_spec("tensorflow") is None or find_spec("keras") is None:
        raise ModelError(
            "training needs TensorFlow, which is not installed; install it with "
            "`pip install 'geosim[train]'`. A model that is trained needs it no more"
        )


@cache
def import_keras() -> Any:
    """Import Keras on TensorFlow and start its runtime; 6-20 s the first time.

    TensorFlow's C++ code writes a dozen lines about this machine to stderr while it starts, and no
    setting stops all of them. They are held back, and shown if the start fails.

    Raises:
        ModelError: TensorFlow is not installed.
    """
    check_installed()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _stderr_held_back():
        import keras
        import tensorflow as tf

        tf.constant(0)  # starts the runtime, which has more to say
    return keras


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Keep what anybody writes to file descriptor 2 in a file; show it if the block raises."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


BATCH = 64
"""Pictures per call of a graph: of 224 x 224 pixels, that takes a GPU some hundred megabytes."""


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
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        features = [self._run(part.astype(np.float32)) for part in parts]
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in features])

    @cached_property
    def exported(self) -> Exported:
        """The graph in OpenVINO's format, as Keras exports it; takes some seconds."""
        import_openvino()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "graph.xml")
            self.model.export(str(path), format="openvino", verbose=False)
            return Exported.read(path)

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
