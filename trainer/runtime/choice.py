"""Chooses the runtime that embeds: OpenVINO on a CPU, TensorFlow on a GPU.

TensorFlow takes seconds to start, and a CPU's cores embed two to three times as fast under OpenVINO
(`tests/benches`). So a trained model is exported once, and only training imports TensorFlow.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.keras import KerasBackbone, import_keras
from geosim.trainer.runtime.openvino import OpenVinoBackbone


def choose_runtime(backbone: Backbone, precision: str) -> Backbone:
    """Return the fastest runtime for a backbone on this machine.

    Args:
        backbone: as it was loaded or trained. Anything but a `KerasBackbone` is returned as it is.
        precision: of the arithmetic on a CPU, ``f32`` or ``bf16``.
    """
    if isinstance(backbone, KerasBackbone) and not gpu_present():
        return OpenVinoBackbone(backbone.exported, precision)
    return backbone


def gpu_present(devices: Path = Path("/dev")) -> bool:
    """Tell whether TensorFlow has a GPU. TensorFlow is imported only where a GPU is possible.

    Args:
        devices: folder of the device files of NVIDIA's driver: ``nvidia0`` and so on.
    """
    if not any(devices.glob("nvidia[0-9]*")) or find_spec("tensorflow") is None:
        return False
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
