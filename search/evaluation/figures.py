"""The facts of a run: its images, and its retrieval figures from its hits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.search.evaluation.runs import EVALUATED_K
from geosim.search.graph.neighbours import nearest
from geosim.trainer.evaluation import metrics
from geosim.trainer.evaluation.overlap import Overlaps
from geosim.trainer.inputs import Inputs


def gallery_of(labels: NDArray[Any], queries: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows of the images with a class, label 0 or above, that are no queries."""
    known = labels >= 0
    known[queries] = False
    return np.flatnonzero(known)


def data_facts(inputs: Inputs, overlaps: Overlaps) -> dict[str, Any]:
    """Return the facts about the images that are the same for all runs, by their names in JSON."""
    known, classes = inputs.labels >= 0, len(inputs.classes)
    shares = metrics.per_class(
        overlaps.grouped[known], inputs.labels[known].astype(np.int64), classes
    )
    return {
        "classes": list(inputs.classes),
        "images": len(inputs.items),
        "sharing_pixels": float(overlaps.grouped.mean()),
        "sharing_pixels_per_class": shares.tolist(),
    }


def hits_of(
    embedded: NDArray[np.float32],
    gallery: NDArray[np.intp],
    queries: NDArray[np.intp],
    limit: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ``limit`` best gallery rows of each query, and their cosines, as in `Run`.

    ``embedded (n, d) float32`` has an L2 norm of 1, or 0 where a picture has no direction: it
    finds nothing. No such picture may be in the gallery.
    """
    answered = np.any(embedded[queries] != 0, axis=1)
    hits = np.full((len(queries), min(limit, len(gallery))), -1, dtype=np.int64)
    scores = np.full(hits.shape, np.nan)
    if answered.any():
        rows, cosines = nearest(embedded[gallery], embedded[queries[answered]], hits.shape[1])
        hits[answered], scores[answered] = gallery[rows], cosines
    return hits, scores


def figures_of(
    labels: NDArray[np.int64],
    classes: int,
    overlaps: Overlaps,
    gallery: NDArray[np.intp],
    queries: NDArray[np.intp],
    hits: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> dict[str, Any]:
    """Return the retrieval figures of a run by their names in its JSON.

    ``labels (n,)`` are class numbers of all images, -1 for none; ``gallery (g,)`` and
    ``queries (q,)`` rows of images with a class. ``hits`` and ``scores`` are those of `Run`.
    """
    truth, k = labels[queries], EVALUATED_K
    relevant = (labels[hits] == truth[:, None]) & np.isfinite(scores)
    known = labels[labels >= 0]
    in_gallery = np.bincount(known, minlength=classes) - np.bincount(truth, minlength=classes)
    answered = np.isfinite(scores[:, 0])
    voted = metrics.knn_votes(labels[hits[:, :k]], np.nan_to_num(scores[:, :k]))
    figures = {f"precision_at_{n}": metrics.precision_at(relevant, n) for n in (1, 5, k)}
    figures[f"map_at_{k}"] = metrics.average_precision_at(relevant, k, in_gallery[truth])
    figures["knn_accuracy"] = ((voted == truth) & answered).astype(np.float64)
    # The overlap recall is that of the queries with an overlapping partner in the gallery.
    number = np.full(len(labels), -1, dtype=np.int64)
    number[queries] = np.arange(len(queries))
    query, partner = np.concatenate([overlaps.pairs, overlaps.pairs[:, ::-1]]).T
    used = (number[query] >= 0) & np.isin(partner, gallery)
    found = metrics.recall_of_partners(hits, number[query[used]], partner[used], k)
    by_class = {name: metrics.per_class(values, truth, classes) for name, values in figures.items()}
    curve = [metrics.precision_at(relevant, n).mean() for n in range(1, hits.shape[1] + 1)]
    return {
        "metrics": {name: float(values.mean()) for name, values in figures.items()},
        "per_class": {name: values.tolist() for name, values in by_class.items()},
        "precision_by_k": list(map(float, curve)),
        "confusion": metrics.confusion_matrix(truth[answered], voted[answered], classes).tolist(),
        f"overlap_recall_at_{k}": float(found.mean()) if len(found) else None,
        "queries_with_partner": len(found),
    }
