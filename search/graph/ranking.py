"""Rank candidates exactly: float64 cosines, ties by row number, ties at the cutoff resolved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import SCORE_DIGITS

STEPS: int = 10**SCORE_DIGITS
"""Scores are multiples of 1 / STEPS; equal ones tie."""

NO_ROW = np.iinfo(np.int64).max
"""Key of no row, or of the query's own: larger than every other."""

FLOAT32_ERROR_STEPS = 2
"""Steps by which a float32 search may confuse the order of two rows. Each product of 32 components
may be off by one."""

COSINE_TOLERANCE = (FLOAT32_ERROR_STEPS + 0.5) / STEPS
"""How far a float32 cosine may lie below its rounded score; half a step is the rounding."""

CHUNK_NUMBERS = 1 << 20
"""Numbers gathered or multiplied at once: 8 MB as float64, which fits the processor's cache."""

PRODUCTS = 1 << 19
"""Products computed at once: 2 MB, which fit the processor's cache."""

MOST_ABOVE = 1 << 21
"""Pairs of a query and a row that `Gallery.best_above` keeps at most, some 100 MB."""

TIE_BLOCK_SIZE = 1024
"""Queries, and rows, compared at once while ties are resolved."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The vectors to search.

    A candidate's key is one integer: steps below a cosine of 1 in the upper 32 bits, the row number
    in the lower. Sorting keys orders by score, then by row number.
    """

    vectors: NDArray[np.float32]  # (n, d), L2 norm 1, n below 2^32
    norms: NDArray[np.float64]  # (n,), their norms, not exactly 1 in float32

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Gallery:
        """Return a gallery of ``(n, d) float32`` vectors."""
        return cls(vectors, _norms(vectors))

    def subset(self, rows: NDArray[np.int64]) -> Gallery:
        """Return a gallery of the given rows, in their order."""
        return Gallery(self.vectors[rows], self.norms[rows])

    def rank(
        self,
        queries: NDArray[np.float32],
        candidates: NDArray[np.int64],
        own: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        """Return the keys of ``candidates (m, c)``, row numbers, best first.

        ``own (m,)`` is the row of each query, which is excluded; None if queries have no row.
        """
        keys = np.empty(candidates.shape, dtype=np.int64)
        norms = _norms(queries)
        size = max(1, CHUNK_NUMBERS // max(1, candidates.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), size):
            part = slice(start, start + size)
            right = self.vectors[candidates[part]].astype(np.float64)
            cosines = np.einsum("md,mcd->mc", queries[part].astype(np.float64), right)
            cosines /= norms[part, None] * self.norms[candidates[part]]
            keys[part] = _keys(cosines, candidates[part])
        if own is not None:
            keys[candidates == own[:, None]] = NO_ROW
        keys.sort(axis=1)
        return keys

    def best_above(
        self,
        queries: NDArray[np.float32],
        floor: NDArray[np.float32],
        k: int,
        own: NDArray[np.int64],
    ) -> NDArray[np.int64] | None:
        """Return the keys of each query's ``k`` best rows, ``(m, k) int64``, best first.

        ``floor (m,)`` are cosines which the float32 products of at least k other rows reach, and
        those of all rows that can be among the k best. ``own (m,)`` is the row of each query, which
        is excluded. None if more than `MOST_ABOVE` pairs reach their floor. A product and a
        comparison take half as long as a search that keeps the best of each query meanwhile.
        """
        width = max(1, PRODUCTS // len(queries))
        products = np.empty((len(queries), width), dtype=np.float32)
        reaches = np.empty(products.shape, dtype=np.bool_)
        found: list[NDArray[np.int64]] = []
        count = 0
        for start in range(0, len(self.vectors), width):
            rows = self.vectors[start : start + width]
            if len(rows) < width:
                products, reaches = products[:, : len(rows)], reaches[:, : len(rows)]
            np.matmul(queries, rows.T, out=products)
            np.greater_equal(products, floor[:, None], out=reaches)
            query, column = np.divmod(np.flatnonzero(reaches), len(rows))
            found.append(np.stack([query, column + start]))
            count += len(query)
            if count > MOST_ABOVE:
                return None
        query, row = np.concatenate(found, axis=1)
        other = row != own[query]
        query, row = query[other], row[other]
        keys, norms = np.empty(len(query), dtype=np.int64), _norms(queries)
        size = CHUNK_NUMBERS // queries.shape[1]
        for start in range(0, len(keys), size):
            one, its = query[start : start + size], row[start : start + size]
            left, right = queries[one].astype(np.float64), self.vectors[its].astype(np.float64)
            cosines = np.einsum("pd,pd->p", left, right) / (norms[one] * self.norms[its])
            keys[start : start + size] = _keys(cosines, its)
        order = np.lexsort((keys, query))
        first = np.searchsorted(query[order], np.arange(len(queries)))
        best: NDArray[np.int64] = keys[order[first[:, None] + np.arange(k)]]
        return best

    def resolve_ties(
        self,
        queries: NDArray[np.float32],
        keys: NDArray[np.int64],
        k: int,
        own: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        """Return the first ``k`` keys among all rows, for candidates that may end inside a tie.

        Scans the rows in order, for each query until no later row can be among the ``k``. Memory
        does not grow with the number of ties. ``keys (m, c)``, c >= k, are those of the candidates,
        best first; no other row may have a score more than `FLOAT32_ERROR_STEPS` steps above the
        last one's.
        """
        resolved = []
        for start in range(0, len(queries), TIE_BLOCK_SIZE):
            part = slice(start, start + TIE_BLOCK_SIZE)
            selves = None if own is None else own[part]
            resolved.append(self._resolve_block(queries[part], keys[part], k, selves))
        return np.concatenate(resolved)

    def _resolve_block(
        self,
        queries: NDArray[np.float32],
        keys: NDArray[np.int64],
        k: int,
        own: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        import faiss

        best = np.full((len(queries), k), NO_ROW, dtype=np.int64)
        # Between vectors of norm 1 the squared distance is 2 - 2 cosine.
        farthest = (2 * (1 - scores_of(keys[:, k - 1]) + COSINE_TOLERANCE)).astype(np.float32)
        # Other rows lie at least this many steps below 1.
        nearest = np.maximum(_steps(keys[:, -1]) - FLOAT32_ERROR_STEPS, 0)
        ahead = _steps(keys) < nearest[:, None]
        last_ahead = np.where(ahead, rows_of(keys), -1).max(axis=1)
        norms = _norms(queries)
        left = np.arange(len(queries))  # queries not finished
        for start in range(0, len(self.vectors), TIE_BLOCK_SIZE):
            rows = np.arange(start, min(start + TIE_BLOCK_SIZE, len(self.vectors)))
            distances = faiss.pairwise_distances(queries[left], self.vectors[rows])
            near = distances <= farthest[left, None]
            found, columns = left[near.any(axis=1)], rows[near.any(axis=0)]
            if len(found):
                one, other = queries[found].astype(float), self.vectors[columns].astype(float)
                # One query per product: numpy's threads would share larger ones and spin.
                products = (one[:, None] @ other.T)[:, 0]
                cosines = products / (norms[found, None] * self.norms[columns])
                new = _keys(cosines, columns[None])
                if own is not None:
                    new[columns == own[found, None]] = NO_ROW
                merged = np.concatenate([best[found], new], axis=1)
                merged.partition(k - 1, axis=1)
                best[found] = np.sort(merged[:, :k], axis=1)
            complete = _steps(best[left, -1]) <= nearest[left]
            left = left[~(complete & (last_ahead[left] <= rows[-1]))]
            if not len(left):
                break
        return best


def rows_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row numbers in keys."""
    return keys & 0xFFFFFFFF


def with_rows(keys: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return keys of a `Gallery.subset` as keys of the whole; ``rows`` are its rows, ascending."""
    return (keys >> 32 << 32) | rows[rows_of(keys)]


def scores_of(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the scores in keys: cosines rounded to `SCORE_DIGITS`."""
    return (STEPS - _steps(keys)) / STEPS


def cut_in_tie(keys: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Return for which queries a row outside the candidates may tie with rank ``k``.

    ``keys (m, c)``, c >= k, are those of the candidates of a float32 search, best first.
    """
    return _steps(keys[:, -1]) - _steps(keys[:, k - 1]) <= FLOAT32_ERROR_STEPS


def _keys(cosines: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    steps = STEPS - np.rint(np.clip(cosines, -1.0, 1.0) * STEPS).astype(np.int64)
    return (steps << 32) | rows


def _steps(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return keys >> 32


def _norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)
