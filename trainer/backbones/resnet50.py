"""``resnet50``: ResNet50 of Keras with its ImageNet weights and its preprocessing in the graph."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geosim.trainer.backbones.registry import register
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.errors import DownloadError, WeightsError
from geosim.trainer.fetch import fetch
from geosim.trainer.runtime.keras import KerasBackbone, import_keras

if TYPE_CHECKING:
    import keras

INPUT_SIZE = 224
FEATURES = 2048

MEAN_BGR = (103.939, 116.779, 123.68)
"""ImageNet means in blue, green, red, 0..255; mode "caffe" of keras.applications.imagenet_utils."""

TIMEOUT = 5.0
"""Seconds to wait for the download server."""

_BACKBONE = "resnet50"
_REMEDY = "give a file with --weights FILE, or take --backbone efficientnet-lite0"


@dataclass(frozen=True)
class Published:
    """The address and the MD5 of a weights file."""

    url: str
    md5: str


# BASE_WEIGHTS_PATH and WEIGHTS_HASHES of keras/src/applications/resnet.py.
PUBLISHED = Published(
    url="https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    md5="4d473c1dd8becc155b73f8504c6f6626",
)


def build() -> keras.Model:
    """Build ResNet50 without its classifier, with random weights.

    Maps RGB ``(n, 224, 224, 3)``, 0..255, to globally averaged features ``(n, 2048) float32``, not
    negative. The preprocessing of ``keras.applications.resnet.preprocess_input`` is part of the
    graph.
    """
    keras = import_keras()
    shape = (INPUT_SIZE, INPUT_SIZE, 3)
    backbone = keras.applications.ResNet50(
        include_top=False, pooling="avg", weights=None, input_shape=shape, name=_BACKBONE
    )
    image = keras.Input(shape, name="image")
    bgr = keras.ops.flip(image, axis=-1)
    offset = [-mean for mean in MEAN_BGR]
    centred = keras.layers.Rescaling(1.0, offset=offset, name="subtract_mean")(bgr)
    return keras.Model(image, backbone(centred), name="resnet50_features")


def load_pretrained(model: keras.Model, path: Path) -> None:
    """Set the weights of ``model`` from a ``.h5`` file in the layout that Keras publishes.

    Layers are matched by their order, as in Keras. After an error the weights are undefined.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    expected = f"expected a Keras .h5 file of ResNet50 without top; {_REMEDY}"
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; {expected}")
    if path.suffix != ".h5":
        raise WeightsError(f"weights file {path} is no .h5 file; {expected}")
    try:
        model.get_layer(_BACKBONE).load_weights(path)
    except Exception as error:  # h5py and Keras raise many kinds for a file that does not fit
        raise WeightsError(f"cannot use weights {path} ({_one_line(error)}); {expected}") from error


def pretrained_file(published: Published = PUBLISHED) -> Path:
    """Return the published weights file in Keras' cache; download it if it is missing.

    The MD5, the only published digest, is checked every time.

    Raises:
        WeightsError: the file cannot be downloaded, or has another MD5.
    """
    try:
        # Unlike Keras, never a folder in /tmp, which other users can write to.
        cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
        target = cache / published.url.rpartition("/")[2]
        return fetch(published.url, target, digest=f"md5:{published.md5}", timeout=TIMEOUT)
    except (DownloadError, OSError, RuntimeError) as error:  # RuntimeError: no home folder
        raise WeightsError(
            f"no ImageNet weights for ResNet50: {_one_line(error)}; {_REMEDY}"
        ) from error


def _one_line(error: Exception) -> str:
    """Return an error's first line, or the name of its type where it has no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


SPEC = register(
    BackboneSpec(
        name="resnet50",
        summary="ImageNet weights, downloaded once, or --weights FILE",
        input_size=INPUT_SIZE,
        feature_width=FEATURES,
        version=2,
        licence="MIT",
        build=lambda _size: KerasBackbone(build()),
        find_weights=lambda: (pretrained_file(),),
        load=lambda backbone, file: load_pretrained(backbone.model, file),
        takes_weights=True,
        precision="bf16",
    )
)
