"""The backbone for small tiles: a compact residual network, trained from scratch end to end.

Owns its graph, its augmentation and its fit. A tile of 28 x 28 pixels enlarged to 224 x 224 for an
ImageNet network holds no more than it did; this network reads it as it is, at a hundredth of the
arithmetic, and has never seen anything but rock.

Rock has no up: training turns and mirrors every tile at random, and an embedding is the mean over
all eight turns and mirror images (`trainer/backbones/views.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.backbones.views import VIEWS, turn_averaged, turned
from geosim.trainer.data.split import stratified_split
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import COSINE_SCALE, Fit, TrainOptions, keep_best
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.runtime.keras import KerasBackbone, import_keras

STEM = 32
"""Filters of the first convolution, which halves the sides."""

WIDTHS = (64, 128)
"""Filters of each stage of residual blocks; every stage but the first halves the sides."""

BLOCKS = (1, 1)
"""Residual blocks per stage."""

PIXEL_MEAN, PIXEL_SPREAD = 127.0, 64.0
"""What pixels are centred and scaled by: about zero mean and unit variance on rock."""

LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
WARM_UP = 0.15
"""Share of the steps over which the learning rate rises, before it falls as a cosine to zero."""

OPTIMIZER = f"AdamW, rate {LEARNING_RATE}, decay {WEIGHT_DECAY}, warm-up and cosine to zero"

MIXED = 0.5
"""Share of the tiles that another tile covers in part, as in CutMix (Yun et al. 2019).

On overlap-free splits of the geological similarity data set, seeds 0 to 2, P@10 is 0.9892 without
it and 0.9898 with it, k-NN accuracy 0.9896 and 0.9904, and better with each seed."""

MIXED_WIDTH = 0.5
"""Largest share of a tile's width that the other one covers; the labels are mixed alike."""


def build(size: int, *, width: int = EMBEDDING_DIM) -> Any:
    """Build what embeds: ``(n, size, size, 3)`` pixels 0..255 to ``(n, width)``.

    The output is the mean over all turns and mirror images of a tile, of L2 norm 1 at most.

    Args:
        size: side of the tiles in pixels.
        width: of the embedding.
    """
    return turn_averaged(_network(size, width))


def _network(size: int, width: int, *, policy: str = "float32") -> Any:
    """Build the network for a tile as it lies; its output has L2 norm 1.

    Args:
        size: side of the tiles in pixels.
        width: of the embedding.
        policy: Keras' precision policy; weights are float32 under any.
    """
    keras = import_keras()
    layers = keras.layers

    def convolve(x: Any, filters: int, kernel: int, stride: int = 1, gamma: str = "ones") -> Any:
        x = layers.Conv2D(
            filters,
            kernel,
            stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=policy,
        )(x)
        return layers.BatchNormalization(momentum=0.95, gamma_initializer=gamma, dtype=policy)(x)

    def relu(x: Any) -> Any:
        return layers.ReLU(dtype=policy)(x)

    def block(x: Any, filters: int, stride: int) -> Any:
        # Scaled by zero at first, a block starts as its shortcut (Goyal et al. 2017, 5.1).
        y = convolve(relu(convolve(x, filters, 3, stride)), filters, 3, gamma="zeros")
        if stride > 1:
            x = layers.AveragePooling2D(stride, padding="same", dtype=policy)(x)
        if x.shape[-1] != filters:
            x = convolve(x, filters, 1)
        return relu(layers.Add(dtype=policy)([x, y]))

    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / PIXEL_SPREAD, -PIXEL_MEAN / PIXEL_SPREAD, dtype=policy)(image)
    x = relu(convolve(x, STEM, 3, 2))
    for stage, (filters, count) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
        for number in range(count):
            x = block(x, filters, 2 if stage and not number else 1)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = layers.Dense(width, use_bias=False)(x)
    x = layers.UnitNormalization()(layers.BatchNormalization(momentum=0.95)(x))
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
    """Train the network under a cosine softmax; keep the best epoch.

    Args:
        pixels: ``(n, size, size, 3) uint8`` RGB.
        labels: ``(n,) int32``, 0 to ``classes - 1``.
        classes: number of classes.
        options: see `TrainOptions`.
        width: of the embedding.
        progress: called with 1 after each epoch.

    Returns:
        What `build` returns, trained, and how it got there.

    Raises:
        ModelError: no epoch had a finite loss, or a batch has less than two images.
    """
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    kept, held = stratified_split(labels, options.validation_split, options.seed)
    epochs, batch = options.epochs, min(options.batch_size, len(kept))
    if batch < 2:
        raise ModelError(
            f"batches of {batch} teach this backbone nothing; it takes 2 images or more"
        )
    steps = len(kept) // batch
    truth = np.eye(classes, dtype=np.float32)[labels]
    trained = _network(pixels.shape[1], width, policy="mixed_bfloat16")
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
    optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, beta_2=0.99)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta"])
    network.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    history = keep_best(
        network,
        _batches(pixels[kept], truth[kept], batch, options.seed),
        validation=(pixels[held], truth[held]) if len(held) else None,
        epochs=epochs,
        progress=progress,
        steps_per_epoch=steps,
        shuffle=False,  # the batches are
    )
    exact = build(pixels.shape[1], width=width)
    exact.set_weights(trained.get_weights())
    return KerasBackbone(exact), Fit(Head.identity(width), *history)


def _batches(
    pixels: NDArray[np.uint8], truth: NDArray[np.float32], size: int, seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield shuffled batches without end, tiles turned, mirrored and mixed at random."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(pixels))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            images, views = pixels[rows], generator.integers(0, VIEWS, size)
            for view in range(1, VIEWS):
                images[views == view] = turned(images[views == view], view)
            yield _mixed(images, truth[rows], generator)


def _mixed(
    images: NDArray[np.uint8], truth: NDArray[np.float32], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cover a strip of some tiles with that of another tile of the batch."""
    count, side = len(images), images.shape[2]
    covered = generator.uniform(0, MIXED_WIDTH, count) * (generator.random(count) < MIXED)
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
