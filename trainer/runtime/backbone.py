"""The interface of a loaded backbone: a function from pixels to features."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backbone(Protocol):
    """Computes features of images."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, feature_width) float32``."""
