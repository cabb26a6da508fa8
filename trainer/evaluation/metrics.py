"""Retrieval metrics: pure functions of ranked hits, in numpy.

- A ranking is a row of gallery hits, best first. Queries are held out of the gallery, so a query is
  never its own hit. A hit is relevant if it has the query's class.
- Ties in score are ordered by gallery row, the order of stored paths. Metrics use the given order;
  only `knn_votes` has a tie rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Relevance = NDArray[np.bool_]


def precision_at(relevant: Relevance, k: int) -> NDArray[np.float64]:
    """Return the share of relevant hits among the first ``k`` of ``(n, m)``, per query, 0 to 1.

    Example: hits ``[yes, no, yes, yes]`` have precision 1, 1/2, 2/3, 3/4 at 1, 2, 3, 4.
    """
    return np.asarray(relevant[:, :k].mean(axis=1, dtype=np.float64))


def average_precision_at(
    relevant: Relevance, k: int, in_gallery: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the average precision of the first ``k`` hits of ``(n, m)``, per query, 0 to 1.

    The sum of the precision at each rank with a relevant hit, divided by the largest possible
    number of relevant hits: ``sum_i precision(i) * relevant(i) / min(k, r)`` (Manning, Raghavan,
    Schuetze: Introduction to Information Retrieval, 8.4, cut at k). ``in_gallery (n,)`` is r, the
    number of relevant images in the gallery; 0 gives 0.

    Example: hits ``[yes, no, yes]``, k = 3, with 5 relevant images in the gallery: the precision is
    1 at rank 1 and 2/3 at rank 3, so (1 + 2/3) / 3 = 0.5556.
    """
    hits = relevant[:, :k]
    precision = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    total = (precision * hits).sum(axis=1)
    possible = np.minimum(in_gallery, k)
    average = np.zeros(len(hits))
    np.divide(total, possible, out=average, where=possible > 0)
    return average


def knn_votes(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the class with the highest sum of scores among the ``(n, k)`` hits, per query.

    Negative scores count as 0. Equal sums go to the class of the better ranked hit.

    Example: classes ``[a, b, b]`` with scores ``[0.9, 0.5, 0.3]`` vote a, 0.9 to 0.8.
    """
    votes = np.zeros(labels.shape)  # at each rank, those of the class of that hit
    for rank in range(labels.shape[1]):
        same = labels == labels[:, rank, None]
        votes += np.where(same, np.maximum(scores[:, rank, None], 0.0), 0.0)
    # The first of equal votes is that of the best ranked hit.
    best = np.argmax(np.round(votes, 9), axis=1)
    winner: NDArray[np.int64] = labels[np.arange(len(labels)), best]
    return winner


def confusion_matrix(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Return ``(classes, classes)`` counts: row the true class, column the predicted one."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


def recall_of_partners(
    hits: NDArray[np.int64], queries: NDArray[np.int64], partners: NDArray[np.int64], k: int
) -> NDArray[np.bool_]:
    """Return whether a partner is in the first ``k`` hits, for each query that has one, ascending.

    A ground truth without labels: a partner shows part of the same rock surface. ``hits (n, m)``
    are gallery rows; ``queries (p,)`` and ``partners (p,)`` are the query number and the gallery
    row of each pair.
    """
    found = (hits[queries, :k] == partners[:, None]).any(axis=1)
    different, position = np.unique(queries, return_inverse=True)
    recalled = np.zeros(len(different), dtype=bool)
    np.logical_or.at(recalled, position, found)
    return recalled


def per_class(
    values: NDArray[np.float64] | NDArray[np.bool_], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Return the mean of ``values`` over the queries of each class, NaN where there are none."""
    sums = np.bincount(labels, weights=values, minlength=classes)
    counts = np.bincount(labels, minlength=classes)
    means = np.full(classes, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def most_confused(matrix: NDArray[np.int64], limit: int = 5) -> list[tuple[int, int, int]]:
    """Return the largest off-diagonal entries as (true class, predicted class, count)."""
    off = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-off, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(order, off.shape)
    return [
        (int(row), int(column), int(off[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if off[row, column] > 0
    ]
