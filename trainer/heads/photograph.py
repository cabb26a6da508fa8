"""Fit of a head on the features of several views of each picture.

With classes in two steps. The teacher, a cosine head, learns from every view by itself. The head
that is kept takes the mean of a picture's first views; it learns the classes and, as in
distillation (Hinton et al. 2015), the teacher's embedding of all views, so that few views come
close to many. Without classes: `trainer/heads/unlabelled.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

BLOCK = 1024
"""Pictures that the teacher embeds at once; bounds the memory."""

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
    -1 has no class: it is learned from by the teacher's embedding of it alone, or, where no picture
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
        return Fit(head, [left_out], [], 1)
    kept, held = (
        labelled[part]
        for part in stratified_split(labels[labelled], options.validation_split, options.seed)
    )
    done = count(1)

    def report(_: int) -> None:
        if next(done) % 2 == 0:  # an epoch is one of the teacher and one of the head
            progress(1)

    pictures = _Pictures(features, np.eye(classes, dtype=np.float32)[labels], labels >= 0)
    target = _teach(pictures, kept, options, report)
    learned = np.setdiff1d(np.arange(len(labels)), held)
    return _distil(pictures, target, (learned, held), options, views, report)


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    """What is known of the pictures of a fit."""

    features: Array  # (n, T, feature_width)
    truth: NDArray[np.float32]  # (n, classes), one-hot
    labelled: NDArray[np.bool_]  # (n,), whether a row of `truth` means anything


def _teach(
    pictures: _Pictures,
    rows: NDArray[np.intp],
    options: TrainOptions,
    progress: Callable[[int], object],
) -> NDArray[np.float32]:
    """Fit the teacher and return its embedding of all pictures, ``(n, 32)``, L2 norm 1."""
    features, truth = pictures.features, pictures.truth
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    network = _network(keras, features.shape[2], truth.shape[1])
    classifier = keras.Model(network.input, network.output[0])
    classifier.compile(_optimizer(keras, options, _steps(rows, options)), loss=_class_loss(keras))

    def batches() -> Iterator[tuple[Any, Any]]:
        generator = np.random.default_rng(options.seed)
        for batch in _shuffled(rows, options.batch_size, generator):
            seen = generator.integers(0, features.shape[1], len(batch))
            yield features[batch, seen].astype(np.float32), truth[batch]

    keep_best(
        classifier,
        batches(),
        validation=None,
        epochs=options.epochs,
        progress=progress,
        steps_per_epoch=_steps(rows, options),
        shuffle=False,
    )
    embedder = keras.Model(network.input, network.output[1])
    total = np.zeros((len(features), EMBEDDING_DIM), np.float32)
    for view in range(features.shape[1]):
        for start in range(0, len(features), BLOCK):
            part = features[start : start + BLOCK, view].astype(np.float32)
            total[start : start + BLOCK] += embedder.predict_on_batch(part)
    norms = np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
    return np.asarray(total / norms)


def _distil(
    pictures: _Pictures,
    target: NDArray[np.float32],
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    options: TrainOptions,
    views: int,
    progress: Callable[[int], object],
) -> Fit:
    """Fit the head on the mean features of the first views; ``rows`` are learned and held out."""
    learned, held = rows
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    network = _network(keras, pictures.features.shape[2], pictures.truth.shape[1])
    network.compile(
        _optimizer(keras, options, _steps(learned, options)),
        loss=[_class_loss(keras), _distance],
        loss_weights=[1.0, DISTILLATION],
    )

    means = pictures.features[:, :views].mean(axis=1, dtype=np.float32)

    def samples(batch: NDArray[np.intp]) -> tuple[Any, Any, Any]:
        weights = pictures.labelled[batch].astype(np.float32)
        wanted = (pictures.truth[batch], target[batch])
        return means[batch], wanted, (weights, np.ones_like(weights))

    order = _shuffled(learned, options.batch_size, np.random.default_rng(options.seed))
    history = keep_best(
        network,
        (samples(batch) for batch in order),
        validation=samples(held) if len(held) else None,
        epochs=options.epochs,
        progress=progress,
        steps_per_epoch=_steps(learned, options),
        shuffle=False,
    )
    return Fit(cosine_head(network, views=views), *history)


def _network(keras: Any, feature_width: int, classes: int) -> Any:
    """Return the Keras model from features to the logits of the classes and the embedding."""
    features = keras.Input((feature_width,))
    seen = keras.layers.Dropout(DROPOUT)(features)
    return keras.Model(features, cosine_layers(seen, EMBEDDING_DIM, classes))


def _distance(target: Any, embedding: Any) -> Any:
    """Return 1 minus the cosine of vectors of L2 norm 1."""
    return 1.0 - import_keras().ops.sum(target * embedding, axis=-1)


def _class_loss(keras: Any) -> Any:
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)


def _optimizer(keras: Any, options: TrainOptions, steps: int) -> Any:
    """Return Adam with a rate that falls to zero as a cosine; ``steps`` are those of an epoch."""
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, options.epochs * steps)
    return keras.optimizers.Adam(rate)


def _steps(rows: NDArray[np.intp], options: TrainOptions) -> int:
    return -(-len(rows) // options.batch_size)


def _shuffled(
    rows: NDArray[np.intp], size: int, generator: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Yield endless batches of rows, shuffled anew after each pass."""
    while True:
        order = generator.permutation(rows)
        for start in range(0, len(order), size):
            yield order[start : start + size]
