"""Searches for people who are not at this machine: what they send names no file.

Owns how a search arrives over the network: a picture's bytes, an embedding as text, ids of stored
images. How it is answered is `search/query.py`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.schema import VECTOR_SIZE, Point
from ingest.store import VectorStore
from search.examples import Example, Resolved, Resolver
from search.hits import Hit, Wanted
from search.query import Searcher
from trainer.errors import QueryError
from trainer.working import Working


class WebSearcher(Searcher):
    """A searcher to which a text is the id of a stored image, never a path."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open for searching; raises what `Searcher` does."""
        super().__init__(store, working)
        self._resolver: Resolver = _ById(store, working)

    def picture(self, data: bytes) -> Resolved:
        """Embed a picture, or take the stored vector of an image with the very same bytes.

        Raises:
            QueryError: it cannot be decoded or compared.
            ModelError: it must be embedded and there is no model.
        """
        (resolved,) = self._resolver.resolve([data])
        if resolved.error is not None:
            raise QueryError(resolved.error)
        return resolved

    def answer(self, resolved: Resolved, wanted: Wanted) -> tuple[Hit, ...]:
        """Return what looks like an example that has its vector.

        Raises:
            QueryError: no indexed image has the class that is wanted.
        """
        (result,) = self._answer([resolved], wanted, self._groups(wanted))
        return result.hits


class _ById(Resolver):
    """Resolves texts as ids of stored images."""

    def resolve(self, examples: Sequence[Example]) -> list[Resolved]:
        ids = [one for one in examples if isinstance(one, str)]
        points = {point.payload.id: point for point in self._store.fetch(ids)}
        resolved: list[Resolved] = []
        for one in examples:
            if isinstance(one, str):
                resolved.append(_found(one, points.get(one)))
            else:
                resolved += super().resolve([one])
        return resolved


def _found(id_: str, point: Point | None) -> Resolved:
    if point is None:
        return Resolved(id_, error="no indexed image has this id")
    return stored(point)


def stored(point: Point) -> Resolved:
    """Return a stored image as an example; the point has its vector."""
    payload = point.payload
    return Resolved(payload.path, payload.sha256, indexed=payload, vector=point.vector)


def embedding(text: str, sha256: str) -> Resolved:
    """Return an embedding that came as text as an example.

    Args:
        text: what `encoded` gave.
        sha256: hex digest of the picture's bytes, or empty.

    Raises:
        QueryError: it is none.
    """
    problem = QueryError(
        f"an embedding is {VECTOR_SIZE} little-endian float32, finite and not all zero, as "
        "base64url without padding"
    )
    if not re.fullmatch(r"[A-Za-z0-9_-]{171}", text, re.ASCII):
        raise problem
    vector = np.frombuffer(base64.urlsafe_b64decode(text + "="), dtype="<f4")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if encoded(vector) != text or not np.isfinite(length) or length == 0:
        raise problem
    if abs(length - 1) > 1e-6:  # the direction is all that counts, and no product overflows
        vector = (vector / length).astype(np.float32)
    return Resolved("<embedding>", sha256, vector=vector.astype(np.float32))


def encoded(vector: NDArray[np.float32]) -> str:
    """Return an embedding ``(32,) float32`` as 171 characters for a link."""
    return base64.urlsafe_b64encode(vector.astype("<f4").tobytes()).rstrip(b"=").decode()
