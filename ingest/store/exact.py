"""What makes an engine's answers exact: vectors with a direction, and an order without ties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import SCORE_DIGITS, ScoredPoint


def check_vectors(
    vectors: NDArray[np.float32], shape: tuple[int, ...], expected: str, names: Sequence[str]
) -> None:
    """Raise ValueError for invalid vectors; the engines accept zero and NaN vectors silently."""
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise ValueError(
            f"expected {expected} of shape {shape} and dtype float32, "
            f"received {vectors.shape} {vectors.dtype}"
        )
    for name, norm in zip(names, np.linalg.norm(vectors, axis=-1).reshape(-1), strict=True):
        if not np.isfinite(norm) or norm == 0:
            raise ValueError(f"{name} has norm {norm}; a cosine needs a direction")


def rank(points: list[ScoredPoint], least: float | None) -> list[tuple[float, ScoredPoint]]:
    """Return points of at least a score with their rounded scores, highest first, then by path."""
    scored = [(round(point.score, SCORE_DIGITS), point) for point in points]
    found = [pair for pair in scored if least is None or pair[0] >= least]
    return sorted(found, key=lambda pair: (-pair[0], pair[1].payload.path))
