"""What a collection looks like: settings, payload, point ids, and the model it belongs to.

Owns the data that both backends store and return. Knows neither Qdrant Edge nor qdrant-client.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import ModelMismatchError, StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM

SCORE_DIGITS = 6
"""Scores are compared and shown at this many decimals; float32 products differ in the seventh."""

KEYWORD_FIELDS = ("class", "path", "dataset", "sha256")
"""Payload fields with a keyword index: the ones that filters use."""

ID_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "geosim:stored-path")
"""Namespace of the point ids; changing it orphans every existing point."""


def point_id(path: str) -> str:
    """Return the id of the point that holds the image stored as ``path``.

    Deterministic, so that a second ingest overwrites instead of duplicating. The whole stored path
    is hashed: bare file names repeat between classes.
    """
    return str(uuid.uuid5(ID_NAMESPACE, path))


@dataclass(frozen=True, slots=True)
class Payload:
    """What is known of one indexed image.

    Attributes:
        path: stored path, POSIX, relative to the parent of the data set's root
            (``geological_similarity/marble/MGN0Z.jpg``).
        label: class name (payload field ``class``).
        sha256: hex digest of the file's bytes.
        width: pixels, after EXIF orientation.
        height: pixels, after EXIF orientation.
        dataset: name of the data set's root folder (``geological_similarity``).
        image_url: where the picture is served, which the Qdrant dashboard shows; empty for nowhere.
    """

    path: str
    label: str
    sha256: str
    width: int
    height: int
    dataset: str
    image_url: str = ""

    @property
    def id(self) -> str:
        """The point's id, a UUID as text."""
        return point_id(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return the payload as Qdrant stores it."""
        stored = {
            "path": self.path,
            "class": self.label,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "dataset": self.dataset,
        }
        return {**stored, "image_url": self.image_url} if self.image_url else stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | None) -> Payload:
        """Read a payload back from what Qdrant returns.

        Raises:
            StoreError: a field is missing, so another program wrote the point.
        """
        try:
            fields = stored or {}
            return cls(
                path=fields["path"],
                label=fields["class"],
                sha256=fields["sha256"],
                width=fields["width"],
                height=fields["height"],
                dataset=fields["dataset"],
                image_url=fields.get("image_url", ""),
            )
        except KeyError as error:
            raise StoreError(
                f"a point of the collection has no payload field {error}, so another program wrote "
                "it; rebuild with `geosim ingest DATA --recreate`, or name another --collection"
            ) from error


@dataclass(frozen=True, slots=True)
class Point:
    """One stored image; ``vector`` is ``(32,) float32``, L2 norm 1, or None if not asked for."""

    payload: Payload
    vector: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One answer of a nearest-neighbour query; ``score`` is the cosine, -1 to 1."""

    payload: Payload
    score: float

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any] | None, score: float) -> Match:
        """Build a match from a stored payload; rounding beyond a cosine's -1 to 1 is cut off.

        Raises:
            StoreError: another program wrote the point.
        """
        return cls(Payload.from_dict(stored), max(-1.0, min(1.0, score)))


@dataclass(frozen=True, slots=True)
class Where:
    """A filter: every field that is set must hold; ids in ``exclude`` never match."""

    label: str | None = None
    dataset: str | None = None
    sha256: str | None = None
    exclude: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Nearest:
    """One nearest-neighbour query.

    Attributes:
        vector: ``(32,) float32``, not zero, any norm.
        where: only among these.
        min_score: only with this cosine or a higher one, at `SCORE_DIGITS` decimals.
    """

    vector: NDArray[np.float32]
    where: Where = field(default_factory=Where)
    min_score: float | None = None

    @property
    def threshold(self) -> float | None:
        """What an engine is asked for: a last digit below ``min_score``, as it has float32."""
        return None if self.min_score is None else self.min_score - 10.0**-SCORE_DIGITS


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model that made a collection: hex fingerprint and backbone name."""

    fingerprint: str
    backbone: str

    def __str__(self) -> str:
        return f"{self.backbone} {self.fingerprint[:12]}"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection's own facts: its model, its number of points and the engine that holds it."""

    model: ModelRef
    points: int
    engine: str


def check_name(name: str) -> str:
    """Return ``name`` if it can name a collection in every backend: it becomes a file name.

    Raises:
        StoreError: it cannot.
    """
    pattern = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
    if not re.fullmatch(pattern, name) or name.endswith((".json", ".lock")):
        raise StoreError(
            f"{name!r} cannot name a collection: expected up to 128 letters, digits, '.', '_' and "
            "'-', not starting with a dot and not ending with .json or .lock; "
            "name another --collection"
        )
    return name


def require_same_model(info: CollectionInfo, model: ModelRef, *, name: str) -> None:
    """Refuse a collection whose vectors another model made.

    Raises:
        ModelMismatchError: the fingerprints differ; both models are named.
    """
    if info.model.fingerprint != model.fingerprint:
        raise ModelMismatchError(
            f"collection {name!r} was made by the model {info.model}, but the model at hand is "
            f"{model}; rebuild it with `geosim ingest DATA --recreate`, or name another "
            "--collection or --working"
        )


def check_vectors(payloads: Sequence[Payload], vectors: NDArray[np.float32]) -> None:
    """Refuse what no store may hold: the engines take zero and NaN vectors without a word.

    Raises:
        ValueError: ``vectors`` is not ``(len(payloads), 32) float32`` with finite non-zero rows.
    """
    if vectors.shape != (len(payloads), EMBEDDING_DIM) or vectors.dtype != np.float32:
        raise ValueError(
            f"expected vectors of shape ({len(payloads)}, {EMBEDDING_DIM}) and dtype float32, "
            f"received {vectors.shape} {vectors.dtype}"
        )
    norms = np.linalg.norm(vectors, axis=1)
    for payload, norm in zip(payloads, norms, strict=True):
        if not np.isfinite(norm) or norm == 0:
            raise ValueError(
                f"vector of {payload.path} has norm {norm}; a cosine needs a direction"
            )
