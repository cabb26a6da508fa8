"""The facts of indexed images as columns of tables: one each, and two for a place on the earth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geosim.ingest.conditions import Match
from geosim.ingest.schema import FACTS, Filter, point_id
from geosim.ingest.store.base import VectorStore
from geosim.search.spreadsheet import Cell
from geosim.trainer.facts.layer import LOCATION

Facts = Mapping[str, Any]

COORDINATES = {"lat": "latitude", "lon": "longitude"}
"""Keys of a place, in degrees, and the names of their columns."""

PATHS_BATCH = 256
"""Images in tiles whose facts are asked for at once."""


@dataclass(frozen=True, slots=True)
class FactColumns:
    """Columns of facts: the header, and for each column the fact and the key of a place in it."""

    header: tuple[str, ...]
    sources: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, facts: Iterable[Facts], others: Collection[str]) -> FactColumns:
        """Return the columns of all ``facts``, in the order in which they are first there."""
        places: dict[str, bool] = {}
        for one in facts:
            if not places.keys() >= one.keys():
                for name, value in one.items():
                    places[name] = places.get(name, False) or isinstance(value, Mapping)
        return cls.of_kinds(places, others)

    @classmethod
    def of_kinds(cls, places: Mapping[str, bool], others: Collection[str]) -> FactColumns:
        """Return the columns of facts by name; ``places`` says whether one is a place.

        The columns of a fact ``location`` are ``latitude`` and ``longitude``, as a table has them.
        A name that is among ``others``, the further columns, is written as ``facts.name``.
        """
        header: list[str] = []
        sources: list[tuple[str, str | None]] = []
        for name, place in places.items():
            for key, axis in COORDINATES.items() if place else ((None, ""),):
                short = name == LOCATION and axis not in places
                named = axis if place and short else f"{name} {axis}".strip()
                while named in others or named in header or named in places.keys() - {name}:
                    named = f"{FACTS}.{named}"
                header.append(named)
                sources.append((name, key))
        return cls(tuple(header), tuple(sources))

    def cells(self, facts: Facts) -> list[Cell]:
        """Return the cells of an image; None for what it has no value of."""
        return [
            facts.get(name) if key is None else place_of(facts.get(name)).get(key)
            for name, key in self.sources
        ]


def place_of(value: Any) -> Mapping[str, float]:
    """Return a place as ``lat`` and ``lon`` in degrees; empty for another value."""
    return value if isinstance(value, Mapping) else {}


def read_facts(store: VectorStore, paths: Sequence[str]) -> dict[str, Facts]:
    """Return the facts of indexed images by stored path, without images that are gone.

    Paths may be the names of tiles (`point_name`), or those of images that are stored in tiles.
    """
    points = store.fetch([point_id(path) for path in paths], vectors=False)
    facts = {point.payload.name: point.payload.facts for point in points}
    others = [path for path in paths if path not in facts]
    for start in range(0, len(others), PATHS_BATCH):
        some = Match("path", tuple(others[start : start + PATHS_BATCH]))
        for batch in store.scan(Filter(where=some), vectors=False):
            facts.update((point.payload.path, point.payload.facts) for point in batch)
    return facts
