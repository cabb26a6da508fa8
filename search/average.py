"""The query vector of several examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def average(
    positive: Sequence[NDArray[np.float32]], negative: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the query vector of Qdrant's recommendation by average vector.

    ``2 mean(positive) - mean(negative)``, or ``mean(positive)`` without negative examples. Each is
    ``(32,) float32`` and scaled to L2 norm 1 first, as Qdrant stores it.
    """
    mean = np.mean([one / np.linalg.norm(one) for one in positive], axis=0)
    if negative:
        mean = 2 * mean - np.mean([one / np.linalg.norm(one) for one in negative], axis=0)
    return np.asarray(mean, dtype=np.float32)
