"""The baseline backbone: colour statistics on a grid, no learning, no weights, numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELLS = 8
"""Grid cells per side: 8 x 8 cells x (mean, standard deviation) x RGB = 384 features."""


class ColourGrid:
    """Mean and standard deviation of each colour channel in each cell of a grid."""

    def __init__(self, size: int) -> None:
        self._cell = size // CELLS

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, 384) float32`` in 0..1."""
        count, cell = len(images), self._cell
        cells = images.astype(np.float32).reshape(count, CELLS, cell, CELLS, cell, 3) / 255.0
        means, spreads = cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))
        return np.concatenate([means, spreads], axis=-1).reshape(count, -1)
