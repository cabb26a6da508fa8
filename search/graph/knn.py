"""Float32 nearest neighbours by faiss, whose global settings are the caller's again afterwards."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

BLAS_FROM = 20
"""Numbers in a batch of queries from which faiss uses matrix products. Its own threshold is higher;
measured on batches of this package's sizes, it is 2.3 times as slow."""


class _MatrixProducts(AbstractContextManager[None]):
    """Sets faiss' threshold for matrix products; the last of several threads to leave restores it.

    The threshold affects the speed only.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._before = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        import faiss

        with self._lock:
            if self._users == 0:
                self._before = faiss.cvar.distance_compute_blas_threshold
                faiss.cvar.distance_compute_blas_threshold = BLAS_FROM
            self._users += 1

    def __exit__(self, *_: object) -> None:
        import faiss

        with self._lock:
            self._users -= 1
            if self._users == 0:
                faiss.cvar.distance_compute_blas_threshold = self._before


matrix_products = _MatrixProducts()
"""Context in which faiss computes with matrix products. Reentrant and thread-safe."""


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
