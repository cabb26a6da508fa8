"""The head: what turns a frozen backbone's features into the embedding.

Owns the arithmetic of the embedding, in numpy, so that features from the cache become vectors
without TensorFlow. How the weights are learned is in `trainer/train.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.errors import ModelError

EMBEDDING_WIDTH = 32
"""Width of the embedding, set by the product's owner."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """``Dense(32, activation="relu")`` on a backbone's features.

    Attributes:
        kernel: ``(feature_width, 32) float32``.
        bias: ``(32,) float32``.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(n, feature_width)`` features to ``(n, 32) float32`` of L2 norm 1.

        An image whose 32 units are all off has no direction; its row is zero.
        """
        raw = np.maximum(features @ self.kernel + self.bias, 0.0)
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.zeros(raw.shape, dtype=np.float32)
        np.divide(raw, norms, out=unit, where=norms > 0)
        return unit

    def save(self, path: Path) -> None:
        """Write the weights as .npz."""
        np.savez(path, kernel=self.kernel, bias=self.bias)

    @classmethod
    def load(cls, path: Path, *, feature_width: int) -> Head:
        """Read what `save` wrote; never unpickles.

        Raises:
            ModelError: missing, damaged or of another size.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                head = cls(stored["kernel"], stored["bias"])
        except Exception as error:  # zipfile, numpy and the file system each raise their own
            raise ModelError(
                f"the model's head {path} cannot be read; train again with `geosim train DATA`"
            ) from error
        expected = (feature_width, EMBEDDING_WIDTH)
        if head.kernel.shape != expected or head.bias.shape != (EMBEDDING_WIDTH,):
            raise ModelError(
                f"the model's head {path} is {head.kernel.shape}, expected {expected}: it belongs "
                "to a model of another size; train again with `geosim train DATA`"
            )
        return head
