"""Groups of pictures that one fact tells: those of a sample, a hole or a thin section."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.split import Bond
from geosim.trainer.errors import DatasetError
from geosim.trainer.evaluation.overlap import components
from geosim.trainer.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Grouping:
    """The values of a fact, by which a split keeps pictures together.

    Attributes:
        fact: name of the fact.
        values: value by stored path; pictures without one are left out.
        pictures: number of pictures of the data set.
    """

    fact: str
    values: Mapping[str, Hashable]
    pictures: int

    @property
    def facts(self) -> dict[str, Any]:
        """The fact, the number of its values and of pictures without one, as a run keeps them."""
        missing = self.pictures - len(self.values)
        groups = len(set(self.values.values()))
        return {"group_by": self.fact, "groups": groups, "pictures_without_group": missing}

    @property
    def bond(self) -> Bond:
        """What the pictures of a group have in common, for errors."""
        return Bond(
            f"have {self.fact} in common",
            f"add pictures with other values of {self.fact}, or leave out --group-by",
        )

    def rows(self, inputs: Inputs) -> NDArray[np.int64]:
        """Return the group of each image, ``(n,)``; one without a value is its own group."""
        numbers: dict[Hashable, int] = {}
        keys = (self.values.get(item.record.path, (item.record.path,)) for item in inputs.items)
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)

    def __str__(self) -> str:
        facts = self.facts
        missing, several = facts["pictures_without_group"], Counter(self.values.values())
        told = (
            f"grouped by {self.fact}: {len(self.values):,} pictures in {facts['groups']:,} groups"
        )
        if missing:
            verb = "picture without it is" if missing == 1 else "pictures without it are each"
            told += f"; {missing:,} {verb} a group of its own"
        if max(several.values()) == 1:
            told += (
                ". No two pictures have it in common, so that grouped figures are those of another "
                "split at random"
            )
        return told


def find_grouping(dataset: Dataset, fact: str) -> Grouping:
    """Return the groups that a fact makes of a data set.

    Raises:
        DatasetError: there is no such fact, or all pictures have one value of it.
    """
    types = {} if dataset.facts is None else dataset.facts.types
    if dataset.facts is None or fact not in types:
        known = f"its facts: {', '.join(types)}" if types else "give the facts, as with --table"
        raise DatasetError(
            f"--group-by names {fact!r}, which is no fact of {dataset.name}; {known}"
        )
    values = {
        record.path: _hashable(value)
        for record in dataset.records
        if (value := dataset.facts.of(record.path).get(fact)) is not None
    }
    grouping = Grouping(fact, values, len(dataset.records))
    if not values:
        raise DatasetError(f"no picture of {dataset.name} has fact {fact}; name another --group-by")
    if len(values) == grouping.pictures and len(set(values.values())) == 1:
        raise DatasetError(
            f"all {len(values):,} pictures of {dataset.name} have one {fact}, "
            f"{next(iter(values.values()))!r}, so that no split keeps it on one side; name another "
            "--group-by"
        )
    return grouping


def join_groups(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the groups of images that are together in either of two, also through others."""
    pairs = [_pairs(groups) for groups in (one, other)]
    return components(len(one), np.concatenate(pairs))


def digest_of(groups: NDArray[np.int64]) -> str:
    """Return the SHA-256 of the groups of images, as hex."""
    return hashlib.sha256(groups.astype("<i8").tobytes()).hexdigest()


def _pairs(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each image with the first of its group, ``(n, 2)``."""
    _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    return np.stack([first[members.reshape(-1)], np.arange(len(groups))], axis=1)


def _hashable(value: Any) -> Hashable:
    """Return the value of a fact; a point on the earth as its latitude and longitude."""
    return tuple(value.values()) if isinstance(value, dict) else value
