"""What a process does to a collection: all of it, one data set, or one part of a data set."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geosim.ingest.schema import point_id


@dataclass(frozen=True, slots=True)
class Part:
    """One of ``count`` parts of a data set, which ``number`` counts from 1.

    An image is in one part, by the hash of its stored path: the same on every machine.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Return the part that is written as ``2/8``; raise `ValueError` for another text."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text, re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"{text!r} is no part; expected NUMBER/COUNT, as 2/8")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, path: str, count: int) -> Part:
        """Return the part that the image with a stored path is in."""
        return cls(uuid.UUID(point_id(path)).int % count + 1, count)

    def has(self, path: str) -> bool:
        """Return whether the image with a stored path is in this part."""
        return self.of(path, self.count) == self

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class Work:
    """What is written: a data set or a part of one; without a data set, the whole collection."""

    dataset: str | None = None
    part: Part | None = None

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Work:
        """Return stored work; raise `KeyError`, `TypeError` or `ValueError` if it is none."""
        part = stored["part"]
        return cls(stored["dataset"], None if part is None else Part.parse(part))

    def to_dict(self) -> dict[str, Any]:
        """Return the work as it is stored."""
        return {"dataset": self.dataset, "part": None if self.part is None else str(self.part)}

    def excludes(self, other: Work) -> bool:
        """Return whether both must not be done at the same time."""
        if self.dataset is None or other.dataset is None:
            return True
        if self.dataset != other.dataset:
            return False
        if self.part is None or other.part is None:
            return True
        return self.part == other.part or self.part.count != other.part.count

    def __str__(self) -> str:
        if self.dataset is None:
            return "all data sets"
        whole = f"data set {self.dataset!r}"
        return whole if self.part is None else f"part {self.part} of {whole}"
