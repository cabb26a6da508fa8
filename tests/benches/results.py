"""What a part measured: rows of figures, how they compare, and whether a target is met.

Owns the arithmetic of medians and ratios. How figures are taken is `timing.py`, how they are shown
`report.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

OURS = "geosim"
"""How this project is called in the tables."""

FULL_SIZE = 29_998
"""Images of the geological similarity data set; targets of time hold from this size on."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command was asked for.

    Attributes:
        output: folder of the results, and of what is prepared for them.
        runs: rounds per comparison.
        largest: most vectors of ``growth`` and ``memory``.
        images: at most this many images, points or vectors elsewhere; None for all.
        data: folder of class folders or .zip of one; None for the generated set.
        working: a working folder that exists, never changed; None for one made from ``data``.
    """

    output: Path
    runs: int
    largest: int
    images: int | None = None
    data: Path | None = None
    working: Path | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be.

    Attributes:
        value: what it is.
        bound: what it should be at most, or at least.
        unit: of both: ``x`` for a ratio, ``s``, ``ms``, ``GB``, ``MB``.
        at_least: whether more is better.
    """

    value: float
    bound: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is what it should be."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's figures.

    Attributes:
        group: what was measured; rows of a group are compared.
        name: the contender.
        unit: of the figures.
        values: one per run, in order; empty where the contender was skipped.
        cost: its time, or memory, as a multiple of this project's: the median over runs.
        target: what this project's figure beside this one should be.
        note: what the reader must know of it.
        size: vectors, where figures are taken at several sizes.
    """

    group: str
    name: str
    unit: str
    values: tuple[float, ...] = ()
    cost: float | None = None
    target: Target | None = None
    note: str = ""
    size: int | None = None

    @property
    def median(self) -> float:
        """Median of the runs."""
        return median(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return everything, medians and verdicts included, for ``bench.json``."""
        found = asdict(self)
        if self.values:
            found |= {"median": self.median, "min": min(self.values), "max": max(self.values)}
        if self.target is not None:
            found["target"]["met"] = self.target.met
        return found

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Row:
        """Read what `to_json` returned."""
        fields = {name: stored[name] for name in cls.__dataclass_fields__}
        target = fields["target"]
        if target is not None:
            target = Target(**{name: target[name] for name in Target.__dataclass_fields__})
        return cls(**{**fields, "values": tuple(fields["values"]), "target": target})


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios that figures of the same round have."""
    return median(one / other for one, other in zip(above, below, strict=True))


def compared(
    group: str, seconds: Mapping[str, Sequence[float]], *, rate_of: tuple[str, int] | None = None
) -> dict[str, Row]:
    """Turn the seconds of each contender, this project first, into rows by name.

    Args:
        group: what was measured.
        seconds: per contender one figure per round.
        rate_of: what was done in those seconds and how many, to show a rate: ``("images", 256)``.
    """
    ours = next(iter(seconds.values()))
    rows = {}
    for name, values in seconds.items():
        shown, unit = values, "s"
        if rate_of is not None:
            shown, unit = [rate_of[1] / one for one in values], f"{rate_of[0]}/s"
        rows[name] = Row(group, name, unit, tuple(shown), ratio(values, ours))
    return rows


def skipped(group: str, name: str, unit: str, missing: Sequence[str]) -> Row:
    """Return the row of a contender that is not installed."""
    return Row(group, name, unit, note=f"skipped: {', '.join(missing)} not installed")
