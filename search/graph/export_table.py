"""Export a collection as one table: a row per image, with its class, vote, facts and neighbours.

As CSV for a spreadsheet, or as GeoJSON (RFC 7946) for a map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from geosim.search.fact_columns import FactColumns, Facts, place_of
from geosim.search.graph.collection import Collection
from geosim.search.graph.neighbours import neighbour_graph
from geosim.search.graph.votes import count_votes, number_classes
from geosim.search.spreadsheet import Cell, csv_lines
from geosim.trainer.errors import QueryError
from geosim.trainer.evaluation.calibration import VOTERS
from geosim.trainer.facts.layer import LOCATION
from geosim.trainer.files import replacing
from geosim.trainer.progress import progress_bar

COLUMNS = ("path", "class", "vote", "vote_share")
"""Columns before those of the facts and the neighbours; of these a path and a score each."""

ReadFacts = Callable[[Sequence[str]], Mapping[str, Facts]]
"""Returns the facts of images by stored path."""


@dataclass(slots=True)
class Counts:
    """What was counted in an export.

    Attributes:
        same: neighbours of their image's class.
        compared: neighbours that have a class, as their image has.
        without_place: images that are left out of a map, because they have no coordinates.
    """

    same: int = 0
    compared: int = 0
    without_place: int = 0

    def add(self, labels: NDArray[np.int64], start: int, rows: NDArray[np.int64]) -> None:
        """Count neighbours: ``rows (m, k)`` are those of the images from ``start`` on.

        ``labels (n,)`` are class numbers, -1 for none.
        """
        own = labels[start : start + len(rows), None]
        both = (labels[rows] >= 0) & (own >= 0)
        self.same += int(((labels[rows] == own) & both).sum())
        self.compared += int(both.sum())


@dataclass(frozen=True, slots=True)
class _Row:
    """One image: its facts, and the cells before and after those of the facts."""

    facts: Facts
    head: list[Cell]
    neighbours: list[Cell]


def write_table(path: Path, collection: Collection, k: int, facts: ReadFacts) -> Counts:
    """Write a CSV atomically.

    The rows are sorted by path and streamed. ``vote`` is the class that wins the vote of the first
    `VOTERS` neighbours, and ``vote_share`` its share of their scores, as a search for the indexed
    image tells.
    """
    counts, neighbours = Counts(), _neighbour_columns(k)
    columns = FactColumns.of(collection.facts, (*COLUMNS, *neighbours))

    def rows() -> Iterator[list[Cell]]:
        for row in _rows(collection, k, facts, counts, bar.update):
            yield [*row.head, *columns.cells(row.facts), *row.neighbours]

    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        progress_bar("neighbours", len(collection.paths)) as bar,
    ):
        for line in csv_lines((*COLUMNS, *columns.header, *neighbours), rows()):
            file.write(line.encode())
    return counts


def write_geojson(path: Path, collection: Collection, k: int, facts: ReadFacts) -> Counts:
    """Write a FeatureCollection atomically, a point per image that has coordinates.

    The properties of a feature are the columns of `write_table`; its id is the path. The place is
    the fact ``location``, else the first that is a place.

    Raises:
        QueryError: no image has coordinates.
    """
    counts, neighbours = Counts(), _neighbour_columns(k)
    columns = FactColumns.of(collection.facts, (*COLUMNS, *neighbours))
    if not any(map(_place, collection.facts)):
        raise QueryError(
            "no indexed image has coordinates; give them with `geosim ingest --table`, in columns "
            "latitude and longitude, or with --exif"
        )
    header, opening = (*COLUMNS, *columns.header, *neighbours), b""
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        progress_bar("neighbours", len(collection.paths)) as bar,
    ):
        file.write(b'{"type":"FeatureCollection","features":[\n')
        for row in _rows(collection, k, facts, counts, bar.update):
            place = _place(row.facts)
            if not place:
                counts.without_place += 1
                continue
            cells = [*row.head, *columns.cells(row.facts), *row.neighbours]
            feature = {
                "type": "Feature",
                "id": row.head[0],
                "geometry": {"type": "Point", "coordinates": [place["lon"], place["lat"]]},
                "properties": dict(zip(header, cells, strict=True)),
            }
            file.write(opening + orjson.dumps(feature))
            opening = b",\n"
        file.write(b"\n]}\n")
    return counts


def _place(facts: Facts) -> Mapping[str, Any]:
    """Return the place of an image; empty without one."""
    found = (place_of(value) for value in facts.values())
    return place_of(facts.get(LOCATION)) or next(filter(None, found), {})


def _neighbour_columns(k: int) -> list[str]:
    return [name for rank in range(1, k + 1) for name in (f"neighbour_{rank}", f"score_{rank}")]


def _rows(
    collection: Collection,
    k: int,
    facts: ReadFacts,
    counts: Counts,
    progress: Callable[[int], object],
) -> Iterator[_Row]:
    """Yield the images sorted by path, and count their neighbours."""
    names, labels = number_classes(collection.labels)
    for block in neighbour_graph(collection.vectors, max(k, VOTERS), progress=progress):
        counts.add(labels, block.start, block.rows[:, :k])
        near, scores = block.rows[:, :k].tolist(), block.scores[:, :k].tolist()
        votes = count_votes(labels[block.rows], block.scores, len(names))
        known = facts(collection.paths[block.start : block.start + len(near)])
        for at, (winner, share) in enumerate(
            zip(votes.winner.tolist(), votes.share.tolist(), strict=True)
        ):
            path, label = collection.paths[block.start + at], collection.labels[block.start + at]
            vote = (names[winner], round(share, 4)) if winner >= 0 else (None, None)
            pairs = zip(near[at], scores[at], strict=True)
            found = [cell for one, score in pairs for cell in (collection.paths[one], score)]
            yield _Row(known.get(path, {}), [path, label or None, *vote], found)
