"""The head: what turns a frozen backbone's features into the embedding.

Owns the arithmetic of the embedding, in numpy, so that features from the cache become vectors
without TensorFlow. How the weights are learned is in `trainer/heads/fit.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import ModelError

EMBEDDING_DIM = 32
"""Width of the embedding, set by the product's owner."""


HEADS = ("dense-relu", "cosine")
"""Names for ``--head``: the owner's, and one with a hidden layer under a cosine softmax."""


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """A hidden layer with ReLU: kernel ``(feature_width, h)`` and bias ``(h,)``, float32."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One dense layer of width 32 on a backbone's features, possibly over a hidden one.

    ``dense-relu`` is ``Dense(32, activation="relu")`` alone; ``cosine`` is a hidden layer and a
    linear one of width 32. A saved model's head has this width; one that becomes a part of a
    backbone may be narrower.

    Attributes:
        kernel: ``(feature_width or h, 32) float32``.
        bias: ``(32,) float32``.
        relu: whether the 32 units are rectified.
        hidden: the layer below, if any.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    relu: bool = True
    hidden: Hidden | None = None

    @classmethod
    def identity(cls, width: int = EMBEDDING_DIM) -> Head:
        """Return the head of a backbone whose features are the embedding already."""
        return cls(np.eye(width, dtype=np.float32), np.zeros(width, np.float32), relu=False)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(n, feature_width)`` features to ``(n, 32) float32`` of L2 norm 1.

        An image whose 32 units are all off, or no finite numbers, has no direction; its row is
        zero.
        """
        if self.hidden is not None:
            features = np.maximum(features @ self.hidden.kernel + self.hidden.bias, 0.0)
        raw = features @ self.kernel + self.bias
        if self.relu:
            raw = np.maximum(raw, 0.0)
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.zeros(raw.shape, dtype=np.float32)
        np.divide(raw, norms, out=unit, where=(norms > 0) & np.isfinite(norms))
        return unit

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return everything that decides what the head computes, by name."""
        found = {"kernel": self.kernel, "bias": self.bias}
        if self.hidden is not None:
            found |= {"hidden_kernel": self.hidden.kernel, "hidden_bias": self.hidden.bias}
        if not self.relu:
            found["linear"] = np.ones(1, np.float32)
        return found

    def save(self, path: Path) -> None:
        """Write the weights as .npz."""
        np.savez(path, **self.arrays())  # type: ignore[arg-type]  # no key is "allow_pickle"

    @classmethod
    def load(cls, path: Path, *, feature_width: int) -> Head:
        """Read what `save` wrote; never unpickles.

        Raises:
            ModelError: missing, damaged or of another size.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                hidden = (
                    Hidden(stored["hidden_kernel"], stored["hidden_bias"])
                    if "hidden_kernel" in stored
                    else None
                )
                relu = "linear" not in stored
                head = cls(stored["kernel"], stored["bias"], relu, hidden)
        except Exception as error:  # zipfile, numpy and the file system each raise their own
            raise ModelError(
                f"the model's head {path} cannot be read; train again with `geosim train DATA`"
            ) from error
        widths = [feature_width, *([] if hidden is None else [len(hidden.bias)]), EMBEDDING_DIM]
        expected = list(itertools.pairwise(widths))
        kernels = [*([] if hidden is None else [hidden.kernel]), head.kernel]
        received = [kernel.shape for kernel in kernels]
        if received != expected or head.bias.shape != (EMBEDDING_DIM,):
            raise ModelError(
                f"the model's head {path} is {_shown(received)}, expected {_shown(expected)}: it "
                "belongs to a model of another size; train again with `geosim train DATA`"
            )
        return head


def _shown(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
