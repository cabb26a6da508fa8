"""What all parts share: settings, rows of results, rounds, and processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from geosim.trainer.errors import GeosimError
from geosim.trainer.progress import progress_bar

OURS = "geosim"
"""Name of this project in the tables."""

GEOSIM = ("-c", "from geosim.search.cli.main import geosim; geosim()")
"""Arguments of Python that run ``geosim``."""

ROOT = Path(__file__).parents[2]
"""The checkout."""


class BenchError(GeosimError):
    """A contender failed or gave a wrong answer."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of the command.

    Attributes:
        output: folder of the results and of prepared inputs.
        runs: rounds per comparison.
        images: most images, points or vectors; None for no limit.
        data: folder of class folders or .zip of one; None for generated pictures.
        url: of a Qdrant server; None for none.
        collection_config: settings of a collection on it, as `geosim ingest` takes them.
    """

    output: Path
    runs: int
    images: int | None
    data: Path | None
    url: str | None = None
    collection_config: Path | None = None

    def limit(self, size: int) -> int:
        """Return ``size``, or ``images`` if that is less."""
        return min(size, self.images or size)

    def sizes(self, sizes: Sequence[int]) -> list[int]:
        """Return the sizes below ``images``, and that in place of the others; ascending."""
        largest = self.limit(sizes[-1])
        return [*(size for size in sizes if size < largest), largest]


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one contender.

    Attributes:
        group: title of the table.
        name: the contender.
        unit: of the figures.
        values: one per round.
        cost: time or memory as a multiple of this project's.
    """

    group: str
    name: str
    unit: str
    values: Sequence[float]
    cost: float | None = None

    @property
    def median(self) -> float:
        """Median over rounds."""
        return median(self.values)


def compared(
    group: str, seconds: Mapping[str, Sequence[float]], rate: tuple[str, int] | None = None
) -> list[Row]:
    """Return a row per contender.

    Args:
        group: title of the table.
        seconds: per contender, this project first, one figure per round.
        rate: unit and number of things done in that time, to show things per second.
    """
    ours = next(iter(seconds.values()))
    rows = []
    for name, taken in seconds.items():
        cost = median(one / own for one, own in zip(taken, ours, strict=True))
        values, unit = taken, "s"
        if rate is not None:
            values, unit = [rate[1] / one for one in taken], f"{rate[0]}/s"
        rows.append(Row(group, name, unit, values, cost))
    return rows


def milliseconds(group: str, seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return a row per contender, in milliseconds and not compared."""
    return [
        Row(group, name, "ms", [one * 1000 for one in taken]) for name, taken in seconds.items()
    ]


def interleaved(
    title: str,
    contenders: Mapping[str, Callable[[], float]],
    runs: int,
    *,
    warm_ups: int = 1,
    budget: float = 600.0,
) -> dict[str, list[float]]:
    """Run every contender once per round and return their figures.

    A machine's speed drifts, so figures of one round are compared. The order rotates.

    Args:
        title: of the progress bar.
        contenders: each returns the figure of a run, usually seconds.
        runs: rounds that count.
        warm_ups: rounds before, not counted.
        budget: seconds after which no further round starts.
    """
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    started = time.perf_counter()
    with progress_bar(title, (warm_ups + runs) * len(names), unit="run") as bar:
        for number in range(warm_ups + runs):
            if number > warm_ups and time.perf_counter() - started > budget:
                break
            first = number % len(names)
            for name in names[first:] + names[:first]:
                taken[name].append(contenders[name]())
                bar.update(1)
    return {name: figures[warm_ups:] for name, figures in taken.items()}


def timed(work: Callable[..., object], *arguments: Any) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


@contextmanager
def worker(
    build: Callable[..., Callable[..., Any]], *arguments: Any
) -> Iterator[Callable[..., Any]]:
    """Yield ``build(*arguments)``, built and called in a process of its own.

    Libraries with their own threads would otherwise compete for the cores.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_build, build, arguments).result()
        yield lambda *called: pool.submit(_run, called).result()


_contender: list[Callable[..., Any]] = []


def _build(build: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...]) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _contender.append(build(*arguments))


def _run(arguments: tuple[Any, ...]) -> Any:
    return _contender[0](*arguments)


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)``, computed in a fresh process."""
    with worker(partial, function) as run:
        return run(*arguments)


def peak_memory(function: Callable[..., object], *arguments: Any) -> float:
    """Return the peak resident memory, in GB (10^9 bytes), of a process that runs a function.

    Linux only.
    """
    return in_process(_peak_after, function, *arguments)


def _peak_after(function: Callable[..., object], *arguments: Any) -> float:
    function(*arguments)
    return resources()[1]


def resources() -> tuple[float, float]:
    """Return this process's seconds of the processor so far, and its peak memory in GB.

    Linux only.
    """
    # getrusage also counts the memory of the parent process, from which this one was forked.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e9
    return time.process_time(), peak


def python(*arguments: object) -> str:
    """Run Python in the checkout and return its stdout.

    Raises:
        BenchError: it failed.
    """
    line = [sys.executable, *map(str, arguments)]
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise BenchError(f"{' '.join(line[3:])} failed: {done.stderr.strip()}")
    return done.stdout


def used(*arguments: object) -> tuple[float, float, float]:
    """Run Python; return its seconds, those of the processor, and its peak memory in GB."""
    line, started = [sys.executable, *map(str, arguments)], time.perf_counter()
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        told = process.stderr.read() if process.stderr else ""
        _, status, found = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{' '.join(line[1:])} failed: {told.strip()}")
    seconds = time.perf_counter() - started
    return seconds, found.ru_utime + found.ru_stime, found.ru_maxrss * 1024 / 1e9
