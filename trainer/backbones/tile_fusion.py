"""``tile-fusion``: the concatenated embeddings of two networks, for small tiles.

The networks are `tile_resnet.py`, trained on the tiles, and a frozen `efficientnet_lite.py` under a
cosine head, for which the graph enlarges the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones import efficientnet_lite, tile_resnet
from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.heads.fit import HIDDEN_WIDTH, LEARNING_RATE, Fit, TrainOptions, fit_head
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.progress import progress_bar
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.runtime.keras import KerasBackbone, import_keras

WIDTH = EMBEDDING_DIM // 2
"""Width of each network's part of the embedding."""

TILE_WEIGHT = 0.9
"""Weight of the tile network's cosine in the sum, 0 to 1.

Chosen on the queries of seed 2 of the geological similarity data set's overlap-free splits.
"""

HEAD_EPOCHS, HEAD_BATCH = 20, 64
"""Epochs and batch size of the frozen network's head, independent of the tile network's."""

OPTIMIZER = (
    f"{tile_resnet.OPTIMIZER}; head of {efficientnet_lite.SPEC.name}: Adam, rate {LEARNING_RATE}, "
    f"{HEAD_EPOCHS} epochs in batches of {HEAD_BATCH}"
)

BLOCK = 1024
"""Tiles embedded per call while fitting."""


def build(size: int) -> Any:
    """Build the graph from ``(n, size, size, 3)`` pixels 0..255 to ``(n, 32)``, L2 norm 1.

    The cosine of two outputs is the mean of both networks' cosines, weighted by `TILE_WEIGHT`.
    """
    return _fused(tile_resnet.build(size, width=WIDTH), _enlarged(efficientnet_lite.build(), size))


def fit(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int32],
    classes: int,
    options: TrainOptions,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[KerasBackbone, Fit]:
    """Train the tile network, then the cosine head on the frozen one; see `FitBackbone`.

    The options and the losses are those of the tile network.

    Raises:
        ModelError: no epoch has a finite loss.
        WeightsError: the frozen network's weights are missing or damaged.
    """
    frozen = KerasBackbone(efficientnet_lite.build())
    efficientnet_lite.load(frozen, efficientnet_lite.weights_file())
    enlarged = _enlarged(frozen.model, pixels.shape[1])
    tile, fitted = tile_resnet.fit(pixels, labels, classes, options, width=WIDTH, progress=progress)
    features = _features(enlarged, pixels)
    own = replace(options, epochs=HEAD_EPOCHS, batch_size=HEAD_BATCH, head="cosine")
    with progress_bar("head", own.epochs, unit="epoch") as bar:
        fitted_head = fit_head(features, labels, classes, own, width=WIDTH, progress=bar.update)
    head = fitted_head.head.arrays()
    fused = _fused(tile.model, enlarged)
    fused.get_layer("hidden").set_weights([head["hidden_kernel"], head["hidden_bias"]])
    fused.get_layer("embedding").set_weights([head["kernel"], head["bias"]])
    return KerasBackbone(fused), replace(fitted, head=Head.identity())


def _fused(tile: Any, enlarged: Any) -> Any:
    """Join both networks in one model, the frozen one under a cosine head."""
    keras = import_keras()
    layers = keras.layers
    image = keras.Input(tile.input_shape[1:], name="image")
    x = layers.Dense(HIDDEN_WIDTH, activation="relu", name="hidden")(enlarged(image))
    x = layers.Dense(WIDTH, name="embedding")(x)
    parts = [
        layers.Rescaling(weight**0.5)(layers.UnitNormalization()(part))
        for part, weight in ((tile(image), TILE_WEIGHT), (x, 1 - TILE_WEIGHT))
    ]
    return keras.Model(image, layers.Concatenate()(parts), name="tile_fusion")


def _enlarged(frozen: Any, size: int) -> Any:
    """Prepend a bilinear resize of tiles to the frozen network's input size, as in `prepare`."""
    keras = import_keras()
    image = keras.Input((size, size, 3), name="image")
    large = keras.ops.image.resize(image, (efficientnet_lite.INPUT_SIZE,) * 2)
    return keras.Model(image, frozen(large), name="enlarged")


def _features(network: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the frozen network's features, ``(n, 1280) float32``."""
    backbone = choose_runtime(KerasBackbone(network), efficientnet_lite.SPEC.precision)
    features = np.empty((len(pixels), efficientnet_lite.FEATURES), dtype=np.float32)
    with progress_bar("features", len(pixels)) as bar:
        for start in range(0, len(pixels), BLOCK):
            part = pixels[start : start + BLOCK]
            features[start : start + BLOCK] = backbone(part)
            bar.update(len(part))
    return features


SPEC = register(
    BackboneSpec(
        name="tile-fusion",
        summary="tile-resnet beside a frozen efficientnet-lite0, the best for small tiles",
        input_size=28,
        feature_width=EMBEDDING_DIM,
        version=1,
        licence="Apache-2.0",
        build=lambda size: KerasBackbone(build(size)),
        find_weights=lambda: (efficientnet_lite.weights_file(),),
        fit=fit,
        optimizer=OPTIMIZER,
        precision="bf16",
        epochs=80,
        batch_size=128,
    )
)
