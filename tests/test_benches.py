"""Every part of the benchmark runs at a tiny size; its figures are not judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benches.__main__ import PARTS

SYNTHETIC = ("store", "growth", "memory", "facts", "million", "train", "unchanged", "quantized")
WITH_PEERS = ("embed", "search", "ingest", "graph", "store", "memory")
PEERS = {"embed": ("onnxruntime", "tf2onnx"), "graph": ("sklearn",)}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benches")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("parts", [SYNTHETIC, *([part] for part in PARTS[:5])], ids=str)
def test_a_part_has_its_figures(parts: tuple[str, ...], output: Path) -> None:
    for module in [module for part in parts for module in PEERS.get(part, ())]:
        pytest.importorskip(module)
    line = [sys.executable, "-m", "tests.benches", *parts, "--runs", "1", "--images", "24"]
    done = subprocess.run(
        [*line, "--output", str(output)],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=1190,
    )
    assert done.returncode == 0, done.stderr
    for part in parts:
        written = (output / f"{part}.md").read_text()
        assert written in done.stdout
        assert written.count("\n| geosim |") or part not in WITH_PEERS
        assert "nan" not in written
