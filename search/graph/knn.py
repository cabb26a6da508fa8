"""Float32 nearest neighbours by faiss, and settings of the process for the time of a search."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

BLAS_FROM = 20
"""Numbers in a batch of queries from which faiss uses matrix products. Its own threshold is higher;
measured on batches of this package's sizes, it is 2.3 times as slow."""


class _Setting(AbstractContextManager[None]):
    """A setting of this process, which affects the speed only.

    The first of several threads makes it, the last to leave undoes it. ``make`` returns what does.
    """

    def __init__(self, make: Callable[[], Callable[[], object]]) -> None:
        self._make, self._lock, self._users = make, threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._undo = self._make()
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._undo()


def _use_matrix_products() -> Callable[[], object]:
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM
    return lambda: setattr(faiss.cvar, "distance_compute_blas_threshold", before)


def _limit_threads() -> Callable[[], object]:
    from threadpoolctl import threadpool_limits

    undo: Callable[[], object] = threadpool_limits(1, user_api="blas").restore_original_limits
    return undo


matrix_products = _Setting(_use_matrix_products)
"""Context in which faiss computes with matrix products. Reentrant and thread-safe."""

single_products = _Setting(_limit_threads)
"""Context in which numpy computes each matrix product on one core. Reentrant and thread-safe."""


def knn(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return inner products and row numbers of the ``k`` rows most similar to each query.

    ``queries (m, d)`` and ``gallery (n, d)`` are float32, k at most n; both results are ``(m, k)``,
    best first, ties in no order.
    """
    import faiss

    with matrix_products:
        products, rows = faiss.knn(queries, gallery, k, metric=faiss.METRIC_INNER_PRODUCT)
    return products, rows


def faiss_threads(count: int) -> ThreadPoolExecutor:
    """Return a thread pool in which each thread runs faiss on a single core.

    faiss releases the GIL. Its own OpenMP threads spin while they wait for each other, which on
    two busy cores took three times the processor time. OpenMP's setting is that of the thread.
    """
    import faiss

    return ThreadPoolExecutor(count, initializer=faiss.omp_set_num_threads, initargs=(1,))
