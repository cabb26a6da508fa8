"""Runs an exported graph on the CPU with OpenVINO, and brings in OpenVINO itself.

Owns how work is cut up for the processor. What is exported, and when this runtime is taken, is
`trainer/runtime/keras.py` and `trainer/runtime/choice.py`.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.errors import ModelError

QUEUED = 4
"""Requests handed over per one that runs, so that no core waits for the next."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph in OpenVINO's format, as the two files hold it: structure (XML) and weights."""

    graph: bytes
    weights: bytes

    @classmethod
    def read(cls, graph: Path) -> Exported:
        """Read ``name.xml`` and the ``name.bin`` beside it."""
        return cls(graph.read_bytes(), graph.with_suffix(".bin").read_bytes())

    def save_graph(self, path: Path) -> None:
        """Write the structure."""
        path.write_bytes(self.graph)

    def save_weights(self, path: Path) -> None:
        """Write the weights."""
        path.write_bytes(self.weights)


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which would report every import to its maker."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class OpenVinoBackbone:
    """An exported graph from ``(n, size, size, 3)`` pixels 0..255 to ``(n, width)`` features.

    A request is one picture: each core works on one of its own, and a layer's activations stay in
    its cache; photographs are embedded about twice as fast as 8 together. So a vector does not
    depend on which others are computed with it. Safe to call from several threads: the next call's
    requests follow at once on those of the last, so no core waits between them.
    """

    def __init__(self, exported: Exported, precision: str) -> None:
        """Compile for this processor.

        Args:
            exported: the graph.
            precision: ``f32``, or ``bf16``, which a processor without it computes as f32.

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
        count = QUEUED * compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(count):
            self._idle.put(compiled.create_infer_request())
        self._tensor = openvino.Tensor

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map ``(n, size, size, 3) uint8`` RGB to ``(n, width) float32``.

        Raises:
            ModelError: OpenVINO cannot take these pictures, or fails.
        """
        images = np.require(images, requirements=["C", "W"])  # what a shared tensor asks for
        features = np.empty((len(images), self._width), dtype=np.float32)
        started: deque[Any] = deque()  # oldest first
        try:
            for row in range(len(images)):
                request = self._next(started)
                started.append(request)
                # Read from and written to in place: no request waits for the interpreter's lock.
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
            # None may go on with arrays that are gone. One that never began is done already.
            for request in started:
                with suppress(RuntimeError):
                    request.wait()
                self._idle.put(request)
        return features

    def _next(self, started: deque[Any]) -> Any:
        """Return a request that is idle; where all are at work, wait for the call's own oldest."""
        try:
            return self._idle.get(block=not started)
        except Empty:
            started[0].wait()
            return started.popleft()
