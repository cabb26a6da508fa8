"""Exact nearest neighbours: the k most similar others of every vector, or those in a gallery.

`cells.py` skips rows that cannot be neighbours, `ranking.py` orders candidates.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosim.search.graph.cells import Cells
from geosim.search.graph.knn import faiss_threads, knn, single_products
from geosim.search.graph.ranking import Gallery, cut_in_tie, rows_of, scores_of, with_rows

BLOCK_SIZE = 4096
"""Queries per block; blocks of equal size may hold somewhat more."""

CELLS_FROM = 10_000
"""Vectors from which a search by cells is considered. All pairs of fewer take a fraction of a
second."""

MAX_PAIR_FRACTION = 1 / 3
"""Largest fraction of all pairs for which a search by cells is used. Its small batches take longer
per pair."""

EXTRA_CANDIDATES = 5
"""Candidates beyond k from the float32 search, to be ranked again in float64. Longer ties are
resolved separately."""


@dataclass(frozen=True, slots=True)
class GraphBlock:
    """The neighbours of the vectors ``start`` to ``start + m``."""

    start: int  # row number of the first vector
    rows: NDArray[np.int64]  # (m, k) row numbers, best first
    scores: NDArray[np.float64]  # (m, k) cosines rounded to SCORE_DIGITS


def neighbour_graph(
    vectors: NDArray[np.float32], k: int, *, progress: Callable[[int], object] = lambda _: None
) -> Iterator[GraphBlock]:
    """Yield the graph of ``(n, d) float32`` vectors, L2 norm 1, block by block.

    Exact: every pair is compared, or excluded by a bound. A vector is excluded from its own
    neighbours by row number, so an identical vector is a neighbour. Ties, equal at `SCORE_DIGITS`
    decimals, are ordered by row number; with rows sorted by path that is the order of paths. ``k``
    is at most n - 1. ``progress`` is called with the number of vectors just searched for.
    """
    gallery, k = Gallery.of(vectors), min(k, len(vectors) - 1)
    cells = _useful_cells(gallery, k) if len(vectors) >= CELLS_FROM else None
    if cells is not None:
        yield from _search_by_cells(gallery, cells, k, progress)
        return

    def search(own: NDArray[np.int64]) -> NDArray[np.int64]:
        return _exact_keys(gallery, vectors[own], k, own)

    yield from _search_in_blocks(search, len(vectors), progress)


def _useful_cells(gallery: Gallery, k: int) -> Cells | None:
    """Return cells if a search by them skips enough pairs, else None."""
    with faiss_threads(1) as thread:
        cells = thread.submit(Cells.of, gallery, k).result()
        fraction = thread.submit(cells.pair_fraction, gallery, k).result()
    return cells if fraction <= MAX_PAIR_FRACTION else None


def _search_by_cells(
    gallery: Gallery, cells: Cells, k: int, progress: Callable[[int], object]
) -> Iterator[GraphBlock]:
    """Yield the graph after a search cell by cell, which holds all keys in memory."""
    import faiss

    keys = np.empty((len(gallery.vectors), k), dtype=np.int64)

    def search(batch: tuple[int, NDArray[np.int64]]) -> int:
        cell, own = batch
        rows, floor = cells.candidates(gallery, cell, own, k)
        searched, queries = gallery.subset(rows), gallery.vectors[own]
        position = np.searchsorted(rows, own)
        found = searched.best_above(queries, floor, k, position)
        if found is None:
            found = _exact_keys(searched, queries, k, position)
        keys[own] = with_rows(found, rows)
        return len(own)

    pool = faiss_threads(faiss.omp_get_max_threads())
    try:
        with single_products:
            for done in pool.map(search, cells.batches()):
                progress(done)
    finally:
        pool.shutdown(cancel_futures=True)
    for start in range(0, len(keys), BLOCK_SIZE):
        block = keys[start : start + BLOCK_SIZE]
        yield GraphBlock(start, rows_of(block), scores_of(block))


def nearest(
    gallery: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each query's ``k`` most similar gallery vectors, exactly, ties by row number.

    ``gallery (n, d)`` and ``queries (m, d)`` are float32, L2 norm 1, m at least 1, k at most n. The
    result is ``(m, k)`` gallery rows, best first, and their cosines rounded to `SCORE_DIGITS`.
    """
    searched, k = Gallery.of(gallery), min(k, len(gallery))

    def search(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return _exact_keys(searched, queries[rows], k, None)

    blocks = list(_search_in_blocks(search, len(queries)))
    return np.concatenate([b.rows for b in blocks]), np.concatenate([b.scores for b in blocks])


def _exact_keys(
    gallery: Gallery, queries: NDArray[np.float32], k: int, own: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the keys of each query's ``k`` best rows, ``(m, k) int64``, best first.

    ``own (m,)`` is the row of each query, which is excluded; None if queries have no row.
    """
    if k == 0:
        return np.empty((len(queries), 0), dtype=np.int64)
    count = len(gallery.vectors)
    limit = min(k + (own is not None) + EXTRA_CANDIDATES, count)
    _, candidates = knn(queries, gallery.vectors, limit)
    keys = gallery.rank(queries, candidates, own)
    if limit < count:
        # The last candidate is the own row, or the worst one where the own row was not found.
        keys = keys if own is None else keys[:, :-1]
        tied = np.flatnonzero(cut_in_tie(keys, k))
        if len(tied):
            selves = None if own is None else own[tied]
            keys[tied, :k] = gallery.resolve_ties(queries[tied], keys[tied], k, selves)
    return keys[:, :k]


def _search_in_blocks(
    search: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    count: int,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[GraphBlock]:
    """Search for the rows 0 to ``count``, one block per thread, and yield the blocks in order.

    ``search`` maps row numbers, ``(m,) int64``, to keys, ``(m, k) int64``, best first.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    blocks = max(1, count // BLOCK_SIZE)
    if blocks > threads:
        blocks -= blocks % threads  # the last round keeps all threads busy
    pending: deque[tuple[int, Future[NDArray[np.int64]]]] = deque()
    pool = faiss_threads(threads)

    def next_block() -> GraphBlock:
        start, future = pending.popleft()
        keys = future.result()
        progress(len(keys))
        return GraphBlock(start, rows_of(keys), scores_of(keys))

    try:
        for rows in np.array_split(np.arange(count), blocks):
            pending.append((int(rows[0]), pool.submit(search, rows)))
            if len(pending) > threads:
                yield next_block()
        while pending:
            yield next_block()
    finally:
        pool.shutdown(cancel_futures=True)
