"""Export a collection as one CSV table: a row per image, with its class, vote and neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.search.graph.collection import Collection
from geosim.search.graph.neighbours import neighbour_graph
from geosim.search.graph.votes import count_votes, number_classes
from geosim.search.spreadsheet import Cell, csv_lines
from geosim.trainer.evaluation.calibration import VOTERS
from geosim.trainer.files import replacing
from geosim.trainer.progress import progress_bar

COLUMNS = ("path", "class", "vote", "vote_share")
"""Columns before those of the neighbours, a path and a score each."""


def write_table(path: Path, collection: Collection, k: int) -> tuple[int, int]:
    """Write the table atomically; return the counts of `same_class`.

    The rows are sorted by path and streamed. ``vote`` is the class that wins the vote of the first
    `VOTERS` neighbours, and ``vote_share`` its share of their scores, as a search for the indexed
    image tells.
    """
    names, labels = number_classes(collection.labels)
    same = compared = 0

    def rows() -> Iterator[list[Cell]]:
        nonlocal same, compared
        for block in neighbour_graph(collection.vectors, max(k, VOTERS), progress=bar.update):
            near, scores = block.rows[:, :k].tolist(), block.scores[:, :k].tolist()
            votes = count_votes(labels[block.rows], block.scores, len(names))
            alike = same_class(labels, block.start, block.rows[:, :k])
            same, compared = same + alike[0], compared + alike[1]
            for at, (winner, share) in enumerate(
                zip(votes.winner.tolist(), votes.share.tolist(), strict=True)
            ):
                row = block.start + at
                vote = (names[winner], round(share, 4)) if winner >= 0 else (None, None)
                pairs = zip(near[at], scores[at], strict=True)
                found = [cell for one, score in pairs for cell in (collection.paths[one], score)]
                yield [collection.paths[row], collection.labels[row], *vote, *found]

    header = [*COLUMNS]
    for rank in range(1, k + 1):
        header += [f"neighbour_{rank}", f"score_{rank}"]
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        progress_bar("neighbours", len(collection.paths)) as bar,
    ):
        for line in csv_lines(header, rows()):
            file.write(line.encode())
    return same, compared


def same_class(labels: NDArray[np.int64], start: int, rows: NDArray[np.int64]) -> tuple[int, int]:
    """Return how many neighbours have their image's class, and of how many both have one.

    ``rows (m, k)`` are the neighbours of the images ``start`` to ``start + m``; label -1 is none.
    """
    own = labels[start : start + len(rows), None]
    both = (labels[rows] >= 0) & (own >= 0)
    return int(((labels[rows] == own) & both).sum()), int(both.sum())
