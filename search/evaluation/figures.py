"""The figures of one run: retrieval metrics, overall and per class, and the overlap recall."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.evaluation.metrics import (
    average_precision_at,
    confusion_matrix,
    knn_votes,
    per_class,
    precision_at,
    recall_of_partners,
)
from geosim.trainer.evaluation.overlap import Overlaps

EVALUATED_K = 10
"""Number of hits that the main figures look at."""


def retrieval_figures(
    labels: NDArray[np.int64],
    queries: NDArray[np.intp],
    hits: NDArray[np.int64],
    scores: NDArray[np.float64],
    classes: int,
) -> dict[str, Any]:
    """Return every retrieval figure of a run, under its name in the run's JSON.

    Args:
        labels: ``(n,)`` class numbers of all images.
        queries: ``(q,)`` rows of the queries.
        hits: ``(q, k)`` rows of the hits, best first.
        scores: ``(q, k)`` cosines; NaN for a query without an answer.
        classes: number of classes.
    """
    truth = labels[queries]
    relevant = (labels[hits] == truth[:, None]) & np.isfinite(scores)
    gallery = np.bincount(labels, minlength=classes) - np.bincount(truth, minlength=classes)
    answered = np.isfinite(scores[:, 0])
    voted = knn_votes(
        labels[hits[:, :EVALUATED_K]], np.nan_to_num(scores[:, :EVALUATED_K]), classes
    )
    figures = {f"precision_at_{k}": precision_at(relevant, k) for k in (1, 5, EVALUATED_K)}
    figures[f"map_at_{EVALUATED_K}"] = average_precision_at(relevant, EVALUATED_K, gallery[truth])
    figures["knn_accuracy"] = ((voted == truth) & answered).astype(np.float64)
    return {
        "metrics": {name: float(values.mean()) for name, values in figures.items()},
        "per_class": {
            name: per_class(values, truth, classes).tolist() for name, values in figures.items()
        },
        "precision_by_k": [
            float(precision_at(relevant, k).mean()) for k in range(1, hits.shape[1] + 1)
        ],
        "confusion": confusion_matrix(truth[answered], voted[answered], classes).tolist(),
    }


def overlap_figures(
    overlaps: Overlaps,
    gallery: NDArray[np.intp],
    queries: NDArray[np.intp],
    hits: NDArray[np.int64],
) -> dict[str, Any]:
    """Return the share of the queries with an overlapping partner in the gallery that find one."""
    place = np.full(len(overlaps.groups), -1, dtype=np.int64)
    place[queries] = np.arange(len(queries))
    in_gallery = np.zeros(len(overlaps.groups), dtype=bool)
    in_gallery[gallery] = True
    both = np.concatenate([overlaps.pairs, overlaps.pairs[:, ::-1]])
    both = both[(place[both[:, 0]] >= 0) & in_gallery[both[:, 1]]]
    found = recall_of_partners(hits, place[both[:, 0]], both[:, 1], EVALUATED_K)
    recall = float(found.mean()) if len(found) else None
    return {f"overlap_recall_at_{EVALUATED_K}": recall, "queries_with_partner": len(found)}
