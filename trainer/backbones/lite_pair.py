"""``efficientnet-lite-pair``: EfficientNet-Lite0 and -Lite2 side by side, frozen, with texture.

A network trained to name objects drops in its last layer much of what tells one rock from another.
So its pooled features stand beside statistics of two maps further inside: the mean and the spatial
standard deviation of the last projection, and the deviation of the last map at a sixteenth of the
input's side. What each adds is in tests/benches/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones import efficientnet_lite
from geosim.trainer.backbones.efficientnet_lite import LITE0, LITE2, Variant
from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.backbones.weights import read_state_dict
from geosim.trainer.runtime.keras import KerasBackbone, import_keras

PART_NORM = 20.0
"""L2 norm of each network's pooled features; about that of Lite0's own."""

TEXTURE_WEIGHT = 0.5
"""L2 norm of each of the statistics, in units of `PART_NORM`."""

VARIANTS = (LITE0, LITE2)


def build() -> Any:
    """Build the graph from ``(n, 260, 260, 3)`` pixels 0..255 to ``(n, 5296)``.

    The graph resizes pictures to Lite0's size, bilinear. For each network: 1,280 pooled features,
    then 320 or 352 means and as many deviations of the projection, and 672 or 720 deviations of the
    expansion. Each statistic is in units of what the batch normalisation of its channel expects;
    deviations are about their mean, so that the contrast of the picture counts little.
    """
    keras = import_keras()
    layers, ops = keras.layers, keras.ops
    size = LITE2.input_size
    image = keras.Input((size, size, 3), name="image")
    parts = []
    for variant in VARIANTS:
        side = variant.input_size
        seen = image if side == size else ops.image.resize(image, (side, side))
        pooled, projection, expansion = _network(variant)(seen)
        means = ops.mean(projection, axis=(1, 2))
        deviations = ops.std(projection, axis=(1, 2)), ops.std(expansion, axis=(1, 2))
        mean, *spread = (
            layers.BatchNormalization(center=False, scale=False, name=name)(statistic)
            for name, statistic in zip(_names(variant), (means, *deviations), strict=True)
        )
        spread = [one - ops.mean(one, axis=-1, keepdims=True) for one in spread]
        norms = PART_NORM, *[TEXTURE_WEIGHT * PART_NORM] * 3
        parts += [
            layers.Rescaling(norm)(layers.UnitNormalization()(part))
            for norm, part in zip(norms, (pooled, mean, *spread), strict=True)
        ]
    return keras.Model(image, layers.Concatenate()(parts), name="efficientnet_lite_pair")


def _network(variant: Variant) -> Any:
    """Return the network with three outputs: pooled features, projection and expansion."""
    keras = import_keras()
    whole = efficientnet_lite.build(variant)
    projection, expansion = _blocks(variant)
    inside = (
        whole.get_layer(f"{projection}_project_conv"),
        whole.get_layer(f"{expansion}_expand_relu6"),
    )
    outputs = [whole.output, *(layer.output for layer in inside)]
    return keras.Model(whole.input, outputs, name=variant.model_name)


def _blocks(variant: Variant) -> tuple[str, str]:
    """Return the names of the last block and of that which goes to a 32nd of the input's side."""
    repeats = [stage[-1] for stage in efficientnet_lite.stages(variant)]
    return f"block{sum(repeats) - 1}", f"block{sum(repeats[:-2])}"


def _names(variant: Variant) -> list[str]:
    """Return the names of the layers that put the statistics in units of their channels."""
    kinds = ("project_mean", "project_deviation", "expand_deviation")
    return [f"{variant.model_name}_{kind}" for kind in kinds]


def weights_files() -> tuple[Path, Path]:
    """Return the paths of both installed weights files.

    Raises:
        WeightsError: a package or file is not installed.
    """
    return efficientnet_lite.weights_file(LITE0), efficientnet_lite.weights_file(LITE2)


def load(backbone: KerasBackbone, *files: Path) -> None:
    """Load the weights files of the installed packages, in the order of `VARIANTS`.

    Raises:
        WeightsError: a file is missing or has another SHA-256.
    """
    for variant, file in zip(VARIANTS, files, strict=True):
        state = read_state_dict(file, sha256=variant.sha256)
        network = backbone.model.get_layer(variant.model_name)
        efficientnet_lite.load_pretrained(network, state, variant)
        for name, expected in zip(_names(variant), _expected(state, variant), strict=True):
            backbone.model.get_layer(name).set_weights(expected)


def _expected(
    state: Mapping[str, NDArray[Any]], variant: Variant
) -> list[list[NDArray[np.float32]]]:
    """Return the expected mean and variance of each channel of the statistics, in their order."""
    projection, expansion = (int(name.removeprefix("block")) for name in _blocks(variant))
    mean, variance = (
        state[f"_blocks.{projection}._bn2.{value}"] for value in ("running_mean", "running_var")
    )
    shift, gain = (state[f"_blocks.{expansion}._bn0.{value}"] for value in ("bias", "weight"))
    # A channel behind its batch normalisation is taken as normal; ReLU6 cuts it.
    points, weights = np.polynomial.hermite_e.hermegauss(64)
    values = np.clip(shift[:, None] + gain[:, None] * points, 0, 6)
    weights = weights / weights.sum()
    cut = (values**2 @ weights) - (values @ weights) ** 2
    found = [[mean, variance], [np.zeros_like(mean), variance], [np.zeros_like(shift), cut]]
    return [[value.astype(np.float32) for value in pair] for pair in found]


SPEC = register(
    BackboneSpec(
        name="efficientnet-lite-pair",
        summary="efficientnet-lite0 and -lite2 with statistics of inner maps, the best for "
        "photographs without a download",
        input_size=LITE2.input_size,
        feature_width=5296,
        version=1,
        licence="Apache-2.0",
        build=lambda _size: KerasBackbone(build()),
        find_weights=weights_files,
        load=load,
        precision="bf16",
    )
)
