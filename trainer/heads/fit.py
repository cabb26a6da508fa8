"""Fit of a head on frozen features: the loss, the optimiser and the choice of the best epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.split import stratified_split
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.batches import Samples, batches
from geosim.trainer.heads.head import EMBEDDING_DIM, HEADS, Head, Hidden
from geosim.trainer.rows import Rows, parts
from geosim.trainer.runtime.keras import STEPPING, import_keras

LEARNING_RATE = 1e-3
"""Adam's learning rate, Keras' default."""

HIDDEN_WIDTH = 512
"""Width of the cosine head's hidden layer."""

COSINE_SCALE = 16.0
"""Factor of the cosines before the softmax."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of a training."""

    epochs: int = 20
    batch_size: int = 64
    validation_split: float = 0.0  # share held out to choose the best epoch; 0: by training loss
    seed: int = 0  # of the split, the initial weights and the order
    head: str = HEADS[0]  # a name in `HEADS`; a backbone trained end to end has its own head


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted head."""

    head: Head  # of the best epoch
    loss: list[float]  # of each epoch
    validation_loss: list[float]  # of each epoch; empty without held-out images
    best_epoch: int  # from 1
    loss_name: str = "cross-entropy"


def fit_head(
    features: NDArray[np.float32] | Rows,
    labels: NDArray[np.int32],
    classes: int,
    options: TrainOptions,
    *,
    width: int = EMBEDDING_DIM,
    progress: Callable[[int], object] = lambda _: None,
) -> Fit:
    """Fit a head on ``(n, feature_width) float32`` features under a softmax; keep the best epoch.

    ``dense-relu`` is ``Dense(width, relu, name="embedding")`` and a softmax. ``cosine`` is a hidden
    layer, a linear embedding of unit norm, and a softmax over its scaled cosines with one learned
    direction per class. ``progress`` is called with 1 after each epoch.

    Raises:
        ModelError: the head is unknown, a feature is not finite, or no epoch has a finite loss.
    """
    if options.head not in HEADS:
        raise ModelError(f"unknown head {options.head!r}; expected one of {', '.join(HEADS)}")
    check_finite(features)
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    network = _network(keras, features.shape[1], width, classes, options.head)
    network.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=options.head == "cosine"),
        **STEPPING,
    )
    kept, held = stratified_split(labels, options.validation_split, options.seed)
    learned, validation = split_batches(
        lambda rows: (features[rows], labels[rows]), kept, held, options.batch_size
    )
    history = keep_best(
        network,
        learned,
        validation=validation,
        shuffle=False,  # the batches are
        epochs=options.epochs,
        progress=progress,
    )
    if options.head == "dense-relu":
        return Fit(Head(*_weights(network, "embedding")), *history)
    return Fit(cosine_head(network), *history)


def check_finite(features: NDArray[Any] | Rows) -> None:
    """Raise `ModelError` if a feature is not finite."""
    if not all(np.isfinite(features[part]).all() for part in parts(features)):
        raise ModelError("there are features that are no finite numbers; delete the feature cache")


def split_batches(
    samples: Samples, learned: NDArray[np.intp], held: NDArray[np.intp], size: int
) -> tuple[Any, Any]:
    """Return the batches to learn from, and those held out, None without any, of samples."""

    def of(rows: NDArray[np.intp], *, shuffle: bool) -> Any:
        return batches(lambda numbers: samples(rows[numbers]), len(rows), size, shuffle=shuffle)

    return of(learned, shuffle=True), of(held, shuffle=False) if len(held) else None


def keep_best(
    network: Any,
    *data: Any,
    validation: Any,
    epochs: int,
    progress: Callable[[int], object],
    **options: Any,
) -> tuple[list[float], list[float], int]:
    """Fit a compiled Keras model and restore the weights of its best epoch.

    The best epoch has the lowest validation loss, or training loss where nothing is held out.
    ``data`` is inputs and targets, or one iterator of batches; ``validation`` the same, as one
    value, or None. ``options`` are those of Keras' ``fit``. Return the training losses, the
    validation losses and the best epoch, as in `Fit`.

    Raises:
        ModelError: no epoch has a finite loss.
    """
    keras = import_keras()
    monitor = "loss" if validation is None else "val_loss"
    best = keras.callbacks.EarlyStopping(
        monitor=monitor, mode="min", patience=epochs, restore_best_weights=True
    )
    report = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: progress(1))
    # TensorFlow traces a step twice that makes the optimiser's variables.
    network.optimizer.build(network.trainable_variables)
    history = network.fit(
        *data,
        validation_data=validation,
        epochs=epochs,
        callbacks=[best, report],
        verbose=0,
        **options,
    ).history
    losses = np.array(history[monitor], dtype=np.float64)
    if not np.isfinite(losses).any():
        raise ModelError(
            "training gave no finite loss; delete the feature cache, or try another --seed"
        )
    loss, held = ([float(one) for one in history.get(key, [])] for key in ("loss", "val_loss"))
    return loss, held, int(np.nanargmin(losses)) + 1


def _network(keras: Any, feature_width: int, width: int, classes: int, head: str) -> Any:
    """Return the Keras model to fit."""
    layers = keras.layers
    features = keras.Input((feature_width,))
    if head == "dense-relu":
        x = layers.Dense(width, activation="relu", name="embedding")(features)
        return keras.Model(features, layers.Dense(classes, activation="softmax")(x))
    return keras.Model(features, cosine_layers(features, width, classes)[0])


def cosine_layers(features: Any, width: int, classes: int) -> tuple[Any, Any]:
    """Return the logits and the embedding of the ``cosine`` head, layers on a tensor of Keras."""
    layers = import_keras().layers
    x = layers.Dense(HIDDEN_WIDTH, activation="relu", name="hidden")(features)
    embedding = layers.UnitNormalization()(layers.Dense(width, name="embedding")(x))
    directions = layers.Dense(classes, use_bias=False, kernel_constraint="unit_norm")
    return layers.Rescaling(COSINE_SCALE)(directions(embedding)), embedding


def cosine_head(network: Any) -> Head:
    """Return the head of a Keras model with the layers ``hidden`` and ``embedding``."""
    hidden = Hidden(*_weights(network, "hidden"))
    return Head(*_weights(network, "embedding"), relu=False, hidden=hidden)


def _weights(network: Any, layer: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    kernel, bias = network.get_layer(layer).get_weights()
    return np.ascontiguousarray(kernel), np.ascontiguousarray(bias)
