"""Embeddings as text, as answers, links and requests have them."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Point
from geosim.search.queries import ResolvedQuery
from geosim.search.web.models import UploadedImage
from geosim.trainer.errors import QueryError
from geosim.trainer.heads.head import EMBEDDING_DIM


def encode_embedding(vector: NDArray[np.float32]) -> str:
    """Return an embedding, ``(32,) float32``, as 171 characters of base64url without padding."""
    return base64.urlsafe_b64encode(vector.astype("<f4").tobytes()).rstrip(b"=").decode()


def decode_embedding(text: str) -> NDArray[np.float32]:
    """Return an embedding from an `EmbeddingText`, ``(32,) float32``, scaled to L2 norm 1.

    Raises:
        QueryError: it is not finite, or zero.
    """
    vector = np.frombuffer(base64.urlsafe_b64decode(text + "="), dtype="<f4")
    if not np.isfinite(vector).all() or not vector.any():
        raise QueryError(
            f"an embedding is {EMBEDDING_DIM} float32, finite and not all zero; received others"
        )
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if abs(norm - 1) > 1e-6:
        vector = vector.astype(np.float64) / norm  # float32 products could overflow
    return vector.astype(np.float32)


def query_of(image: Point | UploadedImage) -> ResolvedQuery:
    """Return the query that an indexed image or an uploaded one is."""
    if isinstance(image, UploadedImage):
        vector = decode_embedding(image.embedding)
        return ResolvedQuery("<embedding>", image.sha256, vector=vector)
    stored = image.payload
    return ResolvedQuery(stored.path, stored.sha256, indexed=stored, vector=image.vector)
