"""What the figures were taken on: processor, memory, versions; no name of host or folder."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "geosim",
    "numpy",
    "tensorflow",
    "keras",
    "openvino",
    "onnxruntime",
    "faiss-cpu",
    "scikit-learn",
    "qdrant-edge-py",
    "qdrant-client",
    "fastapi",
    "uvicorn",
)
"""Distributions whose versions decide the figures."""

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
"""Instruction sets, as Linux calls them, that decide how fast networks run."""


def describe() -> dict[str, Any]:
    """Return this machine's facts, ready for JSON."""
    cpu = _cpu()
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cores": _cores(),
        "instructions": [one for one in INSTRUCTIONS if one in cpu.get("flags", "").split()],
        "memory_gb": round(_memory() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def busy(seconds: float = 1.0) -> float | None:
    """Return which share of the processor others use while this process sleeps; None if unknown."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if before is None or after is None or sum(after) == sum(before):
        return None
    idle = sum(after[3:5]) - sum(before[3:5])  # idle, and waiting for a disk
    return round(1 - idle / (sum(after) - sum(before)), 2)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu() -> dict[str, str]:
    """Return what Linux says of the first processor; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _ticks() -> list[int] | None:
    """Return the processor's time by kind since the start, as proc(5) lists it; None elsewhere."""
    try:
        first, _, _ = Path("/proc/stat").read_text(encoding="ascii").partition("\n")
    except OSError:
        return None
    return [int(one) for one in first.split()[1:9]]


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
