"""Divides vectors into lists around k-means centres, and tells which lists can hold a neighbour.

Owns the division and its bound. Angles between directions obey the triangle inequality: a vector at
an angle a from a centre is at least a - r away from every member of a list that lies within r of
it. Embeddings lie in clusters, so that most lists are too far away to be looked at, and what is
found is exact all the same. The search itself is `search/graph/neighbours.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosim.search.graph.ranking import SLACK, Gallery

PER_ROOT = 2
"""Lists per square root of the number of vectors. With 29,998 embeddings of rock tiles the search
took least from 1.5 to 2; fewer hold more that is looked at in vain, more take longer to find."""

PER_LIST = 40
"""Vectors per list that k-means sees; faiss warns below 39 and takes 256 by default."""

ROUNDS = 4
"""Rounds of k-means: the lists decide how long a search takes, not what it finds."""

ROUNDING = 1e-5
"""More than a squared distance of two rows of 34 float32 numbers, of norm sqrt(2), is off by."""

PART = 2048
"""Most members of a list looked for together: one list may hold nearly all vectors."""

SAMPLE = 16
"""Parts looked at to tell whether the others are worth it."""


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Vectors divided into l lists.

    Attributes:
        members: row numbers of each list's vectors, ascending.
        bounds: ``(l, d + 2) float32``: a list's centre, and cosine and sine of its radius r, the
            largest angle between the centre and a member. With a vector q, and minus the cosine and
            the sine of an angle a, a row's product is ``cos(q, centre) - cos(a + r)``: negative
            where no member is within a of q.
        widest: the largest radius in radians.
        near: ``(l, t) int64``, for each list those with the nearest centres, its own among them.
    """

    members: list[NDArray[np.int64]]
    bounds: NDArray[np.float32]
    widest: float
    near: NDArray[np.int64]

    @classmethod
    def of(cls, gallery: Gallery, k: int) -> Lists:
        """Divide a gallery so that the ``k`` nearest of a vector can be looked for."""
        import faiss

        count, size = gallery.vectors.shape
        lists = PER_ROOT * math.isqrt(count)
        means = faiss.Kmeans(
            size, lists, niter=ROUNDS, spherical=True, max_points_per_centroid=PER_LIST
        )
        means.train(gallery.vectors)
        centres, metric = np.asarray(means.centroids), faiss.METRIC_INNER_PRODUCT
        cosines, nearest = faiss.knn(gallery.vectors, centres, 1, metric=metric)
        order = np.argsort(nearest[:, 0], kind="stable")
        ends = np.bincount(nearest[:, 0], minlength=lists).cumsum()
        radii = np.zeros(lists)
        np.maximum.at(radii, nearest[:, 0], _angle(cosines[:, 0]))
        bounds = np.column_stack([centres, np.cos(radii), np.sin(radii)]).astype(np.float32)
        around = min(lists, 1 + math.ceil(2 * k * lists / count))  # some 2 k vectors, and its own
        _, near = faiss.knn(centres, centres, around, metric=metric)
        return cls(np.split(order, ends[:-1]), bounds, float(radii.max()), near)

    def parts(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Return all rows, at most `PART` at a time, each time with the number of their list."""
        return [
            (number, rows[start : start + PART])
            for number, rows in enumerate(self.members)
            for start in range(0, len(rows), PART)
        ]

    def candidates(
        self, gallery: Gallery, number: int, own: NDArray[np.int64], k: int
    ) -> NDArray[np.int64]:
        """Return the rows, ascending, that can be among the ``k`` nearest of a list's members.

        Rows that tie with the k-th at `SCORE_DIGITS` decimals are among them.

        Args:
            gallery: what was divided.
            number: of the list.
            own: rows of the members that are looked for, at least one.
            k: neighbours per vector, the vector itself not counted.
        """
        import faiss

        queries = gallery.vectors[own]
        first = np.concatenate([self.members[one] for one in self.near[number]])
        if len(first) <= k:
            return np.arange(len(gallery.vectors))
        found, _ = faiss.knn(
            queries, gallery.vectors[first], k + 1, metric=faiss.METRIC_INNER_PRODUCT
        )
        # The k nearest of all are no farther than the k nearest of these.
        farthest = _angle(found[:, -1])
        if farthest.max() + self.widest >= np.pi:
            return np.arange(len(gallery.vectors))
        circles = np.column_stack([queries, -np.cos(farthest), np.sin(farthest)])
        # Both have norm sqrt(2), so the squared distance is 4 - 2 product.
        distances = faiss.pairwise_distances(circles.astype(np.float32), self.bounds)
        reached = (distances <= 4 + ROUNDING).any(axis=0)
        rows = np.concatenate([self.members[one] for one in np.flatnonzero(reached)])
        rows.sort()
        return rows

    def share(self, gallery: Gallery, k: int) -> float:
        """Return the share of all pairs that a search looks at, 0 to 1, by a sample of parts."""
        parts = self.parts()
        sample = parts[:: max(1, len(parts) // SAMPLE)]
        looked = sum(len(self.candidates(gallery, *part, k)) * len(part[1]) for part in sample)
        return looked / (len(gallery.vectors) * sum(len(own) for _, own in sample))


def _angle(cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return angles in radians, rather too large than too small."""
    return np.arccos(np.clip(cosines.astype(np.float64) - SLACK, -1.0, 1.0))
