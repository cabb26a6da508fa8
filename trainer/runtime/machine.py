"""What the machine offers, and how many threads and images at once suit it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath

CPU_BATCH = 16
"""Images per batch on a CPU, where each is a request of its own."""

GPU_BATCHES = (8, 16, 32, 64)
"""Images per batch on a GPU: powers of two, up to those that `KerasBackbone` computes at once."""

BYTES_PER_IMAGE = 64 * 2**20
"""Upper bound of a network's activations for one image of 224 x 224 pixels, in float32."""

GPU_SHARE = 4
"""A batch takes at most one in so many bytes of a GPU's memory, besides the weights."""

DECODE_THREADS = (2, 32)
"""Fewest and most threads that decode images; between them one per core."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many images are worked on at once."""

    decode_threads: int
    batch: int  # images per backbone call and per transaction of the cache


def choose_pace(cores: int, gpu_bytes: int | None, input_size: int) -> Pace:
    """Return the pace for a machine.

    Args:
        cores: cores that this process may use.
        gpu_bytes: memory of the GPU that computes, None without a GPU, 0 if it is unknown.
        input_size: side of the network's input in pixels.
    """
    fewest, most = DECODE_THREADS
    threads = min(max(cores, fewest), most)
    if gpu_bytes is None:
        return Pace(threads, CPU_BATCH)
    fitting = gpu_bytes * 224**2 // (GPU_SHARE * BYTES_PER_IMAGE * input_size**2)
    sizes = [size for size in GPU_BATCHES if size <= fitting] or [
        GPU_BATCHES[0] if gpu_bytes else CPU_BATCH
    ]
    return Pace(threads, sizes[-1])


def usable_cores(root: Path = Path("/")) -> int:
    """Return the cores that this process may use: by its affinity and its control groups."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_group_limits(root)]))


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the limits of this process' control groups, versions 2 and 1, in cores rounded up."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        tree = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
        relative = PurePosixPath(path.lstrip("/"))
        for group in (relative, *relative.parents):
            with suppress(OSError, ValueError):  # no such file, or "max"
                texts = [(tree / group / name).read_text() for name in names]
                quota, period = map(int, " ".join(texts).split())
                if quota > 0 and period > 0:
                    yield ceil(quota / period)


def gpu_memory() -> int:
    """Return the bytes of the smallest NVIDIA GPU; 0 if it is unknown."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=20)  # noqa: S603
        return min(int(line) for line in done.stdout.split()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
