"""The runtime that embeds: it agrees with TensorFlow, and starts without it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geosim.trainer import model as model_module
from geosim.trainer.backbones.registry import choose, spec_of
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.images import prepare
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import TrainOptions, fit_head
from geosim.trainer.model import load_model
from geosim.trainer.runtime import choice
from geosim.trainer.runtime.choice import choose_runtime, gpu_present
from geosim.trainer.runtime.keras import KerasBackbone
from geosim.trainer.runtime.openvino import Exported, OpenVinoBackbone
from geosim.trainer.working import Working

LITE0 = spec_of("efficientnet-lite0")


@pytest.fixture(scope="module")
def lite0() -> Any:
    """The bundled network as TensorFlow runs it."""
    return choose(LITE0.name)[0].load()


@pytest.fixture(scope="module")
def fast(lite0: Any) -> Any:
    """The same as a CPU serves it."""
    return choose_runtime(lite0, LITE0.precision)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("nd,nd->n", left, right) / norms


@pytest.mark.slow
def test_real_images_get_the_embedding_that_tensorflow_gives(lite0: Any, real_data: Path) -> None:
    dataset = open_dataset(real_data)
    records = dataset.records[::300]
    pixels = np.stack([prepare(dataset.source.read(one), 224).pixels for one in records])
    labels = np.array([dataset.classes.index(one.label) for one in records], dtype=np.int32)
    features = np.concatenate([lite0(pixels[start : start + 25]) for start in range(0, 100, 25)])
    head = fit_head(features, labels, 6, TrainOptions(epochs=20, batch_size=16)).head
    expected = head(features)
    exact = head(choose_runtime(lite0, "f32")(pixels))
    assert cosines(exact, expected).min() >= 0.999
    served = head(choose_runtime(lite0, LITE0.precision)(pixels))
    assert np.median(cosines(served, expected)) >= 0.99


def test_features_do_not_depend_on_what_is_computed_beside_them(
    fast: Any, photos: np.ndarray
) -> None:
    together = fast(photos)
    assert together.shape == (5, 1280)
    assert together.dtype == np.float32
    for row in range(5):
        np.testing.assert_array_equal(fast(photos[row : row + 1])[0], together[row])
    np.testing.assert_array_equal(fast(photos[::-1]), together[::-1])
    assert fast(photos[:0]).shape == (0, 1280)
    frozen = photos.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(fast(frozen), together)


def test_threads_share_a_runtime(fast: Any, photos: np.ndarray) -> None:
    together = fast(photos)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: fast(photos[row : row + 1])[0], [0, 1, 2, 3, 4] * 4))
    np.testing.assert_array_equal(answers, np.tile(together, (4, 1)))


def test_threads_that_need_all_of_a_runtime_share_it(fast: Any, photos: np.ndarray) -> None:
    many = np.tile(photos, (8, 1, 1, 1))  # more than there are requests
    expected = np.tile(fast(photos), (8, 1))
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(fast, [many] * 3):
            np.testing.assert_array_equal(found, expected)


def test_a_runtime_goes_on_after_pictures_that_it_cannot_take(
    fast: Any, photos: np.ndarray
) -> None:
    for _ in range(20):  # more often than there are requests
        with pytest.raises(ModelError, match="geosim train"):
            fast(photos[:, :100])
    assert fast(photos).shape == (5, 1280)


def test_a_gpu_is_left_to_tensorflow(
    lite0_trained: Working, photos: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(lite0_trained.model)
    on_cpu = model.extractor(lite0_trained.features).backbone
    assert isinstance(on_cpu, OpenVinoBackbone)
    for module in (choice, model_module):
        monkeypatch.setattr(module, "gpu_present", lambda: True)  # none is at hand
    on_gpu = model.extractor(lite0_trained.features).backbone
    assert isinstance(on_gpu, KerasBackbone)
    assert cosines(on_gpu(photos), on_cpu(photos)).min() > 0.9


def test_no_gpu_is_found_where_there_is_no_driver(tmp_path: Path) -> None:
    assert not gpu_present(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not gpu_present(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<net>", b"\x00\xff"])
def test_a_graph_that_cannot_be_read_is_one_line(content: bytes) -> None:
    with pytest.raises(ModelError, match="cannot run the model's graph") as caught:
        OpenVinoBackbone(Exported(content, b""), "f32")
    assert "\n" not in str(caught.value)


def test_nothing_is_reported_to_the_maker_of_the_runtime() -> None:
    code = (
        "import sys; from geosim.trainer.runtime.openvino import import_openvino\n"
        "import_openvino(); "
        "print([name for name, module in sys.modules.items() if 'telemetry' in name and module "
        "and not name.startswith('openvino.')], 'openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[] False"
