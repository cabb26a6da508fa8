"""Examples of people who are not at this machine: what they send names no file.

Owns how an example arrives over the network, but for a picture's bytes: as a stored image, or as
an embedding in text. How it is answered is `search/searcher.py`.
"""

from __future__ import annotations

import base64
import re

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Point
from geosim.search.resolver import ResolvedQuery
from geosim.trainer.errors import QueryError
from geosim.trainer.heads.head import EMBEDDING_DIM


def stored(point: Point) -> ResolvedQuery:
    """Return a stored image as an example; the point has its vector."""
    payload = point.payload
    return ResolvedQuery(payload.path, payload.sha256, indexed=payload, vector=point.vector)


def embedding(text: str, sha256: str) -> ResolvedQuery:
    """Return an embedding that came as text as an example.

    Args:
        text: what `encoded` gave.
        sha256: hex digest of the picture's bytes, or empty.

    Raises:
        QueryError: it is none.
    """
    problem = QueryError(
        f"an embedding is {EMBEDDING_DIM} little-endian float32, finite and not all zero, as "
        "base64url without padding"
    )
    if not re.fullmatch(r"[A-Za-z0-9_-]{171}", text, re.ASCII):
        raise problem
    vector = np.frombuffer(base64.urlsafe_b64decode(text + "="), dtype="<f4")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if encoded(vector) != text or not np.isfinite(length) or length == 0:
        raise problem
    if abs(length - 1) > 1e-6:  # the direction is all that counts, and no product overflows
        vector = vector.astype(np.float64) / length
    return ResolvedQuery("<embedding>", sha256, vector=vector.astype(np.float32))


def encoded(vector: NDArray[np.float32]) -> str:
    """Return an embedding ``(32,) float32`` as 171 characters for a link."""
    return base64.urlsafe_b64encode(vector.astype("<f4").tobytes()).rstrip(b"=").decode()
