"""Child processes: a contender that stays alive between rounds, a command, and a memory peak.

TensorFlow, ONNX Runtime, OpenVINO and faiss each keep a pool of threads; in one process they would
take cores from each other.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from geosim.trainer.errors import GeosimError

ROOT = Path(__file__).parents[2]
"""The checkout."""

T = TypeVar("T")


class BenchError(GeosimError):
    """A contender failed, gave another answer than the rest, or cannot be run as asked."""


class Worker(Generic[T]):
    """A process that builds a contender once and runs it when called, with what it is called with.

    Its output is dropped; what it raises is raised here as `BenchError`.
    """

    def __init__(self, build: Callable[..., Callable[..., T]], *arguments: Any) -> None:
        """Start the process and wait until ``build(*arguments)``, importable, has returned."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    def __call__(self, *arguments: Any) -> T:
        """Run the contender once and return what it returns."""
        self._pipe.send(arguments)
        answer: T = self._answer()
        return answer

    def close(self, *, at_once: bool = False) -> None:
        """End the process: when its round is done, or at once."""
        self._pipe.close()
        if at_once:
            self._process.terminate()
        self._process.join()

    def __enter__(self) -> Worker[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(at_once=kind is not None)

    def _answer(self) -> Any:
        try:
            good, answer = self._pipe.recv()
        except EOFError as error:
            self._process.join()
            raise BenchError(
                f"a contender's process ended with status {self._process.exitcode}"
            ) from error
        except BaseException:  # Ctrl-C while it is built: nobody else can end it
            self.close(at_once=True)
            raise
        if not good:
            self.close()
            raise BenchError(answer)
        return answer


def _serve(
    pipe: Connection, build: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    tqdm.set_lock(threading.RLock())  # its own outlives a process that is ended at once
    try:
        run = build(*arguments)
        pipe.send((True, None))
        while True:
            pipe.send((True, run(*pipe.recv())))
    except EOFError:  # the parent is gone
        pass
    except Exception as error:  # told to the parent, whatever it is
        pipe.send((False, f"{type(error).__name__}: {error}"))


def in_child(function: Callable[..., T], *arguments: Any) -> T:
    """Return ``function(*arguments)``, computed in a fresh process."""
    with Worker[T](partial, function, *arguments) as worker:
        return worker()


def peak_of(function: Callable[..., object], *arguments: Any) -> float:
    """Return the largest resident memory, in GB (10^9 bytes), of a process that runs a function."""
    return in_child(_peak_after, function, *arguments)


def _peak_after(function: Callable[..., object], *arguments: Any) -> float:
    function(*arguments)
    return peak_bytes() / 1e9


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    On Linux from ``/proc``: ``getrusage`` there also counts the process this one was started from.
    """
    peak = _in_proc("self", "VmHWM")
    if peak is None:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return peak


def resident_bytes(process: int) -> int | None:
    """Return the resident memory of a process now, in bytes; None where there is no ``/proc``."""
    return _in_proc(str(process), "VmRSS")


def _in_proc(process: str, field: str) -> int | None:
    """Return what Linux says of a process's memory, in bytes; None elsewhere."""
    try:
        lines = Path("/proc", process, "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None
    )


def command(module: str, function: str, *arguments: object) -> tuple[float, str]:
    """Run a command of this project as a user does, in a process of its own.

    Args:
        module: where it is, ``geosim.search.cli.main``.
        function: its name there.
        arguments: of its command line.

    Returns:
        Its wall time from start to end in seconds, and its stdout.

    Raises:
        BenchError: it failed.
    """
    code = f"from {module} import {function}; {function}()"
    return process("-c", code, *arguments)


def process(*arguments: object) -> tuple[float, str]:
    """Run Python in the checkout; return wall time in seconds and stdout.

    Raises:
        BenchError: it failed.
    """
    line = [sys.executable, *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd=ROOT)
    seconds = time.perf_counter() - started
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise BenchError(f"a command ended with status {done.returncode}: {said[-1]}")
    return seconds, done.stdout
