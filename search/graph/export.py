"""Export a collection: two JSON files, the embeddings and the neighbour graph; a table; or a map.

All files are streamed; one copy of the vectors is held in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import orjson

from geosim.ingest.conditions import Condition
from geosim.ingest.store.base import VectorStore
from geosim.search.fact_columns import read_facts
from geosim.search.graph.collection import Collection, read_filled
from geosim.search.graph.export_table import (
    Counts,
    Write,
    require_places,
    write_csv,
    write_geojson,
    write_table,
)
from geosim.search.graph.neighbours import GraphBlock, neighbour_graph
from geosim.search.graph.parquet import parquet_writer
from geosim.search.graph.votes import number_classes
from geosim.trainer.disk import explain
from geosim.trainer.errors import QueryError
from geosim.trainer.files import READ_ONLY, replacing
from geosim.trainer.progress import progress_bar


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported.

    ``same_class`` includes training images, so it does not measure quality on new images.
    """

    images: int  # keys in both files, or rows of the table; for a map, images of the collection
    k: int  # neighbours per image
    same_class: float | None  # share of neighbours of their image's class, where both have one
    without_class: int  # images
    without_place: int  # images that are left out of a map
    index: Path
    embeddings: Path | None  # None where its folder is read-only, and beside a table
    seconds: float  # wall time


def export(
    store: VectorStore,
    index: Path,
    embeddings: Path,
    k: int = 10,
    where: Condition | None = None,
) -> ExportReport:
    """Write ``embeddings`` and ``index``, each atomically.

    ``index`` holds ``{path: [[path, score], ...]}``, one image per line, sorted by path. Each list
    has the ``k`` best other images, highest score first, equal scores by path. A tile stands for
    an image, and is named by path and box: ``rocks/core.tif#xywh=0,512,512,512``. ``embeddings``
    holds ``{path: [32 floats]}``, L2 norm 1, each float32 in its shortest decimal form. Read as
    float32, they reproduce the index exactly. They are left out where their folder is read-only.
    With ``where``, both files have only the images for which it holds.

    Raises:
        QueryError: ``k`` is not positive, both files are the same, or the folder of ``index`` is
            read-only.
        StoreError: the collection is missing or empty.
    """
    started = time.perf_counter()
    _check(k)
    if index.absolute() == embeddings.absolute():
        raise QueryError(f"{index} is where the embeddings go; name another file for the graph")
    collection = read_filled(store, "export", where, tiles=True)
    with ThreadPoolExecutor(1) as beside:  # on one core while the cells of the graph are made
        written = beside.submit(_write_embeddings, embeddings, collection)
        report = _report(_write_index, collection, index, k, started)
    kept = embeddings if written.result() else None
    return replace(report, embeddings=kept, seconds=time.perf_counter() - started)


def export_table(
    store: VectorStore,
    table: Path,
    k: int = 10,
    where: Condition | None = None,
    *,
    form: str = "csv",
) -> ExportReport:
    """Write ``table``, all images with their facts and ``k`` neighbours each, atomically.

    ``form`` is ``csv``, ``parquet``, or ``geojson`` of the images that have coordinates. With
    ``where``, it has only the images for which it holds.

    Raises:
        QueryError: ``k`` is not positive, the folder is read-only, no image has coordinates, or
            pyarrow is not installed.
        StoreError: the collection is missing or empty.
    """
    started = time.perf_counter()
    _check(k)
    collection = read_filled(store, "export", where, tiles=True)
    writer: Write = write_csv
    if form == "geojson":
        require_places(collection)
        writer = write_geojson
    elif form == "parquet":
        writer = parquet_writer(collection.facts, store.fact_indexes())
    write = partial(write_table, facts=partial(read_facts, store), write=writer)
    return _report(write, collection, table, k, started)


def _check(k: int) -> None:
    if k < 1:
        raise QueryError(f"k must be at least 1, received {k}")


def _report(
    write: Callable[[Path, Collection, int], Counts],
    collection: Collection,
    path: Path,
    k: int,
    started: float,
) -> ExportReport:
    """Write a file with ``write``, and report it."""
    count = len(collection.paths)
    k = min(k, count - 1)
    try:
        counts = write(path, collection, k)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        raise QueryError(
            f"cannot write {path} ({explain(error, path)}); name a file elsewhere with --output"
        ) from error
    return ExportReport(
        images=count,
        k=k,
        same_class=counts.same / counts.compared if counts.compared else None,
        without_class=collection.labels.count(""),
        without_place=counts.without_place,
        index=path,
        embeddings=None,
        seconds=time.perf_counter() - started,
    )


def _write_embeddings(path: Path, collection: Collection) -> bool:
    """Write the embeddings; return False where the folder is read-only."""
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            opening = b"{\n"
            for key, vector in zip(collection.paths, collection.vectors, strict=True):
                floats = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
                file.write(opening + orjson.dumps(key) + b": " + floats)
                opening = b",\n"
            file.write(b"\n}\n")
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        return False
    return True


def _write_index(path: Path, collection: Collection, k: int) -> Counts:
    paths, vectors = collection.paths, collection.vectors
    _, labels = number_classes(collection.labels)
    counts = Counts()
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        progress_bar("neighbours", len(paths)) as bar,
    ):
        opening = b"{\n"
        for block in neighbour_graph(vectors, k, progress=bar.update):
            counts.add(labels, block.start, block.rows)
            for line in _lines(block, paths):
                file.write(opening + line)
                opening = b",\n"
        file.write(b"\n}\n")
    return counts


def _lines(block: GraphBlock, paths: list[str]) -> Iterator[bytes]:
    """Yield ``"path": [["path", score], ...]`` for each image of a block."""
    path_of, rows, scores = paths.__getitem__, block.rows.tolist(), block.scores.tolist()
    for row, (near, cosines) in enumerate(zip(rows, scores, strict=True), block.start):
        pairs = list(zip(map(path_of, near), cosines, strict=True))
        yield orjson.dumps(paths[row]) + b": " + orjson.dumps(pairs)
