"""Embedding: this project's runtime against TensorFlow and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import choose, spec_of
from geosim.trainer.data.images import prepare
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.runtime.keras import KerasBackbone, import_keras
from tests.benches import common, inputs

ABOUT = (
    "Decoded pixels to features, in memory, in batches of 32. ONNX Runtime runs the graph that "
    "Keras exports, with default settings. All but EfficientNet-Lite0 have random weights."
)
BATCH = 32
IMAGES = {"efficientnet-lite0": 256, "resnet50": 256, "tile-resnet": 1024, "tile-fusion": 256}
"""Images per round and backbone: seconds of work each."""


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Time all runtimes on all backbones."""
    return [row for name in IMAGES for row in _measure(settings, scratch, name)]


def _measure(settings: common.Settings, scratch: Path, name: str) -> list[common.Row]:
    count, side = settings.limit(IMAGES[name]), spec_of(name).input_size
    file, graph = scratch / f"{name}.npy", scratch / f"{name}.onnx"
    data = inputs.dataset(settings)
    records = data.records[:: max(1, len(data.records) // count)][:count]
    decoded = np.stack([prepare(data.source.read(record), side).pixels for record in records])
    np.save(file, np.resize(decoded, (count, side, side, 3)))
    common.in_process(export_onnx, name, graph)
    with (
        common.worker(partial(keras, ours=True), name, file) as own,
        common.worker(partial(keras, ours=False), name, file) as plain,
        common.worker(onnx_runtime, graph, file) as onnx,
    ):
        contenders = {common.OURS: own, "TensorFlow": plain, "ONNX Runtime": onnx}
        seconds = common.interleaved(name, contenders, settings.runs)
    title = f"{name}, {count:,} images of {side} x {side}"
    return common.compared(title, seconds, ("images", count))


def keras(name: str, file: Path, *, ours: bool) -> Callable[[], float]:
    """Build the Keras model, or this project's runtime of it."""
    model = load_keras(name)
    backbone = choose_runtime(model, spec_of(name).precision) if ours else model
    return partial(common.timed, _embed, backbone, np.load(file))


def onnx_runtime(graph: Path, file: Path) -> Callable[[], float]:
    """Build a session with default settings."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name

    def backbone(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return session.run(None, {entry: images.astype(np.float32)})[0]

    return partial(common.timed, _embed, backbone, np.load(file))


def load_keras(name: str) -> KerasBackbone:
    """Return a backbone with the bundled weights, or else always the same random ones."""
    import_keras().utils.set_random_seed(0)
    spec = spec_of(name)
    return choose(name)[0].load() if name == inputs.BACKBONE else spec.build(spec.input_size)


def export_onnx(name: str, graph: Path) -> None:
    """Write a backbone as ONNX."""
    backbone, side = load_keras(name), spec_of(name).input_size
    backbone(np.zeros((1, side, side, 3), np.uint8))  # Keras exports only models that were called
    backbone.model.export(str(graph), format="onnx", verbose=False)


def _embed(backbone: Backbone, images: NDArray[np.uint8]) -> None:
    for start in range(0, len(images), BATCH):
        backbone(images[start : start + BATCH])
