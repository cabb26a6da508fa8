"""Runs geosim's commands in processes that are forked from one with all imports, and kills them.

Each line on stdin is a JSON request, each line on stdout its answer: ``{"run": [argument, ...],
"acknowledged": FILE, "kill_after": SECONDS}`` or ``{"dump": WORKING, "to": FILE}``. A fork starts
at once, where a new interpreter would take seconds to import TensorFlow.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras  # noqa: F401 - imported before the fork, started by no one before it
import tensorflow  # noqa: F401

from geosim.ingest import writing
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.search import pipeline  # noqa: F401
from geosim.search.cli.main import geosim
from geosim.trainer import train  # noqa: F401
from geosim.trainer.plots import save_loss_curve

UPSERT_BATCH = 8
"""Images per upsert, so that few images make several."""


def run(request: dict[str, Any]) -> None:
    """Run a command; note what the store has acknowledged."""
    writing.UPSERT_BATCH = UPSERT_BATCH
    upsert = VectorStore.upsert
    descriptor = os.open(request["acknowledged"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noting(store: VectorStore, payloads: Any, vectors: Any) -> None:
        upsert(store, payloads, vectors)
        os.write(descriptor, "".join(f"{p.path}\t{p.sha256}\n" for p in payloads).encode())

    VectorStore.upsert = noting  # type: ignore[method-assign]
    geosim(request["run"])


def dump(request: dict[str, Any]) -> None:
    """Write all points of the collection, or nothing without one."""
    found = {}
    with EdgeStore(Path(request["dump"], "qdrant"), "geosim") as store:
        if store.info() is not None:
            for points in store.scan(vectors=True):
                for point in points:
                    assert point.vector is not None
                    assert point.payload.path not in found, "no point is doubled"
                    found[point.payload.path] = [point.payload.sha256, point.vector.tobytes().hex()]
            assert store.count() == len(found)
    Path(request["to"]).write_text(json.dumps(found))


def serve() -> None:
    with tempfile.TemporaryDirectory() as folder:  # the first plot of a process looks for fonts
        save_loss_curve([2.0, 1.0], [], 2, Path(folder, "loss.png"))
    for line in sys.stdin:
        request = json.loads(line)
        read, write = os.pipe()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(write, 1)
            os.dup2(write, 2)
            os.close(read)
            os.close(write)
            code = 1
            try:
                (run if "run" in request else dump)(request)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else bool(end.code)
            except BaseException as error:
                os.write(2, repr(error).encode())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(write)
        if (seconds := request.get("kill_after")) is not None:
            while time.monotonic() - started < seconds and not os.waitid(
                os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
            ):
                time.sleep(0.001)
            os.kill(child, signal.SIGKILL)
        with os.fdopen(read, "rb") as output:
            told = output.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "seconds": time.monotonic() - started,
            "told": told,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
