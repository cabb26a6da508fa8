"""What the suites share: one generated data set and one model, made once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.trainer.sample.generate import write_sample
from geosim.trainer.working import Working
from tests.memory import memory_store

REAL_DATA = Path(__file__).parents[2] / "shared" / "data" / "geological_similarity.zip"


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Keep settings of the person who runs the tests out of them."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith("GEOSIM_") and not name.startswith("GEOSIM_TEST_"):
                environment.delenv(name)
        yield


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set, 8 classes of 12 images; read only, copy it to change it."""
    return write_sample(tmp_path_factory.mktemp("data") / "rocks", per_class=12, size=64)


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The like of `sample`, of 32 pixels a side: all shifts of its tiles are soon compared."""
    return write_sample(tmp_path_factory.mktemp("small") / "rocks", per_class=12, size=32)


@pytest.fixture(scope="session")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A working folder with a colour-grid model of `sample`; read only, copy it to change it."""
    from geosim.trainer.backbones.registry import choose
    from geosim.trainer.data.dataset import open_dataset
    from geosim.trainer.heads.fit import TrainOptions
    from geosim.trainer.train import train

    working = Working(tmp_path_factory.mktemp("trained") / "working")
    train(open_dataset(sample), choose("colour-grid")[0], working, TrainOptions(epochs=5))
    return working


@pytest.fixture(scope="session")
def lite0_trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A model on the bundled network, of two images of two classes each; read only."""
    from geosim.trainer.backbones.registry import choose
    from geosim.trainer.data.dataset import open_dataset
    from geosim.trainer.heads.fit import TrainOptions
    from geosim.trainer.train import train

    root = tmp_path_factory.mktemp("lite0")
    for folder in sorted(path for path in sample.iterdir() if path.is_dir())[:2]:
        (root / "rocks" / folder.name).mkdir(parents=True)
        for path in sorted(folder.glob("*.jpg"))[:2]:
            shutil.copy(path, root / "rocks" / folder.name)
    working = Working(root / "working")
    options = TrainOptions(epochs=1)
    train(open_dataset(root / "rocks"), choose("efficientnet-lite0")[0], working, options)
    return working


@pytest.fixture
def working(trained: Working, tmp_path: Path) -> Working:
    """A working folder of the test's own, with the model and its warm features."""
    return Working(Path(shutil.copytree(trained.root, tmp_path / "working")))


@pytest.fixture
def make_read_only() -> Iterator[Callable[[Path], None]]:
    """Make a folder and all in it read-only until the end of the test, for root as well."""
    folders: list[Path] = []

    def change(folder: Path, *, read_only: bool) -> bool:
        commands = (["chmod", "-R", "a-w" if read_only else "u+w"],)
        if os.geteuid() == 0:  # who may write in spite of modes
            commands = (["chattr", "-R", "+i" if read_only else "-i"], *commands)
        for command in commands:
            subprocess.run([*command, folder], check=False, capture_output=True, timeout=60)
        return not os.access(folder, os.W_OK)

    def make(folder: Path) -> None:
        folders.append(folder)
        if not change(folder, read_only=True):
            pytest.skip("root can write in spite of modes, and chattr fails here")

    yield make
    for folder in folders:
        change(folder, read_only=False)


@pytest.fixture
def rocks(sample: Path, tmp_path: Path) -> Path:
    """A copy of `sample` that a test may change."""
    return Path(shutil.copytree(sample, tmp_path / "rocks"))


@pytest.fixture(scope="session")
def geosim() -> Callable[..., Result]:
    """Run a geosim command in this process: ``geosim("search", path, "-k", 3)``."""
    from geosim.search.cli.main import geosim as group

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(group, [str(one) for one in arguments])

    return invoke


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The geological similarity archive beside the checkout; skips where it is absent."""
    if not REAL_DATA.is_file():
        pytest.skip("the geological similarity data set is not beside this checkout")
    return REAL_DATA


@pytest.fixture(params=["edge", "server"])
def store(request: pytest.FixtureRequest, working: Working) -> Iterator[VectorStore]:
    """A store of `working`, embedded and as a client of a server has it."""
    if request.param == "edge":
        opened: VectorStore = EdgeStore(working.qdrant, "geosim")
    else:
        opened = memory_store("geosim")
    with opened:
        yield opened
