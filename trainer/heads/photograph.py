"""Fit of a head on the features of several views of each picture.

With classes: a hidden layer and an embedding of unit norm under a cosine softmax, as the ``cosine``
head, each view a sample of its own. Without: the principal components of the views' mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.split import stratified_split
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import (
    COSINE_SCALE,
    HIDDEN_WIDTH,
    LEARNING_RATE,
    Fit,
    TrainOptions,
    cosine_head,
    keep_best,
)
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.runtime.keras import import_keras

DROPOUT = 0.3
"""Share of the features that a step leaves out."""

LABEL_SMOOTHING = 0.1
"""Share of a label that is spread over all classes (Szegedy et al. 2016)."""

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

    A step takes one random view of each picture of its batch. Pictures whose label is -1 have no
    class; they are left out, unless none has a class. ``views`` is the number of views that the
    head makes an embedding of. ``progress`` is called with 1 after each epoch.

    Raises:
        ModelError: a feature is not finite, or no epoch has a finite loss.
    """
    if not all(np.isfinite(picture).all() for picture in features):
        raise ModelError("there are features that are no finite numbers; delete the feature cache")
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        return _principal(features, views)
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    network = _network(keras, features.shape[2], classes)
    network.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=LABEL_SMOOTHING
        ),
    )
    kept, held = (
        rows[part]
        for part in stratified_split(labels[rows], options.validation_split, options.seed)
    )
    truth = np.eye(classes, dtype=np.float32)[labels]
    validation = None
    if len(held):
        samples = features[held, :views].astype(np.float32)
        validation = (
            samples.reshape(-1, samples.shape[2]),
            np.repeat(truth[held], samples.shape[1], axis=0),
        )
    history = keep_best(
        network,
        _batches(features, truth, kept, options),
        validation=validation,
        epochs=options.epochs,
        progress=progress,
        steps_per_epoch=-(-len(kept) // options.batch_size),
        shuffle=False,
    )
    return Fit(cosine_head(network, views=views), *history)


def _network(keras: Any, feature_width: int, classes: int) -> Any:
    layers = keras.layers
    features = keras.Input((feature_width,))
    x = layers.Dropout(DROPOUT)(features)
    x = layers.Dense(HIDDEN_WIDTH, activation="relu", name="hidden")(x)
    x = layers.UnitNormalization()(layers.Dense(EMBEDDING_DIM, name="embedding")(x))
    directions = layers.Dense(classes, use_bias=False, kernel_constraint="unit_norm")
    return keras.Model(features, layers.Rescaling(COSINE_SCALE)(directions(x)))


def _batches(
    features: Array, truth: NDArray[np.float32], rows: NDArray[np.intp], options: TrainOptions
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield endless shuffled batches of pictures, a random view of each."""
    generator = np.random.default_rng(options.seed)
    while True:
        order = generator.permutation(rows)
        for start in range(0, len(order), options.batch_size):
            batch = order[start : start + options.batch_size]
            seen = generator.integers(0, features.shape[1], len(batch))
            yield features[batch, seen].astype(np.float32), truth[batch]


def _principal(features: Array, views: int) -> Fit:
    """Return the projection to the principal components of the mean over a picture's views.

    The loss is the share of the variance that it leaves out.
    """
    means = np.stack([picture.mean(axis=0, dtype=np.float64) for picture in features])
    centre = means.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(means - centre, rowvar=False, bias=True))
    chosen = directions[:, ::-1][:, :EMBEDDING_DIM]
    largest = np.abs(chosen).argmax(axis=0)
    chosen = chosen * np.sign(chosen[largest, np.arange(chosen.shape[1])])
    kernel = np.zeros((len(centre), EMBEDDING_DIM), np.float32)
    kernel[:, : chosen.shape[1]] = chosen
    head = Head(kernel, (-centre @ kernel).astype(np.float32), relu=False, views=views)
    total = max(float(variances.sum()), np.finfo(np.float64).tiny)
    left_out = 1 - float(variances[::-1][:EMBEDDING_DIM].sum()) / total
    return Fit(head, [left_out], [], 1)
