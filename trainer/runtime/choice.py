"""Choice of the runtime: OpenVINO on a CPU, TensorFlow on a GPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.keras import KerasBackbone, import_keras
from geosim.trainer.runtime.openvino import OpenVinoBackbone, import_openvino


def choose_runtime(backbone: Backbone, precision: str) -> Backbone:
    """Return the fastest runtime for a loaded or trained backbone on this machine.

    ``precision`` is that of the arithmetic on a CPU, ``f32`` or ``bf16``. A backbone that is no
    `KerasBackbone` is returned unchanged.
    """
    if isinstance(backbone, KerasBackbone) and not gpu_present():
        return OpenVinoBackbone(backbone.exported, precision)
    return backbone


def gpu_present(devices: Path = Path("/dev")) -> bool:
    """Return whether TensorFlow has a GPU; import it only if ``devices`` holds an NVIDIA device."""
    if not any(devices.glob("nvidia[0-9]*")) or find_spec("tensorflow") is None:
        return False
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def training_policy() -> str:
    """Return Keras' precision policy for a training on this machine.

    Without bfloat16 instructions a step takes a hundred times as long as in float32.
    """
    if gpu_present():
        return "mixed_bfloat16"
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "mixed_bfloat16" if "BF16" in capabilities else "float32"
