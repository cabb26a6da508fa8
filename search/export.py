"""Writes the whole collection as two JSON files: every vector, and every image's neighbours.

Holds one copy of the vectors and the paths; the files are written as they are made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from ingest.schema import VECTOR_SIZE
from ingest.store import VectorStore
from search.approximate import Recall, approximate_graph
from search.neighbours import Neighbours, neighbour_graph
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
        recall: share of the exact neighbours in an approximate graph, 0 to 1, measured on a
            sample; None for an exact graph.
        index: the neighbour graph's file.
        embeddings: the vectors' file.
        seconds: wall time.
    """

    images: int
    k: int
    same_class: float
    recall: float | None
    index: Path
    embeddings: Path
    seconds: float


def export(
    store: VectorStore, index: Path, embeddings: Path, k: int = 10, *, approximate: bool = False
) -> ExportReport:
    """Write ``embeddings`` and ``index``; each appears whole or not at all.

    ``index`` holds ``{path: [[path, score], ...]}``, one image per line, sorted by path; each list
    sorted by score, highest first, equal scores by path, the image itself left out.
    ``embeddings`` holds ``{path: [32 floats]}``, L2 norm 1, each float32 in its shortest decimal
    form; read as float32, they give the index exactly.

    Args:
        store: what is exported.
        index: file of the neighbour graph.
        embeddings: file of the vectors.
        k: neighbours per image.
        approximate: miss a few neighbours (`search/approximate.py`), and measure how many.

    Raises:
        QueryError: ``k`` is not positive.
        StoreError: there is nothing to export.
    """
    started = time.perf_counter()
    if k < 1:
        raise QueryError(f"k must be at least 1, received {k}")
    info = store.info()
    if info is None:
        raise _empty(store)
    paths, labels, vectors = _all(store, info.points)
    k = min(k, len(paths) - 1)
    _write_embeddings(embeddings, paths, vectors)
    same, recall = _write_index(index, paths, labels, vectors, k, approximate=approximate)
    return ExportReport(
        images=len(paths),
        k=k,
        same_class=same / (len(paths) * k) if k else 0.0,
        recall=recall,
        index=index,
        embeddings=embeddings,
        seconds=time.perf_counter() - started,
    )


def _all(
    store: VectorStore, points: int
) -> tuple[list[str], NDArray[np.int32], NDArray[np.float32]]:
    """Return all stored paths, sorted, with class numbers and vectors in the same order.

    Args:
        store: what is read, batch by batch.
        points: how many points to expect; a server's collection may change meanwhile.

    Raises:
        StoreError: there are none.
    """
    paths: list[str] = []
    labels: list[int] = []
    numbers: dict[str, int] = {}
    vectors = np.empty((points, VECTOR_SIZE), dtype=np.float32)
    with Progress("loading", points) as bar:
        for batch in store.scan(vectors=True):
            done, stop = len(paths), len(paths) + len(batch)
            if stop > len(vectors):
                vectors = np.concatenate([vectors, np.empty((stop, VECTOR_SIZE), np.float32)])
            paths += [point.payload.path for point in batch]
            labels += [numbers.setdefault(p.payload.label, len(numbers)) for p in batch]
            vectors[done:stop] = np.stack([p.vector for p in batch if p.vector is not None])
            bar.update(len(batch))
    if not paths:
        raise _empty(store)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    return [paths[row] for row in order], np.array(labels, dtype=np.int32)[order], vectors[order]


def _empty(store: VectorStore) -> StoreError:
    return StoreError(
        f"collection {store.name!r} at {store.location} holds nothing to export; fill it with "
        "`geosim ingest DATA`"
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
    *,
    approximate: bool,
) -> tuple[int, float | None]:
    """Write the graph; return how many neighbours have their image's class, and the recall."""
    recall = Recall(vectors, k) if approximate else None
    graph = approximate_graph(vectors, k) if approximate else neighbour_graph(vectors, k)
    same = 0
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        Progress("neighbours", len(paths)) as bar,
    ):
        opening = b"{\n"
        for block in graph:
            own = labels[block.start : block.start + len(block.rows), None]
            same += int((labels[block.rows] == own).sum())
            if recall is not None:
                recall.add(block)
            for line in _lines(block, paths):
                file.write(opening + line)
                opening = b",\n"
            bar.update(len(block.rows))
        file.write(b"\n}\n")
    return same, None if recall is None else recall.value


def _lines(block: Neighbours, paths: list[str]) -> Iterator[bytes]:
    """Yield ``"path": [["path", score], ...]`` for each image of a block."""
    path_of, rows, scores = paths.__getitem__, block.rows.tolist(), block.scores.tolist()
    for row, (near, cosines) in enumerate(zip(rows, scores, strict=True), block.start):
        pairs = list(zip(map(path_of, near), cosines, strict=True))
        yield orjson.dumps(paths[row]) + b": " + orjson.dumps(pairs)
