"""Writes the whole collection as two JSON files: every vector, and every image's neighbours.

Holds one copy of the vectors and the paths, and the neighbours' row numbers; nothing of the files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from geosim.ingest.store.base import VectorStore
from geosim.search.graph.approximate import Recall, approximate_graph
from geosim.search.graph.collection import Collection, read_collection
from geosim.search.graph.neighbours import GraphBlock, neighbour_graph
from geosim.trainer.errors import QueryError, StoreError
from geosim.trainer.files import replacing
from geosim.trainer.progress import progress_bar


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
        approximate: miss a few neighbours (`search/graph/approximate.py`), and measure how many.

    Raises:
        QueryError: ``k`` is not positive, or both files are one.
        StoreError: there is nothing to export.
    """
    started = time.perf_counter()
    if k < 1:
        raise QueryError(f"k must be at least 1, received {k}")
    if index.absolute() == embeddings.absolute():
        raise QueryError(f"{index} is where the embeddings go; name another file for the graph")
    collection = read_collection(store) if store.info() is not None else None
    if collection is None or not collection.paths:
        raise StoreError(
            f"collection {store.name!r} at {store.location} holds nothing to export; fill it with "
            "`geosim ingest DATA`"
        )
    count = len(collection.paths)
    k = min(k, count - 1)
    _write_embeddings(embeddings, collection)
    same, recall = _write_index(index, collection, k, approximate=approximate)
    return ExportReport(
        images=count,
        k=k,
        same_class=same / (count * k) if k else 0.0,
        recall=recall,
        index=index,
        embeddings=embeddings,
        seconds=time.perf_counter() - started,
    )


def _write_embeddings(path: Path, collection: Collection) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        opening = b"{\n"
        for key, vector in zip(collection.paths, collection.vectors, strict=True):
            floats = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
            file.write(opening + orjson.dumps(key) + b": " + floats)
            opening = b",\n"
        file.write(b"\n}\n")


def _write_index(
    path: Path, collection: Collection, k: int, *, approximate: bool
) -> tuple[int, float | None]:
    """Write the graph; return how many neighbours have their image's class, and the recall."""
    paths, vectors = collection.paths, collection.vectors
    numbers = {label: number for number, label in enumerate(sorted(set(collection.labels)))}
    labels = np.array([numbers[label] for label in collection.labels], dtype=np.int32)
    recall = Recall(vectors, k) if approximate else None
    search = approximate_graph if approximate else neighbour_graph
    same = 0
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        progress_bar("neighbours", len(paths)) as bar,
    ):
        opening = b"{\n"
        for block in search(vectors, k, progress=bar.update):
            own = labels[block.start : block.start + len(block.rows), None]
            same += int((labels[block.rows] == own).sum())
            if recall is not None:
                recall.add(block)
            for line in _lines(block, paths):
                file.write(opening + line)
                opening = b",\n"
        file.write(b"\n}\n")
    return same, None if recall is None else recall.value


def _lines(block: GraphBlock, paths: list[str]) -> Iterator[bytes]:
    """Yield ``"path": [["path", score], ...]`` for each image of a block."""
    path_of, rows, scores = paths.__getitem__, block.rows.tolist(), block.scores.tolist()
    for row, (near, cosines) in enumerate(zip(rows, scores, strict=True), block.start):
        pairs = list(zip(map(path_of, near), cosines, strict=True))
        yield orjson.dumps(paths[row]) + b": " + orjson.dumps(pairs)
