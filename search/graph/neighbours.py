"""Exact nearest neighbours: for every vector its k most similar others, or those in a gallery.

Owns the search itself, a block of queries per thread. `cells.py` tells which rows can be neighbours
at all, `ranking.py` orders candidates, `export.py` writes the graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosim.search.graph.cells import Lists
from geosim.search.graph.ranking import Gallery, cut_in_tie, rows_of, scores_of, with_rows

BLOCK = 4096
"""Queries at once, or somewhat more."""

LISTED_FROM = 10_000
"""Vectors from which on it is worth while to look for lists; fewer are compared all with all in a
fraction of a second."""

WORTHWHILE = 1 / 3
"""Largest share of pairs to look at list by list: a list's few queries take longer per pair."""

MATRICES_FROM = 20
"""Queries from which on faiss multiplies matrices. Left alone, recent versions do so from 4,000 of
32 numbers on; below, each query goes through the gallery alone, which took 2.3 times as long."""

MARGIN = 5
"""Candidates beyond k that the float32 search returns, to be ranked again in float64. 2 are enough
for every one of 29,998 embeddings of rock tiles; where a tie is longer, it is settled apart. 16
took a fifth longer."""


@dataclass(frozen=True, slots=True)
class GraphBlock:
    """The neighbours of the vectors ``start`` to ``start + m``.

    Attributes:
        start: row number of the first.
        rows: ``(m, k) int64``, row numbers, best first.
        scores: ``(m, k) float64``, cosines rounded to `SCORE_DIGITS`.
    """

    start: int
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


def neighbour_graph(
    vectors: NDArray[np.float32], k: int, *, progress: Callable[[int], object] = lambda _: None
) -> Iterator[GraphBlock]:
    """Yield the graph block by block.

    Exact: every pair is compared, or known to be too far apart. Self-exclusion is by row, so an
    identical other vector is a neighbour. Ties, equal at `SCORE_DIGITS` decimals, are ordered by
    row number; with rows sorted by path that is the order of paths.

    Args:
        vectors: ``(n, d) float32``, L2 norm 1.
        k: neighbours per vector; fewer, n - 1, where there are no more.
        progress: called with the number of vectors whose neighbours were found.
    """
    gallery, k = Gallery.of(vectors), min(k, len(vectors) - 1)
    lists = _worthwhile(gallery, k) if len(vectors) >= LISTED_FROM else None
    if lists is not None:
        yield from _listed(gallery, lists, k, progress)
        return

    def search(own: NDArray[np.int64]) -> NDArray[np.int64]:
        return exact_keys(gallery, vectors[own], k, own)

    yield from in_blocks(search, len(vectors), progress)


def _worthwhile(gallery: Gallery, k: int) -> Lists | None:
    """Return lists that spare most of the work, or None where there are none such."""
    with faiss_threads(1) as alone:
        lists = alone.submit(Lists.of, gallery, k).result()
        share = alone.submit(lists.share, gallery, k).result()
    return lists if share <= WORTHWHILE else None


def _listed(
    gallery: Gallery, lists: Lists, k: int, progress: Callable[[int], object]
) -> Iterator[GraphBlock]:
    """Yield the graph after a search list by list; its keys are held meanwhile."""
    import faiss

    keys = np.empty((len(gallery.vectors), k), dtype=np.int64)

    def search(part: tuple[int, NDArray[np.int64]]) -> int:
        number, own = part
        rows = lists.candidates(gallery, number, own, k)
        place = np.searchsorted(rows, own)
        found = exact_keys(gallery.part(rows), gallery.vectors[own], k, place)
        keys[own] = with_rows(found, rows)
        return len(own)

    pool = faiss_threads(faiss.omp_get_max_threads())
    try:
        for done in pool.map(search, lists.parts()):
            progress(done)
    finally:
        pool.shutdown(cancel_futures=True)
    for start in range(0, len(keys), BLOCK):
        block = keys[start : start + BLOCK]
        yield GraphBlock(start, rows_of(block), scores_of(block))


def nearest(
    gallery: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each query's ``k`` most similar gallery vectors, exactly, ties by row number.

    Args:
        gallery: ``(n, d) float32``, L2 norm 1, without the queries.
        queries: ``(m, d) float32``, L2 norm 1, m of 1 or more.
        k: at most n.

    Returns:
        ``(m, k)`` gallery rows, best first, and their cosines rounded to `SCORE_DIGITS`.
    """
    searched, k = Gallery.of(gallery), min(k, len(gallery))
    blocks = list(
        in_blocks(lambda rows: exact_keys(searched, queries[rows], k, None), len(queries))
    )
    return np.concatenate([b.rows for b in blocks]), np.concatenate([b.scores for b in blocks])


def exact_keys(
    gallery: Gallery, queries: NDArray[np.float32], k: int, own: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the keys of each query's ``k`` best rows, ``(m, k) int64``, best first.

    Args:
        gallery: what is searched.
        queries: ``(m, d) float32``, L2 norm 1.
        k: at most the number of rows, the own one not counted.
        own: ``(m,) int64``, the row that each query is, left out; None if it is none.
    """
    import faiss

    if k == 0:
        return np.empty((len(queries), 0), dtype=np.int64)
    count = len(gallery.vectors)
    wanted = min(k + (own is not None) + MARGIN, count)
    metric = faiss.METRIC_INNER_PRODUCT
    _, candidates = faiss.knn(queries, gallery.vectors, wanted, metric=metric)
    keys = gallery.ranked(queries, candidates, own)
    if wanted < count:
        # The own row is last, or not among the candidates; then the worst of them is left out.
        keys = keys if own is None else keys[:, :-1]
        tied = np.flatnonzero(cut_in_tie(keys, k))
        if len(tied):
            selves = None if own is None else own[tied]
            keys[tied, :k] = gallery.settled(queries[tied], keys[tied], k, selves)
    return keys[:, :k]


def in_blocks(
    search: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    count: int,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[GraphBlock]:
    """Search for the rows 0 to ``count``, a block per thread, and yield the blocks in order.

    Args:
        search: given row numbers, ``(m,) int64``, returns keys, ``(m, k) int64``, best first.
        count: number of rows.
        progress: called with the number of rows that were searched for.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    blocks = max(1, count // BLOCK)
    if blocks > threads:
        blocks -= blocks % threads  # all threads are busy to the end
    waiting: deque[tuple[int, Future[NDArray[np.int64]]]] = deque()
    pool = faiss_threads(threads)

    def first() -> GraphBlock:
        start, future = waiting.popleft()
        keys = future.result()
        progress(len(keys))
        return GraphBlock(start, rows_of(keys), scores_of(keys))

    try:
        for rows in np.array_split(np.arange(count), blocks):
            waiting.append((int(rows[0]), pool.submit(search, rows)))
            if len(waiting) > threads:
                yield first()
        while waiting:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)


def faiss_threads(count: int) -> ThreadPoolExecutor:
    """Return threads that each call faiss, which frees the interpreter, for a job of its own.

    Several of faiss' own threads that share one job spin while they wait for each other: on two
    busy cores the search of 30,000 vectors then took three times the processor's time.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = MATRICES_FROM
    return ThreadPoolExecutor(count, initializer=faiss.omp_set_num_threads, initargs=(1,))
