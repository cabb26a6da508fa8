"""Turns by right angles and mirror images: rock has no up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trainer.backbones import Backbone

VIEWS = 8
"""Turns by right angles and their mirror images."""


def turned(images: NDArray[Any], view: int) -> NDArray[Any]:
    """Return ``(n, s, s, c)`` images turned and mirrored: view 0 is as they are, up to 7."""
    if view & 1:
        images = images[:, ::-1]
    if view & 2:
        images = images[:, :, ::-1]
    if view & 4:
        images = images.swapaxes(1, 2)
    return images


class TurnAveraged:
    """A backbone whose features are the mean over all turns and mirror images."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, width) float32``."""
        views = np.concatenate([turned(images, view) for view in range(VIEWS)])
        features = self._backbone(views)  # all at once, so that every core has work
        mean = features.reshape(VIEWS, len(images), -1).mean(axis=0)
        return np.asarray(mean, dtype=np.float32)
