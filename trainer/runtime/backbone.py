"""The interface of a backbone that is loaded: a function from pixels to features."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backbone(Protocol):
    """Computes the features of prepared pictures."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, feature_width) float32``."""
