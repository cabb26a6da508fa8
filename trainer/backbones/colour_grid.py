"""``colour-grid``: the baseline, colour statistics on a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec

INPUT_SIZE = 64

CELLS = 8
"""Grid cells per side."""

FEATURES = CELLS * CELLS * 2 * 3
"""Length of the feature vector: mean and standard deviation of three channels in each cell."""


class ColourGrid:
    """Mean and standard deviation of each colour channel in each cell of a grid."""

    def __init__(self, size: int) -> None:
        self._cell = size // CELLS

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, 384) float32`` in 0..1."""
        count, cell = len(images), self._cell
        cells = images.astype(np.float32).reshape(count, CELLS, cell, CELLS, cell, 3) / 255.0
        means, deviations = cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))
        return np.concatenate([means, deviations], axis=-1).reshape(count, -1)


SPEC = register(
    BackboneSpec(
        name="colour-grid",
        summary="colour statistics on an 8 x 8 grid, the baseline",
        input_size=INPUT_SIZE,
        feature_width=FEATURES,
        version=1,
        licence="Apache-2.0",
        build=ColourGrid,
        keras=False,
        recipe="owner",
    )
)
