"""Which runtime embeds: OpenVINO on a CPU, TensorFlow on a GPU.

TensorFlow takes seconds to start, and a CPU's cores embed two to three times as fast under
OpenVINO (`tests/benches`); so a model is exported once and TensorFlow is left to training.
"""

from __future__ import annotations

from pathlib import Path

from geosim.trainer.backbones.registry import Backbone, BackboneSpec
from geosim.trainer.runtime.keras import KerasBackbone, import_keras
from geosim.trainer.runtime.openvino import Exported, OpenVinoBackbone


def serve(spec: BackboneSpec, backbone: Backbone) -> Backbone:
    """Return what embeds fastest here.

    Args:
        spec: the backbone's spec.
        backbone: as it was loaded or trained; what is no Keras graph is returned as it is.
    """
    if not isinstance(backbone, KerasBackbone):
        return backbone
    if gpu_present():
        return backbone
    return serve_exported(spec, backbone.exported)


def serve_exported(spec: BackboneSpec, exported: Exported) -> Backbone:
    """Return a CPU's runtime for a graph that was exported before.

    Raises:
        ModelError: the graph cannot be read.
    """
    return OpenVinoBackbone(exported, spec.precision)


def gpu_present(devices: Path = Path("/dev")) -> bool:
    """Tell whether TensorFlow has a GPU; it is only asked, for seconds, where there may be one.

    Args:
        devices: where NVIDIA's driver puts its device files, ``nvidia0`` and so on.
    """
    if not any(devices.glob("nvidia[0-9]*")):
        return False
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
