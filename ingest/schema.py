"""The types that every engine takes and returns: payload, id, filter, query, model, origin."""

from __future__ import annotations

import platform
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.conditions import Condition
from geosim.ingest.machine import machine_id
from geosim.trainer.data.facts import DATE, GEO, NUMBER, TEXT, YES_NO
from geosim.trainer.data.places import Place
from geosim.trainer.errors import StoreError

SCORE_DIGITS = 6
"""Decimals at which scores are compared and shown; float32 products differ in the seventh."""

KEYWORD_FIELDS = ("class", "path", "dataset", "sha256")
"""Payload fields with a keyword index."""

FACTS = "facts"
"""Payload field with the facts of an image, a field each."""

INDEX_KINDS = {
    TEXT: "keyword",
    NUMBER: "float",
    DATE: "datetime",
    YES_NO: "keyword",
    GEO: "geo",
}
"""Kind of payload index for each type of fact. The embedded engine has none for true and false."""

ID_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "geosim:stored-path")
"""Namespace of the point ids; every existing collection depends on it."""

NAME_ANOTHER = "name another --collection"
REBUILD = "rebuild it with `geosim ingest DATA --recreate`"
"""Remedies in error messages."""

_PLAIN_FIELDS = ("path", "sha256", "width", "height", "dataset")
"""Attributes of `Payload` that Qdrant stores under their own names."""

Box = tuple[int, int, int, int]
"""A tile: left and upper edge, width and height, in pixels of the upright picture."""


def point_name(path: str, box: Box | None = None) -> str:
    """Return the name of a point: the stored path, and of a tile its box as a media fragment.

    Source of the notation: W3C, Media Fragments URI 1.0, 4.2.2.
    """
    return path if box is None else f"{path}#xywh={','.join(map(str, box))}"


def point_id(name: str) -> str:
    """Return the point id of a name: of all of it, as file names repeat between classes."""
    return str(uuid.uuid5(ID_NAMESPACE, name))


def fact_field(name: str) -> str:
    """Return the path of a fact in the payload, as Qdrant's indexes and filters take it."""
    return f"{FACTS}.{name}" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'{FACTS}."{name}"'


def fact_name(path: str) -> str | None:
    """Return the fact that a path in the payload is of; None for another field."""
    start, dot, name = path.partition(".")
    return name.strip('"') if dot and start == FACTS else None


@dataclass(frozen=True, slots=True)
class Payload:
    """The payload of a point: one indexed image, or one tile of it.

    Attributes:
        path: stored path, POSIX, unique in a collection but for the tiles of an image
            (``geological_similarity/marble/MGN0Z.jpg``).
        label: class name (payload field ``class``, which is missing without one); empty for none.
        sha256: hex digest of the file's bytes.
        width: pixels of the image, after EXIF orientation; ``height`` likewise.
        dataset: name of the data set, the first part of ``path``.
        image_url: URL of the image, which the Qdrant dashboard shows; empty for none.
        facts: values by name (`trainer/data/facts.py`); the payload field is missing without any.
        box: of a tile; None for the whole image, whose payload has no such field.
    """

    path: str
    label: str
    sha256: str
    width: int
    height: int
    dataset: str
    image_url: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    box: Box | None = None

    @property
    def name(self) -> str:
        """The point's name, see `point_name`."""
        return point_name(self.path, self.box)

    @property
    def id(self) -> str:
        """The point's id, a UUID as text."""
        return point_id(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the payload as Qdrant stores it."""
        fields: dict[str, Any] = {"path": self.path, "class": self.label}
        fields |= {name: getattr(self, name) for name in _PLAIN_FIELDS}
        fields |= {"image_url": self.image_url, FACTS: dict(self.facts)}
        fields |= {} if self.box is None else {"box": [*self.box]}
        return {name: value for name, value in fields.items() if value or name in _PLAIN_FIELDS}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | None) -> Payload:
        """Return the payload that Qdrant stores, or raise `StoreError` if a field is missing."""
        fields = stored or {}
        try:
            box = fields.get("box")
            return cls(
                fields["path"],
                fields.get("class", ""),
                fields["sha256"],
                fields["width"],
                fields["height"],
                fields["dataset"],
                fields.get("image_url", ""),
                fields.get(FACTS) or {},
                None if box is None else (box[0], box[1], box[2], box[3]),
            )
        except KeyError as error:
            raise StoreError(
                f"a point of the collection has no payload field {error}, so another program wrote "
                f"it; {REBUILD}, or {NAME_ANOTHER}"
            ) from error


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the payloads of some points, the same for all.

    Attributes:
        ids: of the points.
        fields: payload fields to set.
        facts: facts to set; others stay.
        gone: paths in the payload to delete.
    """

    ids: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    gone: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One stored image; ``vector`` is ``(32,) float32``, L2 norm 1, or None if not asked for."""

    payload: Payload
    vector: NDArray[np.float32] | None = None

    @classmethod
    def from_stored(cls, payload: Mapping[str, Any] | None, vector: Any) -> Point:
        """Build a point from what Qdrant returns."""
        array = None if vector is None else np.asarray(vector, dtype=np.float32)
        return cls(Payload.from_dict(payload), array)


@dataclass(frozen=True, slots=True)
class ScoredPoint:
    """One result of a query; ``score`` is the cosine, -1 to 1."""

    payload: Payload
    score: float

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any] | None, score: float) -> ScoredPoint:
        """Build a scored point from what Qdrant returns; the score is clipped to -1 to 1."""
        return cls(Payload.from_dict(stored), max(-1.0, min(1.0, score)))


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of points: the given fields must match, and the condition ``where`` hold.

    Points with ids in ``exclude``, content hashes in ``exclude_sha256``, or stored paths in
    ``exclude_paths``, never match.
    """

    label: str | None = None
    dataset: str | None = None
    sha256: str | None = None
    path: str | None = None
    exclude: frozenset[str] = field(default_factory=frozenset)
    exclude_sha256: frozenset[str] = field(default_factory=frozenset)
    exclude_paths: frozenset[str] = field(default_factory=frozenset)
    where: Condition | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """The value that each given payload field must have."""
        fields = {
            "class": self.label,
            "dataset": self.dataset,
            "sha256": self.sha256,
            "path": self.path,
        }
        return {key: value for key, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """One nearest-neighbour query.

    Attributes:
        vector: ``(32,) float32``, not zero, any norm.
        where: filter of the points.
        min_score: lowest cosine, compared at `SCORE_DIGITS` decimals; None for any.
        exact: whether all points are compared, also where `VectorStore.approximates`.
    """

    vector: NDArray[np.float32]
    where: Filter = field(default_factory=Filter)
    min_score: float | None = None
    exact: bool = True

    @property
    def score_threshold(self) -> float | None:
        """The threshold for an engine: below ``min_score`` by one last digit, for rounding."""
        return None if self.min_score is None else self.min_score - 10.0**-SCORE_DIGITS


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Reference to the model that made a collection: hex fingerprint and backbone name."""

    fingerprint: str
    backbone: str

    def __str__(self) -> str:
        return f"{self.backbone} {self.fingerprint[:12]}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a data set of a collection comes from: a machine, its host name, and a place there."""

    machine: str
    host: str
    place: Place
    parts: int = 0  # number of those of an ingest in parts that is not finished

    @classmethod
    def here(cls, place: Place) -> Origin:
        """Return the origin of a place on this machine."""
        return cls(machine_id(), platform.node(), place)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Origin:
        """Return a stored origin, or raise `StoreError` if it is none."""
        try:
            machine, host = str(stored["machine"]), str(stored["host"])
            return cls(machine, host, Place.from_dict(stored), int(stored.get("parts", 0)))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"a later version of geosim, or another program, wrote where a data set of the "
                f"collection comes from; update geosim, or {NAME_ANOTHER}"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the origin as it is stored."""
        fields = {"machine": self.machine, "host": self.host, **self.place.to_dict()}
        return fields | ({"parts": self.parts} if self.parts else {})

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.machine == machine_id()

    def __str__(self) -> str:
        return str(self.place) if self.local else f"{self.place} on {self.host}"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection's model and its number of points."""

    model: ModelRef
    points: int
    revision: str = ""  # differs after every command that wrote; empty if the engine tells none
