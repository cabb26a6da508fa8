"""Colour histograms: the baseline that a learned embedding is compared with.

A joint RGB histogram, compared by the Bhattacharyya coefficient, the sum over the bins of
``sqrt(p * q)`` (Comaniciu, Ramesh, Meer: Real-Time Tracking of Non-Rigid Objects using Mean Shift,
CVPR 2000; 1 minus it is the squared Hellinger distance). It is the cosine of the histograms' square
roots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BINS = 8
"""Bins per channel of RGB, a usual number (Swain and Ballard, Color Indexing, 1991, have 8 to 16
per axis)."""

SIDE = 256
"""Longest side in pixels of the pictures that are counted; of larger ones, so many rows and columns
are picked."""


def colour_histogram(image: Image.Image) -> NDArray[np.uint32]:
    """Return the pixel counts of an RGB image, ``(BINS ** 3,) uint32``, red first."""
    scale = max(1.0, max(image.size) / SIDE)
    size = round(image.width / scale), round(image.height / scale)
    small = image.resize((max(size[0], 1), max(size[1], 1)), Image.Resampling.NEAREST)
    bins = np.asarray(small).reshape(-1, 3) // np.uint8(256 // BINS)
    numbers = bins.astype(np.intp) @ np.array([BINS**2, BINS, 1])
    return np.bincount(numbers, minlength=BINS**3).astype(np.uint32)


def comparable(histograms: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Map ``(n, bins)`` counts to vectors with an L2 norm of 1 whose cosine is the coefficient."""
    counts = histograms.astype(np.float32)
    counts /= counts.sum(axis=1, keepdims=True)
    return np.sqrt(counts, out=counts)
