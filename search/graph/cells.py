"""Partition vectors into inverted file (IVF) cells and find the cells that can hold a neighbour.

Angles between directions obey the triangle inequality: a vector at angle a from a centroid is at
least a - r away from every member of a cell of radius r. Cells beyond a query's k-th neighbour are
skipped without loss, so the search stays exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosim.search.graph.knn import knn, matrix_products
from geosim.search.graph.ranking import COSINE_TOLERANCE, Gallery

CELLS_PER_SQRT = 2
"""Cells per square root of the number of vectors. Measured on 29,998 embeddings of rock tiles:
1.5 to 2 are fastest."""

POINTS_PER_CELL = 40
"""Training points per centroid in k-means. faiss warns below 39; its default is 256."""

KMEANS_ITERATIONS = 4
"""Iterations of k-means. They affect the speed of the search, not its result."""

DISTANCE_TOLERANCE = 1e-5
"""Bound on the float32 rounding error of a squared distance of two rows of `Cells.bounds`."""

CELL_BATCH = 2048
"""Most members of a cell searched at once. Bounds memory where one cell holds nearly all vectors.
"""

SAMPLED_BATCHES = 16
"""Batches that `Cells.pair_fraction` looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Vectors partitioned into c cells.

    A row of ``bounds (c, d + 2)`` is a cell's centroid, and cosine and sine of its radius r, the
    largest angle between the centroid and a member. Its product with a query q followed by
    ``-cos(a)`` and ``sin(a)`` is ``cos(q, centroid) - cos(a + r)``, negative where no member is
    within the angle a of q.
    """

    members: list[NDArray[np.int64]]  # row numbers of each cell's vectors, ascending
    bounds: NDArray[np.float32]
    max_radius: float  # in radians
    nearest_cells: NDArray[np.int64]  # (c, t), the cells with the nearest centroids, own included

    @classmethod
    def of(cls, gallery: Gallery, k: int) -> Cells:
        """Partition a gallery for a search of the ``k`` nearest neighbours."""
        import faiss

        count, size = gallery.vectors.shape
        cells = CELLS_PER_SQRT * math.isqrt(count)
        options = {"niter": KMEANS_ITERATIONS, "max_points_per_centroid": POINTS_PER_CELL}
        kmeans = faiss.Kmeans(size, cells, spherical=True, **options)
        with matrix_products:
            kmeans.train(gallery.vectors)
        centroids = np.asarray(kmeans.centroids)
        cosines, nearest = knn(gallery.vectors, centroids, 1)
        assigned = nearest[:, 0]
        order = np.argsort(assigned, kind="stable")
        ends = np.bincount(assigned, minlength=cells).cumsum()
        radii = np.zeros(cells)
        np.maximum.at(radii, assigned, _upper_angle(cosines[:, 0]))
        bounds = np.column_stack([centroids, np.cos(radii), np.sin(radii)]).astype(np.float32)
        # The cell itself and as many others as hold about 2 k vectors.
        around = min(cells, 1 + math.ceil(2 * k * cells / count))
        _, nearest_cells = knn(centroids, centroids, around)
        return cls(np.split(order, ends[:-1]), bounds, float(radii.max()), nearest_cells)

    def batches(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Return cell number and rows of batches that cover all rows, `CELL_BATCH` rows at most."""
        return [
            (cell, rows[start : start + CELL_BATCH])
            for cell, rows in enumerate(self.members)
            for start in range(0, len(rows), CELL_BATCH)
        ]

    def candidates(
        self, gallery: Gallery, cell: int, own: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the rows, ascending, that can be among the ``k`` nearest of a cell's members.

        ``own`` are the rows of the m members to search for, at least one. The result includes rows
        that tie with the k-th at `SCORE_DIGITS` decimals. With it come float32 cosines, ``(m,)``,
        which those of each member's nearest and of such ties reach.
        """
        import faiss

        queries = gallery.vectors[own]
        everything = np.arange(len(gallery.vectors))
        first = np.concatenate([self.members[one] for one in self.nearest_cells[cell]])
        if len(first) <= k:
            return everything, np.full(len(own), -np.inf, dtype=np.float32)
        found, _ = knn(queries, gallery.vectors[first], k + 1)
        # The k nearest of all vectors are no farther than the k nearest of these.
        floor = found[:, -1] - np.float32(2 * COSINE_TOLERANCE)
        angles = _upper_angle(found[:, -1])
        if angles.max() + self.max_radius >= np.pi:
            return everything, floor
        extended = np.column_stack([queries, -np.cos(angles), np.sin(angles)])
        # Both sides have norm sqrt(2), so the squared distance is 4 - 2 product.
        distances = faiss.pairwise_distances(extended.astype(np.float32), self.bounds)
        within_reach = (distances <= 4 + DISTANCE_TOLERANCE).any(axis=0)
        rows = np.concatenate([self.members[one] for one in np.flatnonzero(within_reach)])
        rows.sort()
        return rows, floor

    def pair_fraction(self, gallery: Gallery, k: int) -> float:
        """Return the fraction of all pairs that a search compares, estimated from a sample."""
        batches = self.batches()
        sample = batches[:: max(1, len(batches) // SAMPLED_BATCHES)]
        compared = sum(
            len(self.candidates(gallery, cell, own, k)[0]) * len(own) for cell, own in sample
        )
        return compared / (len(gallery.vectors) * sum(len(own) for _, own in sample))


def _upper_angle(cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return an upper bound of the angles in radians."""
    return np.arccos(np.clip(cosines.astype(np.float64) - COSINE_TOLERANCE, -1.0, 1.0))
