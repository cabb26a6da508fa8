"""Queries as a caller gives them, and what is known of each before it has a vector."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Payload
from geosim.search.crop import CropBox
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.decoding.encoded import Encoded, sha256_of
from geosim.trainer.errors import ImageError, QueryError
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.text import on_disk, spellings

if TYPE_CHECKING:
    from geosim.search.given import Picture

QueryLike: TypeAlias = "str | os.PathLike[str] | Picture"
"""A query: the path of a file or of an indexed image, a picture in memory, or an embedding, an
array ``(32,) float32``."""


@dataclass(slots=True)
class ResolvedQuery:
    """A query, its vector and the indexed image that it is.

    Attributes:
        text: the path as it was given, ``<picture>`` or ``<embedding>``.
        sha256: hex digest of the picture's bytes; empty if they are unknown.
        candidates: stored paths that the file may have.
        data: the bytes of a picture in memory.
        file: the file that the path leads to.
        indexed: the indexed image that the query is, or is a part of, if any.
        twin: an indexed image with the bytes of the query's whole picture, if any.
        crop: the part of the picture that the vector is of; None for the whole.
        vector: ``(32,) float32``; None until it is known.
        error: why there is no vector.
    """

    text: str
    sha256: str = ""
    candidates: list[str] = field(default_factory=list)
    data: Encoded | None = None
    file: Record | None = None
    indexed: Payload | None = None
    twin: Payload | None = None
    crop: CropBox | None = None
    vector: NDArray[np.float32] | None = None
    error: str | None = None

    @property
    def own_ids(self) -> frozenset[str]:
        """The id of the indexed image that the query is, if any; not of one it is a part of."""
        if self.indexed is None or self.crop is not None:
            return frozenset()
        return frozenset((self.indexed.id,))

    @property
    def own_paths(self) -> frozenset[str]:
        """The stored path of the indexed image that the query is, if it is stored in tiles."""
        whole = self.indexed is None or self.indexed.box is None or self.crop is not None
        return frozenset() if self.indexed is None or whole else frozenset((self.indexed.path,))


def read_queries(queries: Iterable[QueryLike | ResolvedQuery]) -> list[ResolvedQuery]:
    """Read those queries that are not read yet."""
    return [one if isinstance(one, ResolvedQuery) else read_query(one) for one in queries]


def fresh(queries: Iterable[ResolvedQuery]) -> list[ResolvedQuery]:
    """Return copies of queries: to resolve one changes it."""
    return [replace(one) for one in queries]


def read_query(query: QueryLike) -> ResolvedQuery:
    """Read the file of a query, or check its picture or embedding."""
    if isinstance(query, str | os.PathLike):
        return _read_file(os.fspath(query))
    if isinstance(query, np.ndarray) and query.ndim == 1:
        return _read_embedding(query)
    from geosim.search.given import picture_bytes  # takes a moment to load

    try:
        data = picture_bytes(query)
    except ImageError as error:
        return ResolvedQuery("<picture>", error=str(error))
    return ResolvedQuery("<picture>", hashlib.sha256(data).hexdigest(), data=data)


def _read_embedding(query: NDArray[Any]) -> ResolvedQuery:
    if query.shape != (EMBEDDING_DIM,) or query.dtype.kind not in "uif":
        raise QueryError(
            f"an embedding is an array of shape ({EMBEDDING_DIM},) of floats, received "
            f"{query.shape} {query.dtype}"
        )
    vector = query.astype(np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise QueryError("an embedding must be finite and not zero")
    return ResolvedQuery("<embedding>", vector=vector)


def _read_file(text: str) -> ResolvedQuery:
    """Read a file, if there is one, and list the stored paths that it may have."""
    try:
        path = on_disk(Path(text))
        if path.is_dir():
            return ResolvedQuery(text, error="is a folder; name the images in it")
        if not path.exists():
            return ResolvedQuery(text, candidates=spellings(path.as_posix()))
        file = Record(text, "", os.fspath(path))
        digest = sha256_of(Files().read(file))
    except (ImageError, OSError, ValueError) as error:
        return ResolvedQuery(text, error=str(getattr(error, "strerror", None) or error))
    parts = Path(os.path.abspath(path)).parts  # noqa: PTH100 - resolves "..", not links
    suffixes = ["/".join(parts[start:]) for start in range(1, len(parts) - 1)]
    candidates = [one for suffix in suffixes for one in spellings(suffix)]
    return ResolvedQuery(text, digest, candidates, file=file)
