"""Orders candidates exactly: float64 cosines, ties by row number, complete where a tie is cut.

Pure arithmetic on arrays. `search/graph/neighbours.py` chooses the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from geosim.ingest.schema import SCORE_DIGITS
from numpy.typing import NDArray

STEPS: int = 10**SCORE_DIGITS
"""Scores differ by whole steps of 1 / STEPS; scores that are no step apart tie."""

NO_ROW = np.iinfo(np.int64).max
"""The key of no row, or of the query's own: behind every other."""

FLOAT32_ERROR_STEPS = 2
"""Steps by which a float32 search may misjudge which of two rows is nearer. Each product of 32
components may be off by one; the largest seen, over unit vectors real and random, was off by 0.4.
"""

SLACK = (FLOAT32_ERROR_STEPS + 0.5) / STEPS
"""How far a float32 cosine may lie below the score it belongs to: half a step is the rounding."""

SLICE = 1 << 20
"""Numbers gathered or multiplied at once: 8 MB as float64, which the processor's cache holds."""

TILE = 1024
"""Queries, and rows, whose products are looked at together while a tie is settled."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The vectors that are searched.

    A row's rank is one number, its key: steps below a cosine of 1, then the row number. The lower
    key is the better neighbour, so sorting keys orders by score and settles ties.

    Attributes:
        vectors: ``(n, d) float32``, L2 norm 1, n below 2^32.
        norms: ``(n,) float64``, their norms, which float32 leaves a little off 1.
    """

    vectors: NDArray[np.float32]
    norms: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Gallery:
        """Measure the norms of ``(n, d) float32`` vectors."""
        return cls(vectors, _norms(vectors))

    def part(self, rows: NDArray[np.int64]) -> Gallery:
        """Return a gallery of some of the rows, in the order given."""
        return Gallery(self.vectors[rows], self.norms[rows])

    def ranked(
        self,
        queries: NDArray[np.float32],
        candidates: NDArray[np.int64],
        own: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        """Return the candidates' keys, ``(m, c) int64``, best first.

        Args:
            queries: ``(m, d) float32``.
            candidates: ``(m, c) int64``, row numbers.
            own: ``(m,) int64``, the row of each query, which is no candidate; or None.
        """
        keys = np.empty(candidates.shape, dtype=np.int64)
        norms = _norms(queries)
        size = max(1, SLICE // max(1, candidates.shape[1] * queries.shape[1]))
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

    def settled(
        self,
        queries: NDArray[np.float32],
        keys: NDArray[np.int64],
        k: int,
        own: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        """Return the first ``k`` keys among all rows, where candidates may end inside a tie.

        Goes through the rows in order, and for each query no further than where a tie of its
        score could still win. Takes the memory of a few tiles, however many rows tie.

        Args:
            queries: ``(m, d) float32``.
            keys: ``(m, c) int64``, c >= k, of the candidates, best first: no other row has a
                score more than `FLOAT32_ERROR_STEPS` steps above the last candidate's.
            k: neighbours per query.
            own: as in `ranked`.
        """
        parts = [slice(start, start + TILE) for start in range(0, len(queries), TILE)]
        return np.concatenate(
            [
                self._settle(queries[part], keys[part], k, None if own is None else own[part])
                for part in parts
            ]
        )

    def _settle(
        self,
        queries: NDArray[np.float32],
        keys: NDArray[np.int64],
        k: int,
        own: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        import faiss

        best = np.full((len(queries), k), NO_ROW, dtype=np.int64)
        # Between vectors of norm 1 the squared distance is 2 - 2 cosine.
        farthest = (2 * (1 - scores_of(keys[:, k - 1]) + SLACK)).astype(np.float32)
        # Rows that are no candidates lie this many steps below 1, or more.
        nearest = np.maximum(_steps(keys[:, -1]) - FLOAT32_ERROR_STEPS, 0)
        ahead = _steps(keys) < nearest[:, None]
        last_ahead = np.where(ahead, rows_of(keys), -1).max(axis=1)
        norms = _norms(queries)
        left = np.arange(len(queries))  # queries that still look for rows
        for start in range(0, len(self.vectors), TILE):
            rows = np.arange(start, min(start + TILE, len(self.vectors)))
            distances = faiss.pairwise_distances(queries[left], self.vectors[rows])
            near = distances <= farthest[left, None]
            found, columns = left[near.any(axis=1)], rows[near.any(axis=0)]
            if len(found):
                one, other = queries[found].astype(float), self.vectors[columns].astype(float)
                # A query at a time: numpy's threads would share more, and spin as they wait.
                products = (one[:, None] @ other.T)[:, 0]
                cosines = products / (norms[found, None] * self.norms[columns])
                new = _keys(cosines, columns[None])
                if own is not None:
                    new[columns == own[found, None]] = NO_ROW
                merged = np.concatenate([best[found], new], axis=1)
                merged.partition(k - 1, axis=1)
                best[found] = np.sort(merged[:, :k], axis=1)
            enough = _steps(best[left, -1]) <= nearest[left]
            left = left[~(enough & (last_ahead[left] <= rows[-1]))]
            if not len(left):
                break
        return best


def rows_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row numbers in keys."""
    return keys & 0xFFFFFFFF


def with_rows(keys: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return keys of a `Gallery.part` as those of the whole; ``rows`` are its rows, ascending."""
    return (keys >> 32 << 32) | rows[rows_of(keys)]


def scores_of(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the scores in keys: cosines rounded to `SCORE_DIGITS`."""
    return (STEPS - _steps(keys)) / STEPS


def cut_in_tie(keys: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Tell for which queries a row that is no candidate may tie with rank ``k``.

    Args:
        keys: ``(m, c) int64``, c >= k, of the candidates that a float32 search chose, best first.
        k: rank, 1 or more.
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
