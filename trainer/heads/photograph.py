"""Fit of a head on the features of several views of each picture.

With classes, a cosine head learns from the mean of a picture's views: to tell the classes, and by
the supervised contrastive loss (Khosla et al. 2020) to bring pictures of one class close and move
those of others apart. A head that is to see fewer of the views, or pictures without a class, is
fitted after it: as in distillation (Hinton et al. 2015) it also learns the first head's embedding,
so that few views come close to all. Without classes: `trainer/heads/unlabelled.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.split import stratified_split
from geosim.trainer.heads.fit import (
    Fit,
    TrainOptions,
    check_finite,
    cosine_head,
    cosine_layers,
    keep_best,
    split_batches,
)
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.heads.unlabelled import fit_unlabelled
from geosim.trainer.rows import Rows, give_back, new_array, parts
from geosim.trainer.runtime.keras import STEPPING, import_keras

LEARNING_RATE = 1.4e-3
"""Adam's learning rate at the start; it falls to zero as a cosine."""

DROPOUT = 0.3
"""Share of the features that a step leaves out."""

LABEL_SMOOTHING = 0.1
"""Share of a label that is spread over all classes (Szegedy et al. 2016)."""

TEMPERATURE = 0.1
"""Divisor of the cosines in the contrastive loss."""

DISTILLATION = 4.0
"""Weight of the distance to the teacher's embedding, 1 minus the cosine, beside the losses of the
classes."""

Array = NDArray[np.float16] | NDArray[np.float32] | Rows


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
    check_finite(features)
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

    truth = np.eye(classes, dtype=np.float32)[labels] * (labels >= 0)[:, None]
    whole = _means(features, features.shape[1])
    head, history = _fit(whole, truth, None, (kept, held), options, report)
    if twice:
        seen = whole if views == features.shape[1] else _means(features, views)
        learned = np.setdiff1d(np.arange(len(labels)), held)
        target = np.concatenate([head(whole[part]) for part in parts(whole)])
        head, history = _fit(seen, truth, target, (learned, held), options, report)
    name = "cross-entropy and contrastive loss"
    if twice:
        name += ", and distance to the embedding of all views"
    return Fit(replace(head, views=views), *history, name)


def _fit(
    seen: Rows,
    truth: NDArray[np.float32],
    target: NDArray[np.float32] | None,
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    options: TrainOptions,
    progress: Callable[[int], object],
) -> tuple[Head, tuple[list[float], list[float], int]]:
    """Fit a cosine head on one mean of each picture; return it and the history.

    ``truth`` is the one-hot classes, zeros where a picture has none, and ``target`` the embeddings
    to come close to. ``rows`` are learned and held out.
    """
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    features = keras.Input((seen.shape[1],))
    dropped = keras.layers.Dropout(DROPOUT)(features)
    classes = truth.shape[1]
    network = keras.Model(features, list(cosine_layers(dropped, EMBEDDING_DIM, classes)))
    learned, held = rows
    steps = options.epochs * -(-len(learned) // options.batch_size)
    class_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=LABEL_SMOOTHING
    )
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss=[class_loss, _embedding_loss(classes)],
        **STEPPING,
    )
    wanted = truth if target is None else np.concatenate([truth, target], axis=1)
    labelled, each = truth.sum(axis=1), np.ones(len(truth), np.float32)

    def samples(at: NDArray[np.int64]) -> tuple[Any, ...]:
        return seen[at], (truth[at], wanted[at]), (labelled[at], each[at])

    # TensorFlow traces a step twice that makes variables, as the first sum of several losses does.
    some, true, weights = samples(learned[:1])
    network.compute_loss(some, true, network(some), weights)
    batches, validation = split_batches(samples, learned, held, options.batch_size)
    history = keep_best(
        network,
        batches,
        validation=validation,
        shuffle=False,  # the batches are
        epochs=options.epochs,
        progress=progress,
    )
    return cosine_head(network), history


def _means(features: Array, views: int) -> Rows:
    """Return the mean of the first views' features of each picture, ``(n, feature_width)``."""
    folder = features.folder if isinstance(features, Rows) else None
    means = new_array((len(features), features.shape[2]), np.float32, folder)
    for part in parts(features):
        means[part] = features[part][:, :views].mean(axis=1, dtype=np.float32)
        give_back(means)
    return Rows(means, np.arange(len(means)))


def _embedding_loss(classes: int) -> Callable[[Any, Any], Any]:
    """Return the loss of each embedding of a batch, of L2 norm 1.

    What is wanted of a picture is the one-hot class, zeros where it has none, and behind it
    nothing or an embedding to come close to.
    """

    def loss(wanted: Any, embedding: Any) -> Any:
        contrast = _contrast(wanted[:, :classes], embedding)
        if wanted.shape[1] == classes:
            return contrast
        cosine = import_keras().ops.sum(wanted[:, classes:] * embedding, axis=1)
        return contrast + DISTILLATION * (1.0 - cosine)

    return loss


def _contrast(truth: Any, embedding: Any) -> Any:
    """Return the supervised contrastive loss of each picture; 0 without another of its class.

    It is the mean over the others of its class of minus the logarithm of their share in the
    softmax over all other pictures with a class, ``L_out`` of Khosla et al. 2020.
    """
    ops = import_keras().ops
    others = (1.0 - ops.eye(ops.shape(truth)[0])) * ops.sum(truth, axis=1)
    same = ops.matmul(truth, ops.transpose(truth)) * others
    logits = ops.matmul(embedding, ops.transpose(embedding)) / TEMPERATURE
    logits = ops.where(others > 0, logits, -1e9)
    shares = logits - ops.logsumexp(logits, axis=1, keepdims=True)
    found = ops.sum(ops.where(same > 0, shares, 0.0), axis=1)
    return -found / ops.maximum(ops.sum(same, axis=1), 1.0)
