"""The choice of threads and batches from the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from geosim.trainer.runtime.machine import Pace, choose_pace, gpu_memory, usable_cores

GIB = 2**30


@pytest.mark.parametrize(("cores", "threads"), [(1, 2), (2, 2), (3, 3), (16, 16), (128, 32)])
def test_a_core_decodes_and_a_cpu_takes_small_batches(cores: int, threads: int) -> None:
    assert choose_pace(cores, None, 224) == Pace(threads, 16)


@pytest.mark.parametrize(
    ("memory", "size", "batch"),
    [
        (80 * GIB, 224, 64),
        (16 * GIB, 224, 64),
        (8 * GIB, 224, 32),
        (4 * GIB, 224, 16),
        (2 * GIB, 224, 8),
        (GIB // 2, 224, 8),
        (4 * GIB, 64, 64),
        (16 * GIB, 448, 16),
        (0, 224, 16),
    ],
)
def test_a_gpu_takes_batches_that_fit_its_memory(memory: int, size: int, batch: int) -> None:
    assert choose_pace(8, memory, size).batch == batch


def machine(root: Path, group: str, files: dict[str, str]) -> Path:
    for name, content in {"proc/self/cgroup": group, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("group", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 2),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, None),
        ("0::/a\n", {"a/cpu.max": "nonsense"}, None),
        ("0::/gone\n", {}, None),
        (
            "3:memory:/x\n1:cpu,cpuacct:/a\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        (
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ("", {}, None),
        ("odd\n", {}, None),
    ],
)
def test_a_container_s_limit_counts(
    tmp_path: Path, group: str, files: dict[str, str], limit: int | None
) -> None:
    groups = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    without = usable_cores(tmp_path / "nothing")
    found = usable_cores(machine(tmp_path, group, groups))
    assert found == (without if limit is None else min(limit, without))


def test_a_gpu_that_cannot_be_asked_has_unknown_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory() == 0
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 81559\necho 16384\n")
    program.chmod(0o755)
    assert gpu_memory() == 16384 * 2**20
    program.write_text("#!/bin/sh\necho '[N/A]'\n")
    assert gpu_memory() == 0
