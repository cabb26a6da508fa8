"""The neighbour graph of millions of vectors, nearly exact: near candidates only, ranked exactly.

Owns the choice of candidates by an inverted file (faiss' IVF: vectors in lists around k-means
centres, of which each query goes through the nearest few) and the measure of what it misses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.search.graph.neighbours import (
    MARGIN,
    GraphBlock,
    exact_keys,
    faiss_threads,
    in_blocks,
    neighbour_graph,
)
from geosim.search.graph.ranking import NO_ROW, Gallery, scores_of

EXACT_UP_TO = 10_000
"""Vectors that are searched exactly: that takes a fraction of a second. The exact search keeps up
with this one until some 100,000; of 300,000 and 1,000,000 it took 1.3 and 1.5 times as long."""

TARGET = 0.99
"""Recall to reach, on a sample, by going through more lists."""

SAMPLE = 1000
"""Vectors that recall is measured on: at 0.99 of 10 neighbours each, to about 0.001."""

LISTS_PER_ROOT = 2
"""Lists per square root of the number of vectors. At 100,000 and 300,000 vectors spread like the
embeddings of rock tiles, 8 such lists held 0.99 of the neighbours; looking took 21 and 37 µs a
vector, and 0.9 to 1.8 times as long with half or twice as many lists in all."""

PER_LIST = 64
"""Vectors per list that k-means sees; faiss warns below 39 and takes 256 by default."""

WORTHWHILE = 8
"""To look at one vector in so many, or more, takes as long as to compare with them all: that
multiplies matrices, and needs a sixth of the time per vector."""


def approximate_graph(
    vectors: NDArray[np.float32], k: int, *, progress: Callable[[int], object] = lambda _: None
) -> Iterator[GraphBlock]:
    """Yield the graph block by block: scores and order exact, a few neighbours missed.

    Candidates are ranked as in `neighbour_graph`. For a vector that too few are found for, the
    search is exact; so it is for all, where they are few or where the lists save no time.

    Args:
        vectors: ``(n, d) float32``, L2 norm 1.
        k: neighbours per vector; fewer, n - 1, where there are no more.
        progress: called with the number of vectors whose neighbours were found.
    """
    count, k = len(vectors), min(k, len(vectors) - 1)
    gallery = Gallery.of(vectors)
    index = None
    if count > EXACT_UP_TO:
        with faiss_threads(1) as alone:  # so that lists do not depend on the number of cores
            index = alone.submit(_index, gallery, k).result()
    if index is None:
        return neighbour_graph(vectors, k, progress=progress)
    return in_blocks(lambda own: _keys(index, gallery, k, own), count, progress)


class Recall:
    """Recall at k of a graph, measured on a sample: the share of exact neighbours that it has.

    A neighbour counts if its score reaches the exact k-th: among ties none is the right one.

    Attributes:
        rows: ``(m,) int64``, the sample: ``default_rng(seed).choice(n, m, replace=False)``,
            sorted, m = min(n, `SAMPLE`).
        lowest: ``(m, 1) float64``, the sample's exact k-th scores.
    """

    def __init__(self, vectors: NDArray[np.float32], k: int, *, seed: int = 0) -> None:
        """Find the exact neighbours of the sample.

        Args:
            vectors: ``(n, d) float32``, L2 norm 1, of the graph.
            k: neighbours per vector, at most n - 1.
            seed: of the sample.
        """
        count = len(vectors)
        drawn = np.random.default_rng(seed).choice(count, min(count, SAMPLE), replace=False)
        self.rows = np.sort(drawn)
        gallery, own = Gallery.of(vectors), self.rows
        blocks = in_blocks(
            lambda part: exact_keys(gallery, vectors[own[part]], k, own[part]), len(own)
        )
        self.lowest = np.concatenate([block.scores[:, -1:] for block in blocks])
        self._found = self._looked_for = 0

    def add(self, block: GraphBlock) -> None:
        """Measure those rows of the sample that are in a block of the graph."""
        here = (self.rows >= block.start) & (self.rows < block.start + len(block.rows))
        reached = block.scores[self.rows[here] - block.start] >= self.lowest[here]
        self._found += int(reached.sum())
        self._looked_for += reached.size

    @property
    def value(self) -> float:
        """The recall, 0 to 1; 1 where there was nothing to find."""
        return self._found / self._looked_for if self._looked_for else 1.0


def _index(gallery: Gallery, k: int) -> Any:
    """Return an index that reaches `TARGET`, or None where the exact search takes no longer."""
    import faiss

    count, size = gallery.vectors.shape
    lists = LISTS_PER_ROOT * math.isqrt(count)
    index: Any = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(size), size, lists, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.max_points_per_centroid = PER_LIST
    index.train(gallery.vectors)
    index.add(gallery.vectors)
    sample = Recall(gallery.vectors, k, seed=1)  # not the one that is reported
    sizes = np.array([index.invlists.list_size(one) for one in range(lists)])
    while True:
        _, near = index.quantizer.search(gallery.vectors[sample.rows], index.nprobe)
        if sizes[near].sum(axis=1).mean() * WORTHWHILE > count:
            return None
        scores = scores_of(_keys(index, gallery, k, sample.rows))
        if (scores >= sample.lowest).mean() >= TARGET:
            return index
        index.nprobe *= 2


def _keys(index: Any, gallery: Gallery, k: int, own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the keys of the ``k`` best found for each of the rows ``own``, best first."""
    queries = gallery.vectors[own]
    _, candidates = index.search(queries, min(k + 1 + MARGIN, len(gallery.vectors)))
    keys = gallery.ranked(queries, candidates, own)[:, :k]
    short = np.flatnonzero(keys[:, -1] == NO_ROW)
    if len(short):
        keys[short] = exact_keys(gallery, queries[short], k, own[short])
    return keys
