"""Rows of large arrays: in a file without a name, read in part, and what is learned from them."""

from pathlib import Path

import numpy as np
import pytest

from geosim.trainer import rows as rows_module
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.model import load_model
from geosim.trainer.recipes.photograph import PhotographOptions
from geosim.trainer.rows import Rows, give_back, new_array, parts
from geosim.trainer.train import train
from geosim.trainer.working import Working


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every array in a file, and give its memory back after every read."""
    monkeypatch.setattr(rows_module, "HELD_BYTES", 0)
    monkeypatch.setattr(rows_module, "MAPPED_BYTES", 0)
    monkeypatch.setattr(rows_module, "READ_BYTES", 4096)


@pytest.mark.usefixtures("in_files")
def test_a_large_array_is_in_a_file_that_nobody_has_to_delete(tmp_path: Path) -> None:
    array = new_array((500, 40), np.float32, tmp_path)
    assert isinstance(array, np.memmap)
    assert list(tmp_path.iterdir()) == []
    assert not array.any()
    array[:] = np.arange(20_000, dtype=np.float32).reshape(500, 40)
    give_back(array)
    chosen = Rows(array, np.arange(1, 500, 2))
    assert chosen.shape == (250, 40)
    np.testing.assert_array_equal(chosen[np.array([0, 249])][:, 0], [40, 19_960])
    read = np.concatenate([chosen[part] for part in parts(chosen)])
    np.testing.assert_array_equal(read, np.array(array)[1::2])
    np.testing.assert_array_equal(chosen.whole(), read)


def test_an_array_without_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        new_array((2**40, 2**10), np.float32, tmp_path)


@pytest.mark.usefixtures("in_files")
def test_features_in_a_file_make_the_same_model(
    sample: Path, trained: Working, tmp_path: Path
) -> None:
    report = train(
        open_dataset(sample), choose("colour-grid")[0], Working(tmp_path), TrainOptions(epochs=5)
    )
    assert report.model.fingerprint == load_model(trained.model).fingerprint
    assert report.model.card["vote"] == load_model(trained.model).card["vote"]


@pytest.mark.parametrize("views", [7, 2])
def test_views_in_a_file_make_the_same_model(
    sample: Path, tmp_path: Path, views: int, request: pytest.FixtureRequest
) -> None:
    dataset, pretrained = open_dataset(sample), choose("colour-grid")[0]
    options = PhotographOptions(epochs=2, views=views)
    first = train(dataset, pretrained, Working(tmp_path / "memory"), options)
    request.getfixturevalue("in_files")
    second = train(dataset, pretrained, Working(tmp_path / "file"), options)
    assert first.model.fingerprint == second.model.fingerprint
