"""What a collection looks like: settings, payload, point ids, and the model it belongs to.

Owns the data that both backends store and return. Knows neither Qdrant Edge nor qdrant-client.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import ModelMismatchError, StoreError

VECTOR_SIZE = 32
"""Width of the embedding, and of every vector in a collection."""

SCORE_DIGITS = 6
"""Scores are compared and shown at this many decimals; float32 products differ in the seventh."""

KEYWORD_FIELDS = ("class", "path", "dataset", "sha256")
"""Payload fields with a keyword index: the ones that filters use."""

TIE_MARGIN = 16
"""Points asked for beyond k, so that a tie at rank k can be put into path order."""

QUERY_BATCH = 64
"""Queries per call of an engine: Qdrant Edge answers them in about 40 ms at 30,000 points."""

MATCHES_PER_CALL = 20_000
"""Matches that a call may ask for, at about half a kilobyte each; many mean fewer queries."""

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
    if vectors.shape != (len(payloads), VECTOR_SIZE) or vectors.dtype != np.float32:
        raise ValueError(
            f"expected vectors of shape ({len(payloads)}, {VECTOR_SIZE}) and dtype float32, "
            f"received {vectors.shape} {vectors.dtype}"
        )
    norms = np.linalg.norm(vectors, axis=1)
    for payload, norm in zip(payloads, norms, strict=True):
        if not np.isfinite(norm) or norm == 0:
            raise ValueError(
                f"vector of {payload.path} has norm {norm}; a cosine needs a direction"
            )


def check_queries(queries: Sequence[Nearest], k: int) -> None:
    """Refuse queries that have no answer.

    Raises:
        ValueError: k is below 1, or a vector is not ``(32,) float32``, finite and non-zero.
    """
    if k < 1:
        raise ValueError(f"expected k of 1 or more, received {k}")
    for query in queries:
        vector = query.vector
        if vector.shape != (VECTOR_SIZE,) or vector.dtype != np.float32:
            raise ValueError(
                f"expected a query vector of shape ({VECTOR_SIZE},) and dtype float32, "
                f"received {vector.shape} {vector.dtype}"
            )
        norm = np.linalg.norm(vector)
        if not np.isfinite(norm) or norm == 0:
            raise ValueError(f"query vector has norm {norm}; a cosine needs a direction")


def ranked(matches: Iterable[Match], k: int) -> list[Match]:
    """Return the ``k`` best matches, highest score first, ties ordered by path.

    Scores tie that are equal at `SCORE_DIGITS` decimals.
    """
    return sorted(matches, key=lambda match: (-_shown(match.score), match.payload.path))[:k]


def _shown(score: float) -> float:
    return round(score, SCORE_DIGITS)


def exact_top(
    queries: Sequence[Nearest],
    k: int,
    ask: Callable[[Sequence[Nearest], int], list[list[Match]]],
) -> list[list[Match]]:
    """Return the ``k`` best matches per query, independent of the engine's own order of ties.

    An engine cuts a tie at its limit arbitrarily. Where the last match it gave still ties with
    rank k, the query is asked again with a larger limit.

    Args:
        queries: n queries.
        k: matches per query, 1 or more.
        ask: given at most `QUERY_BATCH` queries and a limit, returns the engine's best matches.

    Raises:
        ValueError: `check_queries` refuses.
    """
    check_queries(queries, k)
    best: list[list[Match]] = [[] for _ in queries]
    pending, limit = list(range(len(queries))), k + TIE_MARGIN
    while pending:
        cut_in_tie = []
        step = max(1, min(QUERY_BATCH, MATCHES_PER_CALL // limit))
        for start in range(0, len(pending), step):
            batch = pending[start : start + step]
            answers = ask([queries[index] for index in batch], limit)
            for index, found in zip(batch, answers, strict=True):
                least = queries[index].min_score
                near = [m for m in found if least is None or _shown(m.score) >= least]
                best[index] = ranked(near, k)
                lowest = min((match.score for match in near), default=0.0)
                if len(near) >= limit and _shown(lowest) >= _shown(best[index][-1].score):
                    cut_in_tie.append(index)
        pending, limit = cut_in_tie, limit * 4
    return best
