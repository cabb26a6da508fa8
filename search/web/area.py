"""Areas of the map: polygons as text, and which points lie in them."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import QueryError

MOST_IN_AREA = 10_000
"""Images of an area that is searched in: an engine compares each with the area's paths."""

MOST_CORNERS = 64

AREA_PATTERN = rf"^[0-9a-f]{{12}}(,[0-9]{{1,5}},[0-9]{{1,5}}){{3,{MOST_CORNERS}}}$"
"""The drawing that an area is of, then x and y of each corner."""


def parse_area(text: str) -> tuple[str, NDArray[np.int64]]:
    """Return the drawing and the corners of an area, ``(m, 2)``.

    Raises:
        QueryError: this is no area.
    """
    if not re.fullmatch(AREA_PATTERN, text):
        raise QueryError("this is no area of the map; select one on the map")
    drawing, *numbers = text.split(",")
    return drawing, np.array(numbers, np.int64).reshape(-1, 2)


def within(points: NDArray[np.uint16], corners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether points, ``(n, 2)``, are inside of a polygon, by the even-odd rule."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    x, y = points[near].astype(np.int64).T
    inside = np.zeros(len(near), dtype=bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        if y1 != y2:
            crossing = (y1 > y) != (y2 > y)
            inside ^= crossing & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    found = np.zeros(len(points), dtype=bool)
    found[near] = inside
    return found
