"""Export a collection as one table: a row per image, with its class, vote, facts and neighbours.

As CSV for a spreadsheet, as GeoJSON (RFC 7946) for a map, or as Parquet (`parquet.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

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
class Row:
    """One image: its facts, and all its cells."""

    facts: Facts
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table and its rows, sorted by path and streamed.

    ``vote`` is the class that wins the vote of the first `VOTERS` neighbours, and ``vote_share``
    its share of their scores, as a search for the indexed image tells.
    """

    facts: FactColumns
    neighbours: tuple[str, ...]
    rows: Iterator[Row]
    counts: Counts

    @property
    def header(self) -> tuple[str, ...]:
        """The names of all columns."""
        return (*COLUMNS, *self.facts.header, *self.neighbours)


Write = Callable[[BinaryIO, Table], None]


def write_table(
    path: Path, collection: Collection, k: int, facts: ReadFacts, write: Write
) -> Counts:
    """Write a table of ``collection`` atomically, each image with ``k`` neighbours."""
    counts = Counts()
    neighbours = tuple(
        name for rank in range(1, k + 1) for name in (f"neighbour_{rank}", f"score_{rank}")
    )
    columns = FactColumns.of(collection.facts, (*COLUMNS, *neighbours))
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        progress_bar("neighbours", len(collection.paths)) as bar,
    ):
        rows = _rows(collection, k, facts, columns, counts, bar.update)
        write(file, Table(columns, neighbours, rows, counts))
    return counts


def write_csv(file: BinaryIO, table: Table) -> None:
    """Write a CSV; see `csv_lines`."""
    for line in csv_lines(table.header, (row.cells for row in table.rows)):
        file.write(line.encode())


def write_geojson(file: BinaryIO, table: Table) -> None:
    """Write a FeatureCollection, a point per image that has coordinates.

    The properties of a feature are the columns of the table; its id is the path. The place is the
    fact ``location``, else the first that is a place.
    """
    header, opening = table.header, b""
    file.write(b'{"type":"FeatureCollection","features":[\n')
    for row in table.rows:
        place = _place(row.facts)
        if not place:
            table.counts.without_place += 1
            continue
        feature = {
            "type": "Feature",
            "id": row.cells[0],
            "geometry": {"type": "Point", "coordinates": [place["lon"], place["lat"]]},
            "properties": dict(zip(header, row.cells, strict=True)),
        }
        file.write(opening + orjson.dumps(feature))
        opening = b",\n"
    file.write(b"\n]}\n")


def require_places(collection: Collection) -> None:
    """Raise `QueryError` if no image has coordinates."""
    if not any(map(_place, collection.facts)):
        raise QueryError(
            "no indexed image has coordinates; give them with `geosim ingest --table`, in columns "
            "latitude and longitude, or with --exif"
        )


def _place(facts: Facts) -> Mapping[str, Any]:
    """Return the place of an image; empty without one."""
    found = (place_of(value) for value in facts.values())
    return place_of(facts.get(LOCATION)) or next(filter(None, found), {})


def _rows(
    collection: Collection,
    k: int,
    facts: ReadFacts,
    columns: FactColumns,
    counts: Counts,
    progress: Callable[[int], object],
) -> Iterator[Row]:
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
            own = known.get(path, {})
            yield Row(own, [path, label or None, *vote, *columns.cells(own), *found])
