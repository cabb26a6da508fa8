"""Batches that are read when they are needed: the samples and the order of Keras' own arrays."""

from typing import Any

import numpy as np

from geosim.trainer.heads.batches import batches
from geosim.trainer.heads.fit import keep_best
from geosim.trainer.runtime.keras import import_keras


def fitted(*, in_batches: bool) -> list[Any]:
    keras = import_keras()
    random = np.random.default_rng(0)
    features, labels = random.random((45, 8), np.float32), random.integers(0, 3, 45)
    keras.utils.set_random_seed(7)
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer="adam", loss=loss)
    more: dict[str, Any] = {"validation": None, "epochs": 3, "progress": lambda _: None}
    if in_batches:
        data = batches(lambda at: (features[at], labels[at]), 45, 10, shuffle=True)
        keep_best(network, data, shuffle=False, **more)
    else:
        keep_best(network, features, labels, batch_size=10, **more)
    return list(network.get_weights())


def test_a_fit_in_batches_is_that_on_arrays_to_the_last_bit() -> None:
    for one, other in zip(fitted(in_batches=True), fitted(in_batches=False), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_shuffling_the_samples_come_in_order() -> None:
    data = batches(lambda at: (at * 2, (at, -at)), 5, 2, shuffle=False)
    found = [(x.numpy().tolist(), y.numpy().tolist()) for x, (y, _) in data]
    assert found == [([0, 2], [0, 1]), ([4, 6], [2, 3]), ([8], [4])]
