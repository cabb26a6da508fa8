"""Queries that arrive over the network, except uploads: stored images, and embeddings as text.

None of them names a file. How a query is answered is `search/searcher.py`.
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


def query_from_point(point: Point) -> ResolvedQuery:
    """Return a stored image, fetched with its vector, as a query."""
    payload = point.payload
    return ResolvedQuery(payload.path, payload.sha256, indexed=payload, vector=point.vector)


def query_from_text(text: str, sha256: str) -> ResolvedQuery:
    """Return an embedding as a query; any length is scaled to L2 norm 1.

    Args:
        text: the embedding, as `encode_embedding` returns it.
        sha256: hex digest of the picture's bytes, or empty.

    Raises:
        QueryError: the text is not a finite embedding other than zero.
    """
    problem = QueryError(
        f"an embedding is {EMBEDDING_DIM} little-endian float32, finite and not all zero, as "
        "base64url without padding"
    )
    if not re.fullmatch(r"[A-Za-z0-9_-]{171}", text, re.ASCII):
        raise problem
    vector = np.frombuffer(base64.urlsafe_b64decode(text + "="), dtype="<f4")
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if encode_embedding(vector) != text or not np.isfinite(norm) or norm == 0:
        raise problem
    if abs(norm - 1) > 1e-6:
        vector = vector.astype(np.float64) / norm  # float32 products could overflow
    return ResolvedQuery("<embedding>", sha256, vector=vector.astype(np.float32))


def encode_embedding(vector: NDArray[np.float32]) -> str:
    """Return an embedding, ``(32,) float32``, as 171 characters of base64url without padding."""
    return base64.urlsafe_b64encode(vector.astype("<f4").tobytes()).rstrip(b"=").decode()
