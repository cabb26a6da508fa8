"""``efficientnet-lite-pair``: EfficientNet-Lite0 and -Lite2 side by side, frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geosim.trainer.backbones import efficientnet_lite
from geosim.trainer.backbones.efficientnet_lite import LITE0, LITE2
from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.backbones.weights import read_state_dict
from geosim.trainer.runtime.keras import KerasBackbone, import_keras

PART_NORM = 20.0
"""L2 norm of each network's features; about that of Lite0's own."""


def build() -> Any:
    """Build the graph from ``(n, 260, 260, 3)`` pixels 0..255 to ``(n, 2560)``.

    The graph resizes pictures to Lite0's size, bilinear. Each half of the output has the L2 norm
    `PART_NORM`.
    """
    keras = import_keras()
    layers = keras.layers
    size = LITE2.input_size
    image = keras.Input((size, size, 3), name="image")
    small = keras.ops.image.resize(image, (LITE0.input_size,) * 2)
    parts = [
        layers.Rescaling(PART_NORM)(layers.UnitNormalization()(part))
        for part in (
            efficientnet_lite.build(LITE0)(small),
            efficientnet_lite.build(LITE2)(image),
        )
    ]
    return keras.Model(image, layers.Concatenate()(parts), name="efficientnet_lite_pair")


def weights_files() -> tuple[Path, Path]:
    """Return the paths of both installed weights files.

    Raises:
        WeightsError: a package or file is not installed.
    """
    return efficientnet_lite.weights_file(LITE0), efficientnet_lite.weights_file(LITE2)


def load(backbone: KerasBackbone, lite0: Path, lite2: Path) -> None:
    """Load both weights files of the installed packages.

    Raises:
        WeightsError: a file is missing or has another SHA-256.
    """
    for variant, file in ((LITE0, lite0), (LITE2, lite2)):
        state = read_state_dict(file, sha256=variant.sha256)
        network = backbone.model.get_layer(variant.model_name)
        efficientnet_lite.load_pretrained(network, state, variant)


SPEC = register(
    BackboneSpec(
        name="efficientnet-lite-pair",
        summary="efficientnet-lite0 and -lite2 side by side, the best for photographs without a "
        "download",
        input_size=LITE2.input_size,
        feature_width=2 * efficientnet_lite.FEATURES,
        version=1,
        licence="Apache-2.0",
        build=lambda _size: KerasBackbone(build()),
        find_weights=weights_files,
        load=load,
        precision="bf16",
    )
)
