"""Writes the whole collection as two JSON files: every vector, and every image's neighbours."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from ingest.schema import VECTOR_SIZE
from ingest.store import VectorStore
from search.neighbours import neighbour_graph
from trainer.errors import QueryError, StoreError
from trainer.files import replacing
from trainer.progress import Progress


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported.

    Attributes:
        images: keys in both files.
        k: neighbours per image.
        same_class: share of all neighbours that have their image's class, 0 to 1. Of the indexed
            images among themselves, training images included: no measure of quality on new ones.
        index: the neighbour graph's file.
        embeddings: the vectors' file.
        seconds: wall time.
    """

    images: int
    k: int
    same_class: float
    index: Path
    embeddings: Path
    seconds: float


def export(store: VectorStore, index: Path, embeddings: Path, k: int = 10) -> ExportReport:
    """Write ``embeddings`` and ``index``; each appears whole or not at all.

    ``index`` holds ``{path: [[path, score], ...]}``, one image per line, sorted by path; each list
    sorted by score, highest first, equal scores by path, the image itself left out.
    ``embeddings`` holds ``{path: [32 floats]}``, L2 norm 1, each float32 in its shortest decimal
    form; read as float32, they give the index exactly.

    Raises:
        QueryError: ``k`` is not positive.
        StoreError: there is nothing to export.
    """
    started = time.perf_counter()
    if k < 1:
        raise QueryError(f"k must be at least 1, received {k}")
    info = store.info()
    if info is None or info.points == 0:
        raise StoreError(
            f"collection {store.name!r} at {store.location} holds nothing to export; fill it with "
            "`geosim ingest DATA`"
        )
    paths, labels, vectors = _all(store, info.points)
    _write_embeddings(embeddings, paths, vectors)
    same = _write_index(index, paths, labels, vectors, k)
    neighbours = min(k, len(paths) - 1)
    return ExportReport(
        images=len(paths),
        k=neighbours,
        same_class=same / (len(paths) * neighbours) if neighbours else 0.0,
        index=index,
        embeddings=embeddings,
        seconds=time.perf_counter() - started,
    )


def _all(
    store: VectorStore, points: int
) -> tuple[list[str], NDArray[np.int32], NDArray[np.float32]]:
    """Return all stored paths, sorted, with class numbers and vectors in the same order."""
    paths: list[str] = []
    labels: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    with Progress("loading", points) as bar:
        for batch in store.scan(vectors=True):
            paths += [point.payload.path for point in batch]
            labels += [point.payload.label for point in batch]
            vectors = [point.vector for point in batch if point.vector is not None]
            blocks.append(np.stack(vectors).astype(np.float32))
            bar.update(len(batch))
    order = sorted(range(len(paths)), key=paths.__getitem__)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    vectors_sorted = np.concatenate(blocks).reshape(-1, VECTOR_SIZE)[order]
    return (
        [paths[row] for row in order],
        np.array([numbers[labels[row]] for row in order], dtype=np.int32),
        vectors_sorted,
    )


def _write_embeddings(path: Path, paths: list[str], vectors: NDArray[np.float32]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        opening = b"{\n"
        for key, vector in zip(paths, vectors, strict=True):
            floats = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
            file.write(opening + orjson.dumps(key) + b": " + floats)
            opening = b",\n"
        file.write(b"\n}\n")


def _write_index(
    path: Path,
    paths: list[str],
    labels: NDArray[np.int32],
    vectors: NDArray[np.float32],
    k: int,
) -> int:
    """Write the graph; return how many neighbours have their image's class."""
    keys = [orjson.dumps(one) for one in paths]
    same = 0
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        Progress("neighbours", len(paths)) as bar,
    ):
        opening = b"{\n"
        for block in neighbour_graph(vectors, k):
            own = labels[block.start : block.start + len(block.rows), None]
            same += int((labels[block.rows] == own).sum())
            scores = block.scores.tolist()
            for offset, rows in enumerate(block.rows.tolist()):
                pairs = [
                    [paths[row], score] for row, score in zip(rows, scores[offset], strict=True)
                ]
                file.write(opening + keys[block.start + offset] + b": " + orjson.dumps(pairs))
                opening = b",\n"
            bar.update(len(block.rows))
        file.write(b"\n}\n")
    return same
