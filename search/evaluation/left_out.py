"""How well pictures unlike all that is indexed are told: one class after another is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.search.graph.knn import knn
from geosim.trainer.evaluation.novelty import auroc
from geosim.trainer.inputs import Inputs
from geosim.trainer.train import FittedModel

MIN_CLASSES = 3
"""Classes of which one can be left out, as a training needs two."""


def left_out_facts(
    inputs: Inputs,
    gallery: NDArray[np.intp],
    queries: NDArray[np.intp],
    embedded: NDArray[np.float32],
    *,
    fit: Callable[[Inputs, NDArray[np.intp]], FittedModel] | None = None,
) -> dict[str, Any] | None:
    """Return the AUROC of the best score with each class left out; None with too few classes.

    All images of the class are the foreign ones, the queries of the others the own ones. With
    ``fit``, which trains on rows of inputs, the class is left out of the training too, one training
    per class; else only of the gallery, which flatters: the embedding ``(n, 32)``, of all images,
    has learned the class.
    """
    labels, names = inputs.labels, inputs.classes
    if len(names) < MIN_CLASSES:
        return None
    per_class = []
    for label in range(len(names)):
        rows = gallery[labels[gallery] != label]
        if fit is not None:
            others = replace(
                inputs,
                labels=(labels - (labels > label)).astype(np.int32),
                classes=names[:label] + names[label + 1 :],
            )
            embedded = fit(others, rows).embed(inputs.rows())
        foreign = np.flatnonzero(labels == label)
        own = queries[labels[queries] != label]
        per_class.append(auroc(*(_best(embedded, rows, part) for part in (foreign, own))))
    return {
        "left_out_of": "the gallery" if fit is None else "training and gallery",
        "auroc": float(np.nanmean(per_class)),
        "per_class": per_class,
    }


def _best(
    embedded: NDArray[np.float32], gallery: NDArray[np.intp], queries: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the best score of each query that has an embedding."""
    answered = queries[np.any(embedded[queries] != 0, axis=1)]
    products, _ = knn(embedded[answered], embedded[gallery], 1)
    return products[:, 0].astype(np.float64)


def left_out_text(found: dict[str, Any]) -> str:
    """Return one sentence on the mean AUROC, ``auroc``, and what the classes were left out of."""
    return (
        f"Unlike anything here: with one class left out of {found['left_out_of']}, the best score "
        f"tells its pictures from those of other classes with an AUROC of {found['auroc']:.3f} "
        "(mean over the classes)."
    )
