"""Lay out the collection as a map: one point in two dimensions per image, similar ones nearby.

Owns the layout, t-SNE on the exact neighbour graph, and its copy in the working folder.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.search.consistent import consistently
from geosim.search.graph.collection import Collection, read_collection
from geosim.trainer.files import read_arrays, replacing
from geosim.trainer.progress import progress_bar
from geosim.trainer.working import Working

TSNE, PCA = "t-SNE 1", "main axes 1"
"""Layout methods with their versions. A stored map of another method or version is not used."""

PERPLEXITY = 30
"""Perplexity of t-SNE. Van der Maaten and Hinton (JMLR 9, 2008) advise 5 to 50."""

EXAGGERATED_ITERATIONS, NORMAL_ITERATIONS = 250, 250
"""Iterations of t-SNE with early exaggeration, and without."""

EXAGGERATION = 12
"""Factor of early exaggeration: openTSNE's default."""

CALLBACK_ITERATIONS = 25
"""Iterations between two updates of the progress bar."""

PCA_UP_TO = 10
"""Images up to which the map shows the two principal components."""

TSNE_UP_TO = 50_000
"""Images up to which t-SNE places all. Of more it places a random sample; the others are
interpolated between their nearest neighbours in the sample."""

INTERPOLATION_NEIGHBOURS = 10
"""Neighbours in the sample that an image is interpolated from."""

INTERPOLATION_BATCH = 1 << 16
"""Images interpolated at once, at a few hundred bytes each."""

SEED = 0
"""Seed of the sample and of t-SNE."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """All images of a collection in two dimensions, sorted by path."""

    ids: list[str]
    paths: list[str]
    labels: list[str]
    positions: NDArray[np.float32]  # (n, 2), 0 to 1, at the same scale in both directions


def layout(store: VectorStore, working: Working) -> Layout:
    """Return the map of a collection, computed again if the collection or its model has changed.

    Equal collections give equal maps on one machine. Half a minute for 30,000 images; the copy
    stored in ``working`` is read in a second. Without openTSNE, which has no wheel for Linux on
    ARM, the map shows the two principal components and a warning is issued.

    Raises:
        StoreError: there is no such collection.
    """
    method = TSNE if find_spec("openTSNE") else PCA
    path = working.derived / f"{store.name}-map.npz"

    def read(model: ModelRef) -> tuple[ModelRef, Collection, NDArray[np.float32] | None]:
        found = read_collection(store, vectors=False)
        stored = _read(path, _key(found, model.fingerprint, method))
        return model, found if stored is not None else read_collection(store), stored

    model, collection, positions = consistently(store, read)
    if positions is None:
        if method == PCA:
            warnings.warn(
                "openTSNE is not installed, so the map shows the two main axes only; install it "
                "with `pip install opentsne`",
                stacklevel=2,
            )
        positions = draw(collection.vectors, method)
        key = _key(collection, model.fingerprint, method)
        with suppress(OSError), replacing(path) as temporary:  # computed again next time
            np.savez(temporary, positions=positions, key=np.array(key))
    return Layout(collection.ids, collection.paths, collection.labels, positions)


def draw(vectors: NDArray[np.float32], method: str = TSNE) -> NDArray[np.float32]:
    """Return a position for each vector, close to those of its neighbours.

    Maps ``(n, d) float32``, L2 norm 1, any n, to ``(n, 2) float32``, 0 to 1; all 0.5 where all
    vectors are equal. t-SNE is initialised with the two principal components, which preserves
    global structure (Kobak and Berens, Nature Communications 10, 2019).
    """
    count = len(vectors)
    if count == 0:
        return np.empty((0, 2), dtype=np.float32)
    if count <= PCA_UP_TO or method == PCA:
        return _normalized(_principal_components(vectors))
    if count <= TSNE_UP_TO:
        return _normalized(_tsne(vectors))
    sample = np.sort(np.random.default_rng(SEED).choice(count, TSNE_UP_TO, replace=False))
    return _normalized(_interpolated(vectors, sample, _tsne(vectors[sample])))


def _principal_components(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the first two principal components, ``(n, 2)``, with deterministic signs."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    flat: NDArray[np.float64] = centred @ (axes * np.sign(largest))
    return flat


def _tsne(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return t-SNE's positions, ``(n, 2)``, of more than `PCA_UP_TO` vectors."""
    start = _principal_components(vectors)
    spread = start.std()
    if spread < 1e-6:  # all equal up to rounding
        return np.zeros_like(start)

    from openTSNE import TSNEEmbedding, affinity
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    from geosim.search.graph.neighbours import neighbour_graph

    perplexity = min(PERPLEXITY, (len(vectors) - 1) // 3)
    blocks = list(neighbour_graph(vectors, 3 * perplexity))
    rows = np.concatenate([block.rows for block in blocks])
    cosines = np.concatenate([block.scores for block in blocks])
    near = PrecomputedNeighbors(rows, np.sqrt(2 - 2 * cosines))  # distances on the unit sphere
    embedding = TSNEEmbedding(
        start / spread * 1e-4,  # as Kobak and Berens advise
        affinity.PerplexityBasedNN(knn_index=near, perplexity=perplexity, n_jobs=1),
        n_jobs=1,
        random_state=SEED,
    )
    iterations = EXAGGERATED_ITERATIONS + NORMAL_ITERATIONS
    with progress_bar("drawing the map", iterations, unit="step") as bar:

        def update(*_: object) -> None:  # openTSNE stops where a callback returns True, as tqdm may
            bar.update(CALLBACK_ITERATIONS)

        calls = {"callbacks": update, "callbacks_every_iters": CALLBACK_ITERATIONS}
        optimize = partial(embedding.optimize, inplace=True, **calls)
        optimize(EXAGGERATED_ITERATIONS, exaggeration=EXAGGERATION, momentum=0.5)
        optimize(NORMAL_ITERATIONS, momentum=0.8)
    return np.asarray(embedding, dtype=np.float64)


def _interpolated(
    vectors: NDArray[np.float32], sample: NDArray[np.intp], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return positions of all vectors, given those of a sample's row numbers.

    The others get the median of their nearest neighbours in the sample, per coordinate.
    """
    from geosim.search.graph.neighbours import nearest

    placed, gallery = np.empty((len(vectors), 2)), vectors[sample]
    placed[sample] = positions
    rest = np.setdiff1d(np.arange(len(vectors)), sample)
    with progress_bar("placing", len(rest)) as bar:
        for start in range(0, len(rest), INTERPOLATION_BATCH):
            rows = rest[start : start + INTERPOLATION_BATCH]
            found, _ = nearest(gallery, vectors[rows], INTERPOLATION_NEIGHBOURS)
            placed[rows] = np.median(positions[found], axis=1)
            bar.update(len(rows))
    return placed


def _normalized(flat: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return positions centred and scaled to 0 to 1, by one factor for both coordinates."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    width = float((high - low).max())
    scaled = (flat - (low + high) / 2) / width + 0.5 if width > 0 else np.full_like(flat, 0.5)
    return np.clip(scaled, 0, 1).astype(np.float32)


def _key(collection: Collection, fingerprint: str, method: str) -> str:
    """Return a digest of what a map depends on: the images, the model and the method."""
    digest = hashlib.sha256(f"{method}\0{fingerprint}\n".encode())
    for path, sha256 in zip(collection.paths, collection.hashes, strict=True):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


def _read(path: Path, key: str) -> NDArray[np.float32] | None:
    """Return the positions stored under ``key``; None if absent, stale or damaged."""
    stored = read_arrays(path, "key", "positions")
    return stored[1] if stored is not None and str(stored[0]) == key else None
