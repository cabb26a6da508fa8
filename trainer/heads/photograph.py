"""Fit of a head on the features of several views of each picture.

With classes, `HEADS` cosine heads learn from the mean of a picture's views and become one, whose
errors are fewer (Hansen and Salamon 1990). A head that is to see fewer of the views, or pictures
without a class, is fitted after it: as in distillation (Hinton et al. 2015) it learns the classes
and the first one's embedding, so that few views come close to all. Without classes:
`trainer/heads/unlabelled.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
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
from geosim.trainer.heads.head import EMBEDDING_DIM, Head, Hidden
from geosim.trainer.heads.unlabelled import fit_unlabelled
from geosim.trainer.runtime.keras import import_keras

LEARNING_RATE = 1.4e-3
"""Adam's learning rate at the start; it falls to zero as a cosine."""

DROPOUT = 0.3
"""Share of the features that a step leaves out."""

LABEL_SMOOTHING = 0.1
"""Share of a label that is spread over all classes (Szegedy et al. 2016)."""

HEADS = 2
"""Heads with other initial weights and other features left out, fitted at once and joined."""

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
    without classes is all of them. The losses are those of the last fit, the means of its heads.

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
    head, history = _fit(whole, [truth], (kept, held), options, report)
    if twice:
        target = head(whole)
        seen = whole if views == features.shape[1] else _means(features, views)
        learned = np.setdiff1d(np.arange(len(labels)), held)
        head, history = _fit(
            seen, [truth, target], (learned, held), options, report, labelled=labels >= 0
        )
    name = "cross-entropy and distance to the embedding of all views" if twice else "cross-entropy"
    return Fit(replace(head, views=views), *history, name)


def _fit(
    seen: NDArray[np.float32],
    wanted: list[NDArray[np.float32]],
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    options: TrainOptions,
    progress: Callable[[int], object],
    *,
    labelled: NDArray[np.bool_] | None = None,
) -> tuple[Head, tuple[list[float], list[float], int]]:
    """Fit `HEADS` cosine heads on one mean of each picture; return them as one and the history.

    ``wanted`` is the one-hot classes, which mean nothing where ``labelled`` is false, and with a
    second array the embedding to come close to. ``rows`` are learned and held out.
    """
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    features = keras.Input((seen.shape[1],))
    heads = [
        cosine_layers(
            keras.layers.Dropout(DROPOUT)(features), EMBEDDING_DIM, wanted[0].shape[1], number
        )
        for number in range(HEADS)
    ]
    # The losses of the classes, then those of the embeddings.
    outputs = [head[kind] for kind in range(len(wanted)) for head in heads]
    wanted = [one for one in wanted for _ in heads]
    network = keras.Model(features, outputs)
    learned, held = rows
    steps = options.epochs * -(-len(learned) // options.batch_size)
    class_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=LABEL_SMOOTHING
    )
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss=[*[class_loss] * HEADS, *[_distance] * HEADS][: len(wanted)],
        loss_weights=[*[1.0 / HEADS] * HEADS, *[DISTILLATION / HEADS] * HEADS][: len(wanted)],
    )

    def samples(part: NDArray[np.intp]) -> tuple[Any, ...]:
        if labelled is None:
            return seen[part], [one[part] for one in wanted], None
        told = [labelled[part].astype(np.float32)] * HEADS + [np.ones(len(part))] * HEADS
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
    return join([cosine_head(network, number) for number in range(HEADS)], x), history


def join(heads: Sequence[Head], features: NDArray[np.float32]) -> Head:
    """Return one head from several linear ones with a hidden layer.

    Their embeddings are laid side by side, each in units of its root mean square on ``features``,
    ``(n, feature_width)``, and projected on the 32 directions with the largest second moments
    there: no other map to 32 dimensions keeps more of them.
    """
    layers = [head.hidden for head in heads if head.hidden is not None]
    hidden = [np.maximum(features @ one.kernel + one.bias, 0.0) for one in layers]
    raw = [one @ head.kernel + head.bias for one, head in zip(hidden, heads, strict=True)]
    units = [np.sqrt(np.square(one).sum(axis=1).mean()) or np.float32(1.0) for one in raw]
    together = np.concatenate(
        [one / unit for one, unit in zip(raw, units, strict=True)], axis=1, dtype=np.float64
    )
    _, directions = np.linalg.eigh(together.T @ together)
    parts = np.split(directions[:, : -EMBEDDING_DIM - 1 : -1], len(heads))
    kernel, bias = (
        [
            getattr(head, name) / unit @ part
            for head, unit, part in zip(heads, units, parts, strict=True)
        ]
        for name in ("kernel", "bias")
    )
    return Head(
        np.concatenate(kernel).astype(np.float32),
        np.sum(bias, axis=0, dtype=np.float32),
        relu=False,
        hidden=Hidden(
            np.concatenate([one.kernel for one in layers], axis=1),
            np.concatenate([one.bias for one in layers]),
        ),
    )


def _means(features: Array, views: int) -> NDArray[np.float32]:
    """Return the mean of the first views' features of each picture, ``(n, feature_width)``."""
    return np.asarray(features[:, :views].mean(axis=1, dtype=np.float32))


def _distance(target: Any, embedding: Any) -> Any:
    """Return 1 minus the cosine of vectors of L2 norm 1."""
    return 1.0 - import_keras().ops.sum(target * embedding, axis=-1)
