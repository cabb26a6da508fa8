"""``tile-resnet``: a small residual network for small tiles, trained end to end.

Training turns and mirrors tiles at random; an embedding is the mean over all views (`views.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.backbones.views import VIEWS, view_averaged, view_of
from geosim.trainer.data.split import stratified_split
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import COSINE_SCALE, Fit, TrainOptions, keep_best
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.runtime.choice import training_policy
from geosim.trainer.runtime.keras import KerasBackbone, import_keras

STEM = 32
"""Filters of the first convolution, which has stride 2."""

WIDTHS = (64, 128)
"""Filters of each stage of residual blocks; every stage but the first has stride 2."""

BLOCKS = (1, 1)
"""Residual blocks per stage."""

PIXEL_MEAN, PIXEL_SCALE = 127.0, 64.0
"""Mean and scale of pixel values, 0..255, for about zero mean and unit variance."""

LEARNING_RATE = 3e-3
"""AdamW's learning rate at the end of the warm-up."""

WEIGHT_DECAY = 0.05

BETA_2 = 0.99
"""AdamW's decay of the second moment."""

MOMENTUM = 0.95
"""Momentum of the moving averages of batch normalisation."""

WARM_UP = 0.15
"""Share of the steps in which the learning rate rises; then it falls as a cosine to zero."""

OPTIMIZER = f"AdamW, rate {LEARNING_RATE}, decay {WEIGHT_DECAY}, warm-up and cosine to zero"

CUTMIX_PROBABILITY = 0.5
"""Probability that another tile covers part of a tile, as in CutMix (Yun et al. 2019)."""

CUTMIX_MAX_WIDTH = 0.5
"""Largest share of a tile's width that the other one covers; labels are mixed by the same share."""


def build(size: int, *, width: int = EMBEDDING_DIM) -> Any:
    """Build the graph from ``(n, size, size, 3)`` pixels 0..255 to ``(n, width)``.

    The output is the mean over all views of a tile, L2 norm at most 1.
    """
    return view_averaged(_network(size, width))


def _network(size: int, width: int, *, policy: str = "float32") -> Any:
    """Build the network for one view, L2 norm 1; ``policy`` is Keras' precision policy."""
    keras = import_keras()
    layers = keras.layers

    def convolve(x: Any, filters: int, kernel: int, stride: int = 1, gamma: str = "ones") -> Any:
        options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
        x = layers.Conv2D(filters, kernel, stride, dtype=policy, **options)(x)
        return layers.BatchNormalization(momentum=MOMENTUM, gamma_initializer=gamma, dtype=policy)(
            x
        )

    def relu(x: Any) -> Any:
        return layers.ReLU(dtype=policy)(x)

    def block(x: Any, filters: int, stride: int) -> Any:
        # A zero gamma makes a block start as its shortcut (Goyal et al. 2017, 5.1).
        y = convolve(relu(convolve(x, filters, 3, stride)), filters, 3, gamma="zeros")
        if stride > 1:
            x = layers.AveragePooling2D(stride, padding="same", dtype=policy)(x)
        if x.shape[-1] != filters:
            x = convolve(x, filters, 1)
        return relu(layers.Add(dtype=policy)([x, y]))

    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / PIXEL_SCALE, -PIXEL_MEAN / PIXEL_SCALE, dtype=policy)(image)
    x = relu(convolve(x, STEM, 3, 2))
    for stage, (filters, count) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
        for number in range(count):
            x = block(x, filters, 2 if stage and not number else 1)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = layers.Dense(width, use_bias=False)(x)
    x = layers.UnitNormalization()(layers.BatchNormalization(momentum=MOMENTUM)(x))
    return keras.Model(image, x, name="tile_resnet")


def fit(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int32],
    classes: int,
    options: TrainOptions,
    *,
    width: int = EMBEDDING_DIM,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[KerasBackbone, Fit]:
    """Train the network under a cosine softmax and keep the best epoch; see `FitBackbone`.

    Raises:
        ModelError: no epoch has a finite loss, or a batch has less than two images.
    """
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    kept, held = stratified_split(labels, options.validation_split, options.seed)
    epochs, batch = options.epochs, min(options.batch_size, len(kept))
    if batch < 2:
        raise ModelError(
            f"this backbone cannot be trained in batches of {batch}; it takes 2 images or more"
        )
    steps = len(kept) // batch
    truth = np.eye(classes, dtype=np.float32)[labels]
    trained = _network(pixels.shape[1], width, policy=training_policy())
    directions = keras.layers.Dense(
        classes, use_bias=False, kernel_initializer="orthogonal", kernel_constraint="unit_norm"
    )
    logits = keras.layers.Rescaling(COSINE_SCALE)(directions(trained.output))
    network = keras.Model(trained.input, logits)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, round(epochs * steps * (1 - WARM_UP))),
        warmup_target=LEARNING_RATE,
        warmup_steps=max(1, round(epochs * steps * WARM_UP)),
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, beta_2=BETA_2)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    network.compile(optimizer, loss=loss, jit_compile=False)
    history = keep_best(
        network,
        _batches(pixels[kept], truth[kept], batch, options.seed),
        validation=(pixels[held], truth[held]) if len(held) else None,
        epochs=epochs,
        progress=progress,
        steps_per_epoch=steps,
        shuffle=False,
    )
    exact = build(pixels.shape[1], width=width)
    exact.set_weights(trained.get_weights())
    return KerasBackbone(exact), Fit(Head.identity(width), *history)


def _batches(
    pixels: NDArray[np.uint8], truth: NDArray[np.float32], size: int, seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield endless shuffled batches of tiles in random views, mixed by CutMix."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(pixels))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            images, views = pixels[rows], generator.integers(0, VIEWS, size)
            for view in range(1, VIEWS):
                images[views == view] = view_of(images[views == view], view)
            yield _cut_mix(images, truth[rows], generator)


def _cut_mix(
    images: NDArray[np.uint8], truth: NDArray[np.float32], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Replace a strip of some tiles by that of another tile of the batch."""
    count, side = len(images), images.shape[2]
    covered = generator.uniform(0, CUTMIX_MAX_WIDTH, count) * (
        generator.random(count) < CUTMIX_PROBABILITY
    )
    columns = np.rint(covered * side).astype(np.int64)
    strip = (np.arange(side) < columns[:, None])[:, None, :, None]
    share = (columns / side).astype(np.float32)[:, None]
    return (
        np.where(strip, images[::-1], images),
        (truth * (1 - share) + truth[::-1] * share).astype(np.float32),
    )


SPEC = register(
    BackboneSpec(
        name="tile-resnet",
        summary="small residual network trained from scratch, for tiles of 16 to 64 pixels",
        input_size=28,
        feature_width=EMBEDDING_DIM,
        version=2,
        licence="Apache-2.0",
        build=lambda size: KerasBackbone(build(size)),
        fit=fit,
        optimizer=OPTIMIZER,
        epochs=80,
        batch_size=128,
    )
)
