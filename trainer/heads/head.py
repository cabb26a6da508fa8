"""The head: computes the embedding from a frozen backbone's features, in numpy."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import ModelError

EMBEDDING_DIM = 32
"""Width of the embedding, set by the product's owner."""

HEADS = ("dense-relu", "cosine")
"""Names for ``--head``: a dense layer, and a hidden layer trained under a cosine softmax."""

COLUMNS = 32
"""Units of a layer per product of a row. numpy's BLAS would share larger products among threads,
whose waiting for each other took many times the product's time."""


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """A hidden layer with ReLU: kernel ``(feature_width, h)`` and bias ``(h,)``, float32."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A dense layer that computes the embedding, optionally after a hidden layer.

    Of an image with several views it embeds the mean of the views' features.

    The head of a saved model has width 32; one that becomes part of a backbone may be narrower.
    """

    kernel: NDArray[np.float32]  # (feature_width or h, 32)
    bias: NDArray[np.float32]  # (32,)
    relu: bool = True  # whether the output is rectified
    hidden: Hidden | None = None
    views: int = 1  # per image

    @classmethod
    def identity(cls, width: int = EMBEDDING_DIM) -> Head:
        """Return the head for a backbone whose features are the embedding."""
        return cls(np.eye(width, dtype=np.float32), np.zeros(width, np.float32), relu=False)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(n, views * feature_width)`` features to ``(n, 32) float32``, L2 norm 1.

        A row is zero where all units are 0 or a value is not finite. It depends to the last bit on
        its own features only.
        """
        by_view = features.reshape(len(features), self.views, features.shape[1] // self.views)
        total = by_view[:, 0]
        for view in range(1, self.views):  # in this order, however many rows there are
            total = total + by_view[:, view]
        features = total if self.views == 1 else total / np.float32(self.views)
        if self.hidden is not None:
            hidden = _row_products(features, self.hidden.kernel) + self.hidden.bias
            features = np.maximum(hidden, 0.0)
        raw = _row_products(features, self.kernel) + self.bias
        return _unit(np.maximum(raw, 0.0) if self.relu else raw)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays that define the head, by name."""
        found = {"kernel": self.kernel, "bias": self.bias}
        if self.hidden is not None:
            found |= {"hidden_kernel": self.hidden.kernel, "hidden_bias": self.hidden.bias}
        if not self.relu:
            found["linear"] = np.ones(1, np.float32)
        if self.views > 1:
            found["views"] = np.full(1, self.views, np.float32)
        return found

    def save(self, path: Path) -> None:
        """Write the weights as .npz."""
        np.savez(path, **self.arrays())  # type: ignore[arg-type]  # no key is "allow_pickle"

    @classmethod
    def load(cls, path: Path, *, feature_width: int) -> Head:
        """Read a head that `save` wrote, for features of the given width; never unpickle.

        Raises:
            ModelError: the file is missing, damaged or of another size.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = dict(stored)
            hidden = None
            if "hidden_kernel" in arrays:
                hidden = Hidden(arrays["hidden_kernel"], arrays["hidden_bias"])
            views = int(arrays["views"].item()) if "views" in arrays else 1
            if views < 1 or arrays.get("views", 1) != views:
                raise ValueError(f"{views} views")
            head = cls(arrays["kernel"], arrays["bias"], "linear" not in arrays, hidden, views)
        except Exception as error:  # numpy, zipfile and the file system raise many kinds
            raise ModelError(
                f"the model's head {path} cannot be read; train again with `geosim train DATA`"
            ) from error
        layers: list[Hidden | Head] = [head] if hidden is None else [hidden, head]
        widths = [feature_width, *(len(layer.bias) for layer in layers[:-1]), EMBEDDING_DIM]
        expected = list(itertools.pairwise(widths))
        received = [layer.kernel.shape for layer in layers]
        if received != expected or head.bias.shape != (EMBEDDING_DIM,):
            found, fitting = (", ".join(map(str, shapes)) for shapes in (received, expected))
            raise ModelError(
                f"the model's head {path} is {found}, expected {fitting}: it belongs to a model of "
                "another size; train again with `geosim train DATA`"
            )
        return head


def _unit(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of L2 norm 1; zero where a row is zero or not finite."""
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.zeros(raw.shape, dtype=np.float32)
    np.divide(raw, norms, out=unit, where=(norms > 0) & np.isfinite(norms))
    return unit


def _row_products(rows: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``rows @ kernel``, one product per row.

    A product of all rows at once adds in an order that depends on their number.
    """
    rows = np.require(rows, np.float32, ["C", "A"])  # strides decide how numpy multiplies
    starts = range(0, kernel.shape[1], COLUMNS)
    parts = [rows[:, None] @ kernel[:, start : start + COLUMNS] for start in starts]
    return np.concatenate(parts, axis=2)[:, 0]
