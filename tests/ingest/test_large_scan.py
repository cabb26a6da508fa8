"""A scan of 400 megapixels in tiles, in processes of their own: memory, and the place of a crop."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.working import Working

MEASURED = """
import re, sys
from pathlib import Path
from geosim.search.cli.main import geosim
try:
    geosim(sys.argv[1:])
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print("peak", int(peak) // 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_scan_of_400_megapixels_is_ingested_below_a_gigabyte_and_found_by_a_crop(
    lite0_trained: Working, tmp_path: Path
) -> None:
    side, tile, working = 20_000, 256, tmp_path / "working"
    shutil.copytree(lite0_trained.root, working)
    random = np.random.default_rng(5)
    colours = random.integers(0, 200, (side // 500 + 1, side // 500 + 1, 3), dtype=np.uint8)
    grain = np.kron(random.integers(0, 56, (64, 64, 3), dtype=np.uint8), np.ones((4, 4, 1), "u1"))

    def part(left: int, top: int, size: int) -> NDArray[np.uint8]:
        x, y = np.arange(left, left + size), np.arange(top, top + size)
        base = colours[np.ix_(y // 500, x // 500)]
        return np.asarray(base + grain[np.ix_(y % 256, x % 256)], dtype=np.uint8)

    (tmp_path / "scans").mkdir()
    tifffile.imwrite(
        tmp_path / "scans" / "thin-section.tif",
        (part(x, y, tile) for y in range(0, side, tile) for x in range(0, side, tile)),
        shape=(side, side, 3),
        dtype="uint8",
        tile=(tile, tile),
        photometric="rgb",
        compression="deflate",
        bigtiff=True,
    )
    Image.fromarray(part(0, 0, 900)).save(tmp_path / "scans" / "other.png")
    crop = tmp_path / "crop.png"
    Image.fromarray(part(10_240 + 20, 6_144 + 30, 512)).save(crop)

    def run(*arguments: object) -> str:
        command = [sys.executable, "-c", MEASURED, *map(str, arguments), "--working", str(working)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        output, _, peak = done.stdout.rpartition("peak ")
        assert int(peak) < 1000
        return output

    assert "added 2" in run("ingest", tmp_path / "scans", "--tiles", 512)
    (result,) = json.loads(run("search", crop, "--format", "json"))
    best = result["hits"][0]
    assert best["path"] == "scans/thin-section.tif"
    assert (best["box"]["x"], best["box"]["y"]) == (10_240, 6_144)
    assert (best["box"]["width"], best["box"]["picture_width"]) == (512, side)
