"""Embedding: this project's runtime against plain TensorFlow and ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import build, choose, spec_of
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.keras import KerasBackbone, import_keras
from tests.benches.children import BenchError, Worker, in_child
from tests.benches.prepared import pixels
from tests.benches.results import (
    OURS,
    Row,
    Settings,
    Target,
    compared,
    ratio,
    skipped,
)
from tests.benches.timing import interleaved, missing

ABOUT = (
    "Decoded pixels to features, in memory, in batches of 32. ONNX Runtime runs the graph that "
    "Keras exports with its default settings. All but EfficientNet-Lite0 have random weights, "
    "which take as long as trained ones."
)
BATCH = 32
IMAGES = {"efficientnet-lite0": 256, "resnet50": 256, "tile-resnet": 1024, "tile-fusion": 256}
"""Backbones, and images per round: seconds of work each."""

TENSORFLOW, ONNX = "TensorFlow", "ONNX Runtime"
TARGETS = {
    ("efficientnet-lite0", TENSORFLOW): 2.8,
    ("resnet50", TENSORFLOW): 2.1,
    ("efficientnet-lite0", ONNX): 1.3,
    ("resnet50", ONNX): 1.9,
}
"""How many times as fast as a peer this project should be."""

ALIKE = 0.99
"""Least mean cosine of features to TensorFlow's; bf16 keeps 0.998 of lite0's."""

Outcome = tuple[float, NDArray[np.float32]]
"""Seconds, and the first images' features."""


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time all runtimes on all backbones."""
    return [
        row
        for name, images in IMAGES.items()
        for row in _measure(settings, scratch, spec_of(name), images)
    ]


def _measure(settings: Settings, scratch: Path, spec: BackboneSpec, images: int) -> list[Row]:
    """Time all runtimes on one backbone."""
    count = min(images, settings.images or images)
    file, graph = scratch / f"{spec.name}.npy", scratch / f"{spec.name}.onnx"
    np.save(file, pixels(settings, spec.input_size, count))
    lacking = missing("onnxruntime", "tf2onnx")
    title = f"{spec.name}, {count:,} images of {spec.input_size} x {spec.input_size}"
    with ExitStack() as stack:
        workers: dict[str, Worker[Outcome]] = {
            OURS: stack.enter_context(Worker(ours, spec.name, file)),
            TENSORFLOW: stack.enter_context(Worker(tensorflow, spec.name, file)),
        }
        if not lacking:
            in_child(export_onnx, spec.name, graph)
            workers[ONNX] = stack.enter_context(Worker(onnx_runtime, spec.name, file, graph))
        expected = workers[TENSORFLOW]()[1]
        turns = {name: partial(_checked, name, one, expected) for name, one in workers.items()}
        seconds = interleaved(spec.name, turns, settings.runs)
    rows = compared(title, seconds, rate_of=("images", count))
    for (backbone, peer), bound in TARGETS.items():
        if backbone == spec.name and peer in rows and count == images:
            value = ratio(seconds[peer], seconds[OURS])
            rows[peer] = replace(rows[peer], target=Target(value, bound, "x", at_least=True))
    if lacking:
        rows[ONNX] = skipped(title, ONNX, "images/s", lacking)
    return list(rows.values())


def _checked(name: str, worker: Worker[Outcome], expected: NDArray[np.float32]) -> float:
    """Run a contender; return its seconds if its features are those of the same network.

    Raises:
        BenchError: they are not.
    """
    seconds, features = worker()
    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float(((features * expected).sum(axis=1) / norms).mean())
    if not cosine >= ALIKE:
        raise BenchError(f"{name}'s features have a cosine of {cosine:.4f} to {TENSORFLOW}'s")
    return seconds


def ours(name: str, file: Path) -> Callable[[], Outcome]:
    """Build this project's runtime for this machine."""
    from geosim.trainer.runtime.choice import serve

    return partial(_embed, serve(spec_of(name), load_keras(name)), np.load(file))


def tensorflow(name: str, file: Path) -> Callable[[], Outcome]:
    """Build the plain Keras model."""
    return partial(_embed, load_keras(name), np.load(file))


def onnx_runtime(name: str, file: Path, graph: Path) -> Callable[[], Outcome]:
    """Build a session with default settings."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name

    def backbone(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = session.run(None, {entry: images.astype(np.float32)})[0]
        return features

    return partial(_embed, backbone, np.load(file))


def load_keras(name: str) -> KerasBackbone:
    """Return a backbone with its weights, or where there are none with the same random ones."""
    import_keras().utils.set_random_seed(0)
    spec = spec_of(name)
    backbone = choose(name)[0].load() if name == "efficientnet-lite0" else build(spec)
    if not isinstance(backbone, KerasBackbone):
        raise BenchError(f"backbone {name} is no Keras graph; only those can be compared")
    return backbone


def export_onnx(name: str, graph: Path) -> None:
    """Write a backbone as ONNX."""
    backbone, side = load_keras(name), spec_of(name).input_size
    backbone(np.zeros((1, side, side, 3), np.uint8))  # Keras exports what was called once
    backbone.model.export(str(graph), format="onnx", verbose=False)


def _embed(backbone: Backbone, images: NDArray[np.uint8]) -> Outcome:
    started = time.perf_counter()
    features = [backbone(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    return time.perf_counter() - started, np.concatenate(features)[:BATCH]
