"""How well a score tells pictures of an unknown class from those of known ones; pure, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auroc(foreign: NDArray[np.float64], own: NDArray[np.float64]) -> float:
    """Return the share of pairs in which the foreign picture has the lower score, ties as half.

    ``foreign (p,)`` and ``own (q,)`` are best scores. It is the area under the ROC curve of a
    detector that calls pictures below some score foreign (Hanley, McNeil 1982): 1 if a threshold
    parts them, 0.5 if the score says nothing. NaN without pairs.

    Example: foreign ``[0.2, 0.6]`` and own ``[0.6, 0.9]``: 3 pairs and a tie of 4, 3.5 / 4 = 0.875.
    """
    if not len(foreign) or not len(own):
        return float("nan")
    ordered = np.sort(own)
    above = len(own) - np.searchsorted(ordered, foreign, side="right")
    ties = np.searchsorted(ordered, foreign, side="right") - np.searchsorted(ordered, foreign)
    return float((above + ties / 2).sum() / (len(foreign) * len(own)))
