"""The neighbour graph: the whole export against searches that only find neighbours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from geosim.ingest.store.factory import open_store
from geosim.search.graph.collection import read_collection
from geosim.search.graph.export import export as write
from tests.benches import common, inputs

ABOUT = (
    "The ten nearest others of every vector, exactly. geosim's figure is the whole export: reading "
    "the collection, finding and ranking, and writing both files. The others only find neighbours, "
    "in memory."
)
K = 10
BLOCK = 1024
"""Queries at once in numpy."""

PAIRWISE_IMAGES = 60
"""Images of the loop over pairs, extrapolated to all, which would take days."""


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Time every contender on the vectors of the collection."""
    working = inputs.copied(inputs.working_folder(settings), scratch / "working", "qdrant")
    vectors = scratch / "vectors.npy"
    count = common.in_process(save_vectors, working, vectors)
    images = min(PAIRWISE_IMAGES, count)
    factor = count * (count - 1) / (images * (images - 1))
    with (
        common.worker(partial, common.timed, export, working) as own,
        common.worker(faiss_flat, vectors) as faiss,
        common.worker(numpy_blocks, vectors) as blocks,
        common.worker(sklearn_brute, vectors) as brute,
        common.worker(pair_by_pair, vectors, images) as pairs,
    ):
        contenders = {
            common.OURS: own,
            "faiss IndexFlatIP, search alone": faiss,
            "numpy, blocks and argpartition": blocks,
            "scikit-learn NearestNeighbors, brute": brute,
            f"scikit-learn, pair by pair, from {images} images": lambda: pairs() * factor,
        }
        seconds = common.interleaved("graph", contenders, settings.runs)
    return common.compared(f"{count:,} vectors of the collection, top {K}", seconds)


def save_vectors(working: Path, file: Path) -> int:
    """Write the vectors of a collection as .npy; return their number."""
    with open_store(None, "geosim", working=working) as store:
        vectors = read_collection(store).vectors
    np.save(file, vectors)
    return len(vectors)


def export(working: Path) -> None:
    """Export a collection on disk to two files on disk."""
    with open_store(None, "geosim", working=working) as store:
        write(store, working / "inverted-index.json", working / "embeddings.json", K)


def faiss_flat(file: Path) -> Callable[[], float]:
    """Build the exact index of faiss."""
    import faiss

    vectors = np.load(file)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return partial(common.timed, index.search, vectors, K + 1)


def numpy_blocks(file: Path) -> Callable[[], float]:
    """Build a search with numpy alone."""
    vectors = np.load(file)

    def search() -> None:
        for start in range(0, len(vectors), BLOCK):
            scores = vectors[start : start + BLOCK] @ vectors.T
            own = np.arange(len(scores))
            scores[own, own + start] = -2.0
            best = np.argpartition(scores, -K, axis=1)[:, -K:]
            np.sort(-np.take_along_axis(scores, best, 1), axis=1)

    return partial(common.timed, search)


def sklearn_brute(file: Path) -> Callable[[], float]:
    """Build scikit-learn's exact search."""
    from sklearn.neighbors import NearestNeighbors

    vectors = np.load(file)
    model = NearestNeighbors(n_neighbors=K + 1, metric="cosine", algorithm="brute").fit(vectors)
    return partial(common.timed, model.kneighbors, vectors)


def pair_by_pair(file: Path, images: int) -> Callable[[], float]:
    """Build a loop with a call of scikit-learn for every pair."""
    from sklearn.metrics.pairwise import cosine_similarity

    rows = np.load(file)[:images, None, :]

    def search() -> None:
        for number, own in enumerate(rows):
            others = np.delete(rows, number, axis=0)
            sorted((cosine_similarity(own, other)[0][0] for other in others), reverse=True)[:K]

    return partial(common.timed, search)
