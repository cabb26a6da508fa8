"""Fit of a head on the features of several views of each picture.

With classes, a cosine head learns from the mean of a picture's views. A head that is to see fewer
of the views, or pictures without a class, is fitted after it: as in distillation (Hinton et al.
2015) it learns the classes and the first head's embedding, so that few views come close to all.
Without classes: `trainer/heads/unlabelled.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.split import stratified_split
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import (
    Fit,
    TrainOptions,
    cosine_head,
    cosine_layers,
    keep_best,
)
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.heads.unlabelled import fit_unlabelled
from geosim.trainer.runtime.keras import import_keras

LEARNING_RATE = 1e-3
"""Adam's learning rate at the start; it falls to zero as a cosine."""

DROPOUT = 0.3
"""Share of the features that a step leaves out."""

LABEL_SMOOTHING = 0.1
"""Share of a label that is spread over all classes (Szegedy et al. 2016)."""

DISTILLATION = 4.0
"""Weight of the distance to the teacher's embedding, 1 minus the cosine, beside the loss of the
classes."""

Array = NDArray[np.float16] | NDArray[np.float32]


def fit_views(
    features: Array,
    labels: NDArray[np.int32],
    classes: int,
    options: TrainOptions,
    *,
    views: int,
    progress: Callable[[int], object] = lambda _: None,
) -> Fit:
    """Fit a head on ``(n, T, feature_width)`` features of T views of each picture.

    ``views`` is the number of views that the head makes an embedding of. A picture whose label is
    -1 has no class: it is learned from by the embedding of its T views alone, or, where no picture
    has a class, by its views. ``progress`` is called with the number of epochs just done; a fit
    without classes is all of them. The losses are those of the head that is kept.

    Raises:
        ModelError: a feature is not finite, or no epoch has a finite loss.
    """
    if not all(np.isfinite(picture).all() for picture in features):
        raise ModelError("there are features that are no finite numbers; delete the feature cache")
    labelled = np.flatnonzero(labels >= 0)
    if not len(labelled):
        head, left_out = fit_unlabelled(features, views=views)
        progress(options.epochs)
        return Fit(head, [left_out], [], 1, "share of the signal left out")
    kept, held = (
        labelled[part]
        for part in stratified_split(labels[labelled], options.validation_split, options.seed)
    )
    twice = views < features.shape[1] or len(labelled) < len(labels)
    done = count(1)

    def report(_: int) -> None:
        if not twice or next(done) % 2 == 0:
            progress(1)

    truth = np.eye(classes, dtype=np.float32)[labels]
    whole = _means(features, features.shape[1])
    network, history = _fit(whole, [truth], (kept, held), options, report)
    if twice:
        target = cosine_head(network)(whole)
        seen = whole if views == features.shape[1] else _means(features, views)
        learned = np.setdiff1d(np.arange(len(labels)), held)
        network, history = _fit(
            seen, [truth, target], (learned, held), options, report, labelled=labels >= 0
        )
    name = "cross-entropy and distance to the embedding of all views" if twice else "cross-entropy"
    return Fit(cosine_head(network, views=views), *history, name)


def _fit(
    seen: NDArray[np.float32],
    wanted: list[NDArray[np.float32]],
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    options: TrainOptions,
    progress: Callable[[int], object],
    *,
    labelled: NDArray[np.bool_] | None = None,
) -> tuple[Any, tuple[list[float], list[float], int]]:
    """Fit a cosine head on one mean of each picture; return the Keras model and the history.

    ``wanted`` is the one-hot classes, which mean nothing where ``labelled`` is false, and with a
    second array the embedding to come close to. ``rows`` are learned and held out.
    """
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    features = keras.Input((seen.shape[1],))
    dropped = keras.layers.Dropout(DROPOUT)(features)
    outputs = cosine_layers(dropped, EMBEDDING_DIM, wanted[0].shape[1])[: len(wanted)]
    network = keras.Model(features, list(outputs))
    learned, held = rows
    steps = options.epochs * -(-len(learned) // options.batch_size)
    class_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=LABEL_SMOOTHING
    )
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss=[class_loss, _distance][: len(wanted)],
        loss_weights=[1.0, DISTILLATION][: len(wanted)],
    )

    def samples(part: NDArray[np.intp]) -> tuple[Any, ...]:
        told = None if labelled is None else [labelled[part].astype(np.float32), np.ones(len(part))]
        return seen[part], [one[part] for one in wanted], told

    x, y, weights = samples(learned)
    history = keep_best(
        network,
        x,
        y,
        sample_weight=weights,
        validation=samples(held) if len(held) else None,
        epochs=options.epochs,
        progress=progress,
        batch_size=options.batch_size,
    )
    return network, history


def _means(features: Array, views: int) -> NDArray[np.float32]:
    """Return the mean of the first views' features of each picture, ``(n, feature_width)``."""
    return np.asarray(features[:, :views].mean(axis=1, dtype=np.float32))


def _distance(target: Any, embedding: Any) -> Any:
    """Return 1 minus the cosine of vectors of L2 norm 1."""
    return 1.0 - import_keras().ops.sum(target * embedding, axis=-1)
