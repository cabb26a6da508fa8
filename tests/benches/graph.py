"""The neighbour graph: this project's whole export against searches that only find neighbours."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benches import synthetic
from tests.benches.children import BenchError, Worker, in_child
from tests.benches.prepared import copied, existing
from tests.benches.results import (
    FULL_SIZE,
    OURS,
    Row,
    Settings,
    Target,
    compared,
    ratio,
    skipped,
)
from tests.benches.timing import interleaved, missing

ABOUT = (
    "The ten nearest others of every vector, exactly. geosim's figure is the whole export: reading "
    "the collection, finding and ranking, and writing `inverted-index.json` and "
    "`embeddings.json`. The others only find neighbours, in memory, and are compared with it."
)
K = 10
BLOCK = 1024
"""Queries at once in numpy: scores of all vectors would not fit into memory."""

CHECKED = 64
"""Vectors whose scores every contender must agree on."""

TOLERANCE = 1e-4
"""Largest difference of two cosines that float32 and the order of its sums explain."""

OWNERS_IMAGES = 60
"""Images of the pair by pair loop; all of them would take days."""

FAISS = "faiss IndexFlatIP, search alone"
BRUTE = "scikit-learn NearestNeighbors, brute"
PAIRS = "scikit-learn, pair by pair"

Outcome = tuple[float, NDArray[np.float64]]
"""Seconds, and the scores of the first vectors' neighbours, best first."""


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time every contender on the same vectors."""
    working = existing(settings)
    source = "vectors of the collection"
    if working is None:
        source, working = "synthetic vectors", scratch
        in_child(store_synthetic, scratch, settings.images or FULL_SIZE)
    else:
        working = copied(working, scratch / "working")
    vectors = scratch / "vectors.npy"
    count = in_child(save_vectors, working, vectors)
    group = f"{count:,} {source}, top {K}"
    with ExitStack() as stack:
        builders: dict[str, tuple[Any, ...]] = {
            OURS: (ours, working, scratch),
            FAISS: (faiss_flat, vectors),
            "numpy, blocks and argpartition": (numpy_blocks, vectors),
        }
        if not (lacking := missing("sklearn")):
            builders[BRUTE] = (sklearn_brute, vectors)
        workers = {name: stack.enter_context(Worker(*args)) for name, args in builders.items()}
        expected = workers[OURS]()[1]
        contenders = {name: partial(checked, name, one, expected) for name, one in workers.items()}
        seconds = interleaved("graph", contenders, settings.runs)
        rows = compared(group, seconds)
        if not lacking:
            ours_seconds = rows[OURS].median
            rows[PAIRS] = owners_loop(stack, group, vectors, count, settings.runs, ours_seconds)
    value = ratio(seconds[OURS], seconds[FAISS])
    target = Target(value, 1.3, "x") if count >= FULL_SIZE else None
    rows[OURS] = replace(rows[OURS], target=target)
    if lacking:
        rows |= {name: skipped(group, name, "s", ["scikit-learn"]) for name in (BRUTE, PAIRS)}
    return list(rows.values())


def checked(name: str, worker: Worker[Outcome], expected: NDArray[np.float64]) -> float:
    """Run a contender; return its seconds if its answer is right.

    Raises:
        BenchError: its scores are not the expected ones.
    """
    seconds, scores = worker()
    if scores.shape != expected.shape or np.abs(scores - expected).max() > TOLERANCE:
        raise BenchError(f"{name} found other neighbours than {OURS}; nothing to compare")
    return seconds


def store_synthetic(folder: Path, count: int) -> None:
    """Make an embedded collection of synthetic vectors."""
    from geosim.ingest.schema import ModelRef
    from geosim.ingest.store.factory import open_store

    with open_store(None, "geosim", working=folder) as store:
        store.create(ModelRef(synthetic.FINGERPRINT, "tile-resnet"))
        for numbers, vectors in synthetic.blocks(count):
            store.upsert([synthetic.payload(number) for number in numbers], vectors)


def save_vectors(working: Path, file: Path) -> int:
    """Write a collection's vectors, ordered by path, as .npy; return how many there are."""
    from geosim.ingest.store.factory import open_store

    with open_store(None, "geosim", working=working) as store:
        points = [point for batch in store.scan(vectors=True) for point in batch]
    points.sort(key=lambda point: point.payload.path)
    np.save(file, np.stack([point.vector for point in points if point.vector is not None]))
    return len(points)


def ours(working: Path, output: Path) -> Callable[[], Outcome]:
    """Build this project's contender: a collection on disk to two files on disk."""
    import orjson

    from geosim.ingest.store.factory import open_store
    from geosim.search.graph.export import export

    def run() -> Outcome:
        index = output / "inverted-index.json"
        started = time.perf_counter()
        with open_store(None, "geosim", working=working) as store:
            export(store, index, output / "embeddings.json", K)
        seconds = time.perf_counter() - started
        first = itertools.islice(orjson.loads(index.read_bytes()).values(), CHECKED)
        return seconds, np.array([[score for _, score in found] for found in first])

    return run


def faiss_flat(file: Path) -> Callable[[], Outcome]:
    """Build the exact index of faiss; the image itself is one of its answers."""
    import faiss

    vectors = np.load(file)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return partial(_timed, lambda: index.search(vectors, K + 1)[0][:, 1:])


def numpy_blocks(file: Path) -> Callable[[], Outcome]:
    """Build a search with nothing but numpy."""
    vectors = np.load(file)

    def search() -> NDArray[np.float32]:
        found = np.empty((len(vectors), K), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            scores = vectors[start : start + BLOCK] @ vectors.T
            own = np.arange(start, start + len(scores))
            scores[own - start, own] = -2.0
            best = np.argpartition(scores, -K, axis=1)[:, -K:]
            found[own] = -np.sort(-np.take_along_axis(scores, best, 1), axis=1)
        return found

    return partial(_timed, search)


def sklearn_brute(file: Path) -> Callable[[], Outcome]:
    """Build scikit-learn's exact search; the image itself is one of its answers."""
    from sklearn.neighbors import NearestNeighbors

    vectors = np.load(file)
    model = NearestNeighbors(n_neighbors=K + 1, metric="cosine", algorithm="brute").fit(vectors)
    return partial(_timed, lambda: 1 - model.kneighbors(vectors)[0][:, 1:])


def _timed(search: Callable[[], NDArray[Any]]) -> Outcome:
    started = time.perf_counter()
    scores = search()
    return time.perf_counter() - started, scores[:CHECKED].astype(np.float64)


def pair_by_pair(file: Path, images: int) -> Callable[[], float]:
    """Build the loop this project began with: a call of scikit-learn for every pair."""
    from sklearn.metrics.pairwise import cosine_similarity

    rows = np.load(file)[:images, None, :]

    def run() -> float:
        started = time.perf_counter()
        for number, own in enumerate(rows):
            scores = {
                other: cosine_similarity(own, rows[other])[0][0]
                for other in range(len(rows))
                if other != number
            }
            sorted(scores.items(), key=lambda item: item[1], reverse=True)[:K]
        return time.perf_counter() - started

    return run


def owners_loop(
    stack: ExitStack, group: str, vectors: Path, count: int, runs: int, ours_seconds: float
) -> Row:
    """Time the pair by pair loop on a few images; extrapolate to all, as n (n - 1) pairs."""
    images = min(OWNERS_IMAGES, count)
    worker: Worker[float] = stack.enter_context(Worker(pair_by_pair, vectors, images))
    seconds = interleaved("pair by pair", {PAIRS: worker}, runs)[PAIRS]
    factor = count * (count - 1) / (images * (images - 1))
    row = Row(group, PAIRS, "s", tuple(one * factor for one in seconds))
    note = f"extrapolated from {images} images: {row.median / 3600:,.1f} hours"
    return replace(row, cost=row.median / ours_seconds, note=note)
