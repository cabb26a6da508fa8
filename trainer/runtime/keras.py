"""The Keras runtime: runs and exports a Keras model, and imports Keras on demand."""

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
from geosim.trainer.temporary import private_folder

BACKEND = "tensorflow"
"""Backend of Keras: graphs are traced and exported by TensorFlow."""

STEPPING = {"steps_per_execution": 64}
"""Arguments of Keras' ``compile`` for the steps of a head, which take a millisecond or two: between
them Keras does not come back to Python, which takes as long. They do not affect the outcome."""


def check_installed() -> None:
    """Raise `ModelError` if TensorFlow is not installed; import nothing."""
    if find_spec("tensorflow") is None or find_spec("keras") is None:
        raise ModelError(
            "training needs TensorFlow, which is not installed; install it with "
            "`pip install 'geosim[train]'`. A model that is trained needs it no more"
        )


@cache
def import_keras() -> Any:
    """Import Keras on TensorFlow and start its runtime, which takes several seconds.

    TensorFlow's C++ code writes to stderr while it starts; that is shown only if the start fails.

    The backend is TensorFlow whatever KERAS_BACKEND and ``keras.json`` say.

    Raises:
        ModelError: TensorFlow is not installed, or Keras was imported with another backend.
    """
    check_installed()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _stderr_captured(), _backend_variable(BACKEND):
        import keras

        if keras.config.backend() != BACKEND:
            raise ModelError(
                f"geosim needs Keras on {BACKEND}, but this process imported it with the backend "
                f"{keras.config.backend()}; set KERAS_BACKEND={BACKEND} before the import"
            )
        import tensorflow as tf

        tf.constant(0)  # starts the runtime
    return keras


@contextmanager
def _backend_variable(name: str) -> Iterator[None]:
    """Set KERAS_BACKEND, which Keras reads once, and restore it."""
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before


@contextmanager
def _stderr_captured() -> Iterator[None]:
    """Capture the output to file descriptor 2; write it to stderr if the block raises."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(terminal, captured.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def export(model: Any) -> Exported:
    """Return the graph of a Keras model in OpenVINO's format.

    Raises:
        ModelError: it cannot be written.
    """
    import_openvino()
    with private_folder(Path(tempfile.gettempdir())) as folder:
        path = folder / "graph.xml"
        try:
            model.export(str(path), format="openvino", verbose=False)
            return Exported.read(path)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the network cannot be exported to a file in {folder.parent} "
                f"({' '.join(str(error).split())}); make room there, or name another folder "
                "in TMPDIR"
            ) from error


GRAPH_BATCH = 64
"""Images per call of the graph; bounds the memory of a GPU."""


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
        parts = [
            images[start : start + GRAPH_BATCH] for start in range(0, len(images), GRAPH_BATCH)
        ]
        features = [self._run(part.astype(np.float32)) for part in parts]
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in features])

    @cached_property
    def exported(self) -> Exported:
        """The graph in OpenVINO's format; the export takes some seconds."""
        return export(self.model)

    def save(self, path: Path) -> None:
        """Write the weights as Keras' ``.weights.h5``."""
        self.model.save_weights(path)

    def load(self, path: Path) -> None:
        """Load weights that `save` wrote; raise `ModelError` for a file that does not fit."""
        try:
            self.model.load_weights(path)
        except Exception as error:  # h5py and Keras raise many kinds for a damaged file
            raise ModelError(
                f"the model's weights {path} cannot be loaded; train again with `geosim train DATA`"
            ) from error
