"""Puts vectors in a plane, similar ones nearby: t-SNE of a sample, and all others among it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.progress import progress_bar

TSNE, PCA = "t-SNE 2", "main axes 2"
"""Methods with their versions. A stored map of another method or version is not used."""

PERPLEXITY = 30
"""Perplexity of t-SNE. Van der Maaten and Hinton (JMLR 9, 2008) advise 5 to 50."""

EXAGGERATED_ITERATIONS, NORMAL_ITERATIONS = 250, 250
"""Iterations of t-SNE with early exaggeration, and without."""

EXAGGERATION = 12
"""Factor of early exaggeration: openTSNE's default."""

CALLBACK_ITERATIONS = 25
"""Iterations between two reports."""

PCA_UP_TO = 10
"""Images up to which the map shows the two principal components."""

NEIGHBOURS = 3
"""Neighbours in the sample that another image is placed among. Of 4,000 synthetic vectors placed
among 20,000, those around each on the map are its 15 nearest in 23 % with 3 neighbours, 20 % with
10, and 15 % with means in place of medians, which lie in the gaps."""

EQUAL = 1e-6
"""Difference of a cosine from 1 that is rounding."""

SEED = 0
"""Seed of t-SNE."""

Report = Callable[[str, int, int], object]
"""Is told what is done, how much of it, and of how much."""


@contextmanager
def reported(
    report: Report, what: str, total: int, unit: str = "image"
) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told each advance, and tells it to a progress bar and ``report``."""
    done = 0
    report(what, done, total)
    with progress_bar(what, total, unit=unit) as bar:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(count)
            report(what, done, total)

        yield advance


def draw(
    vectors: NDArray[np.float32], method: str = TSNE, report: Report = lambda *_: None
) -> NDArray[np.float32]:
    """Return a position for each vector, close to those of its neighbours.

    Maps ``(n, d) float32``, L2 norm 1, any n, to ``(n, 2) float32``, 0 to 1; all 0.5 where all
    vectors are equal. t-SNE is initialised with the two principal components, which preserves
    global structure (Kobak and Berens, Nature Communications 10, 2019).
    """
    if len(vectors) == 0:
        return np.empty((0, 2), dtype=np.float32)
    few = len(vectors) <= PCA_UP_TO or method == PCA
    return _normalized(_principal_components(vectors) if few else _tsne(vectors, report))


def place(
    vectors: NDArray[np.float32], sample: NDArray[np.float32], positions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a position for each vector, ``(n, 2)``, among those of a sample.

    It is that of an equal vector, or else the median of those of its nearest in the sample, per
    coordinate. ``vectors`` and ``sample`` are ``(., d) float32``, L2 norm 1, neither empty.
    """
    import faiss

    from geosim.search.graph.knn import faiss_threads, knn

    threads = faiss.omp_get_max_threads()
    search = partial(knn, gallery=sample, k=min(NEIGHBOURS, len(sample)))
    with faiss_threads(threads) as pool:
        found = list(pool.map(search, np.array_split(vectors, min(threads, len(vectors)))))
    cosines, rows = (np.concatenate(column) for column in zip(*found, strict=True))
    equal = cosines[:, :1] > 1 - EQUAL
    placed: NDArray[np.float32] = np.where(
        equal, positions[rows[:, 0]], np.median(positions[rows], axis=1)
    ).astype(np.float32)
    return placed


def _principal_components(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the first two principal components, ``(n, 2)``, with deterministic signs."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    flat: NDArray[np.float64] = centred @ (axes * np.sign(largest))
    return flat


def _tsne(vectors: NDArray[np.float32], report: Report) -> NDArray[np.float64]:
    """Return t-SNE's positions, ``(n, 2)``, of more than `PCA_UP_TO` vectors."""
    start = _principal_components(vectors)
    spread = start.std()
    if spread < 1e-6:  # all equal up to rounding
        return np.zeros_like(start)

    from openTSNE import TSNEEmbedding, affinity
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    from geosim.search.graph.neighbours import neighbour_graph

    perplexity = min(PERPLEXITY, (len(vectors) - 1) // 3)
    with reported(report, "comparing", len(vectors)) as advance:
        blocks = list(neighbour_graph(vectors, 3 * perplexity, progress=advance))
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
    with reported(report, "drawing the map", iterations, "step") as advance:

        def update(*_: object) -> None:  # openTSNE stops where a callback returns True
            advance(CALLBACK_ITERATIONS)

        calls = {"callbacks": update, "callbacks_every_iters": CALLBACK_ITERATIONS}
        optimize = partial(embedding.optimize, inplace=True, **calls)
        optimize(EXAGGERATED_ITERATIONS, exaggeration=EXAGGERATION, momentum=0.5)
        optimize(NORMAL_ITERATIONS, momentum=0.8)
    return np.asarray(embedding, dtype=np.float64)


def _normalized(flat: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return positions centred and scaled to 0 to 1, by one factor for both coordinates."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    width = float((high - low).max())
    scaled = (flat - (low + high) / 2) / width + 0.5 if width > 0 else np.full_like(flat, 0.5)
    return np.clip(scaled, 0, 1).astype(np.float32)
