"""Batches of samples for Keras' ``fit``, each read when it is needed.

Keras makes a tensor of an array, which holds all samples in memory once more. The order is the same
as that of an array with the same seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = Callable[[NDArray[np.int64]], Any]
"""Returns inputs, targets and perhaps weights of samples by number: tuples of arrays."""


def batches(samples: Samples, count: int, size: int, *, shuffle: bool) -> Any:
    """Return a data set of TensorFlow with ``count`` samples in batches of ``size``.

    ``shuffle`` draws another order for each pass.
    """
    import tensorflow as tf

    example = samples(np.arange(1))
    arrays = tf.nest.flatten(example)

    def order(_: Any) -> Any:
        numbers = tf.range(count, dtype=tf.int64)
        return tf.random.shuffle(numbers) if shuffle else numbers

    def read(numbers: Any) -> Any:
        found = tf.numpy_function(
            lambda at: tf.nest.flatten(samples(at)), [numbers], [one.dtype for one in arrays]
        )
        for tensor, array in zip(found, arrays, strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        return tf.nest.pack_sequence_as(example, found)

    numbers = tf.data.Dataset.range(1).map(order).prefetch(1)
    numbers = numbers.flat_map(lambda row: tf.data.Dataset.from_tensor_slices(row).batch(size))
    steps = tf.data.experimental.assert_cardinality(-(-count // size))
    return numbers.map(read).apply(steps).prefetch(tf.data.AUTOTUNE)
