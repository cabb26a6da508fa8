"""Predicts the class of new pictures from the indexed ones, and writes a table of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path

from geosim.ingest.store.base import VectorStore
from geosim.search.explain import explain, fitted_certainty, novelty_threshold, vote_doubt
from geosim.search.searcher import Searcher
from geosim.search.spreadsheet import csv_lines
from geosim.trainer.errors import QueryError
from geosim.trainer.files import is_special, replacing
from geosim.trainer.working import Working

COLUMNS = (
    "path",
    "class",
    "certainty",
    "unlike",
    "score",
    "nearest",
    "nearest_class",
    "error",
)


@dataclass(frozen=True, slots=True)
class Label:
    """What the indexed images say of a picture; the fields are `COLUMNS`.

    Attributes:
        path: as it was given.
        label: the class that the nearest images vote for; None without a vote, for a picture unlike
            all, and for one that cannot be read.
        certainty: how often such a vote is right, 0 to below 1; None if nothing tells it.
        unlike: whether no indexed image is like the picture; None if it cannot be read.
        score: cosine to the nearest image, whose path and class follow.
        error: why it cannot be read.
    """

    path: str
    label: str | None = None
    certainty: float | None = None
    unlike: bool | None = None
    score: float | None = None
    nearest: str | None = None
    nearest_class: str | None = None
    error: str | None = None


def label_pictures(
    pictures: Sequence[str], store: VectorStore, working: Working
) -> Iterator[Label]:
    """Return the label of each picture, in order, computed while they are iterated.

    The vote is that of `explain`, without filters.

    Raises:
        StoreError: there is no collection, or it is empty.
        QueryError: the collection has too few images or classes to predict one, see `vote_doubt`;
            raised at the call, as the others are.
        ModelMismatchError: ``working`` has models, but not the collection's.
        ModelError: a picture must be embedded and there is no model; raised while iterated.
    """
    searcher = Searcher(store, working)
    if doubt := vote_doubt(store):
        raise QueryError(
            f"collection {store.name!r} predicts no class: {doubt}; ingest more pictures in class "
            "folders. `geosim search` lists the nearest"
        )
    threshold = cache(partial(novelty_threshold, store, working))
    certainty = cache(partial(fitted_certainty, store, working))

    def labels() -> Iterator[Label]:
        for result in searcher.search(pictures):
            if result.error is not None or not result.hits:
                yield Label(result.query, error=result.error or "no other image is indexed")
                continue
            model = result.model
            why, best = explain(result.hits, threshold(model), certainty(model)), result.hits[0]
            yield Label(
                result.query,
                *why.prediction,
                why.is_novel,
                best.score,
                best.path,
                best.label or None,
            )

    return labels()


def table_lines(labels: Iterable[Label]) -> Iterator[str]:
    """Yield the lines of the labels' CSV as they come."""
    return csv_lines(COLUMNS, map(astuple, labels))


def write_labels(
    labels: Iterable[Label], table: Path, *, on_stopped: Callable[[Path], object]
) -> None:
    """Write labels as CSV to `part_of` the table as they come, and rename it at the end.

    Labels that raise leave the lines that are written, and the old table. ``on_stopped`` is
    called with the path of these lines. A device or pipe is written to at the end.
    """
    if is_special(table):
        with replacing(table) as temporary, temporary.open("wb") as file:
            file.writelines(line.encode() for line in table_lines(labels))
        return
    part = part_of(table)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        try:
            for line in table_lines(labels):
                file.write(line.encode())
                file.flush()
        except BaseException:
            on_stopped(part)
            raise
        os.fsync(file.fileno())
    part.replace(table)


def part_of(table: Path) -> Path:
    """Return the path of a table that is not finished."""
    return table.with_name(f"{table.name}.part")
