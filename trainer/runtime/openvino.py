"""The OpenVINO runtime: runs an exported graph on the CPU."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import ModelError

REQUESTS_PER_STREAM = 4
"""Queued requests per request that runs, to keep all cores busy."""

TELEMETRY = "openvino_telemetry"
"""Name of OpenVINO's telemetry package."""

_importing = Lock()


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph in OpenVINO's format."""

    graph: bytes  # content of the .xml file, the structure
    weights: bytes  # content of the .bin file

    @classmethod
    def read(cls, graph: Path) -> Exported:
        """Read ``name.xml`` and the ``name.bin`` beside it."""
        return cls(graph.read_bytes(), graph.with_suffix(".bin").read_bytes())


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which would report every import."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    with _importing:
        hidden = modules.setdefault(TELEMETRY, None) is None  # its import fails
        try:
            import openvino
        finally:
            if hidden:
                del modules[TELEMETRY]
    return openvino


class OpenVinoBackbone:
    """An exported graph from ``(n, size, size, 3)`` pixels 0..255 to ``(n, width)`` features.

    A request is one image, so that a core's activations fit its cache and a vector does not depend
    on other images. Thread-safe: requests of several calls share the queue.
    """

    def __init__(self, exported: Exported, precision: str) -> None:
        """Compile for this processor; ``bf16`` is computed in f32 where the processor has no bf16.

        Raises:
            ModelError: OpenVINO cannot read the graph.
        """
        openvino = import_openvino()
        core = openvino.Core()
        try:
            graph = core.read_model(exported.graph, exported.weights)
            steps = openvino.preprocess.PrePostProcessor(graph)
            steps.input().tensor().set_element_type(openvino.Type.u8)
            settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
            compiled = core.compile_model(steps.build(), "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot run the model's graph: {str(error).splitlines()[0]}; train again "
                "with `geosim train DATA`"
            ) from error
        self._width = int(compiled.output(0).partial_shape[1].get_length())
        count = REQUESTS_PER_STREAM * compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(count):
            self._idle.put(compiled.create_infer_request())
        self._tensor = openvino.Tensor

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, width) float32``.

        Raises:
            ModelError: OpenVINO fails.
        """
        images = np.require(images, requirements=["C", "W"])  # required by a shared tensor
        features = np.empty((len(images), self._width), dtype=np.float32)
        started: deque[Any] = deque()  # oldest first
        try:
            for row in range(len(images)):
                request = self._next(started)
                started.append(request)
                # Shared memory: no request needs the interpreter's lock for a copy.
                part = slice(row, row + 1)
                request.set_input_tensor(self._tensor(images[part], shared_memory=True))
                request.set_output_tensor(self._tensor(features[part], shared_memory=True))
                request.start_async()
            for request in started:
                request.wait()
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot embed: {str(error).splitlines()[0]}; train again with "
                "`geosim train DATA`"
            ) from error
        finally:
            # No request may outlive its arrays. Waiting for one that never started returns at once.
            for request in started:
                with suppress(RuntimeError):
                    request.wait()
                self._idle.put(request)
        return features

    def _next(self, started: deque[Any]) -> Any:
        """Return an idle request; if all are busy, wait for the oldest of this call."""
        try:
            return self._idle.get(block=not started)
        except Empty:
            started[0].wait()
            return started.popleft()


class ExportedBackbone:
    """A graph that only OpenVINO runs; it is compiled on the first call."""

    def __init__(self, exported: Exported, precision: str) -> None:
        self.exported = exported
        self._precision = precision

    @cached_property
    def _compiled(self) -> OpenVinoBackbone:
        return OpenVinoBackbone(self.exported, self._precision)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, width) float32``.

        Raises:
            ModelError: OpenVINO cannot run the graph.
        """
        return self._compiled(images)
