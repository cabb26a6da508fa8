"""Networks of the user's own, as files that the tests write: used, and refused with a reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper

from geosim.trainer.backbones.own_network import LARGEST
from geosim.trainer.backbones.registry import choose
from geosim.trainer.errors import ModelError
from geosim.trainer.model import load_model
from geosim.trainer.runtime.keras import import_keras
from geosim.trainer.runtime.openvino import import_openvino

Run = Callable[..., Result]
SIZE = 32
SIDECAR = {"size": SIZE, "channels": "RGB", "range": [0, 1]}
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16

MEAN = [("ReduceMean", ["x"], ["y"], {"axes": [2, 3], "keepdims": 0})]
"""Nodes of a network whose features are the means of the channels."""


def write(
    path: Path,
    nodes: Any = MEAN,
    *,
    inputs: Any = (("x", FLOAT, ("n", 3, "h", "w")),),
    outputs: Any = (("y", FLOAT),),
    weights: dict[str, np.ndarray] | None = None,
    sidecar: dict[str, Any] | None = None,
) -> Path:
    """Write an ONNX file and its sidecar."""
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **more) for kind, ins, outs, more in nodes],
        "network",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one, None) for one in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    opset = [helper.make_opsetid("", 13)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    path.with_suffix(".json").write_text(json.dumps({**SIDECAR, **(sidecar or {})}))
    return path


def convolution(dtype: Any = np.float32) -> dict[str, Any]:
    """A network of one layer with a map and with tokens, 8 x 8 of 12 channels."""
    kernel = np.random.default_rng(0).normal(size=(12, 3, 4, 4)).astype(dtype)
    kind = HALF if dtype == np.float16 else FLOAT
    return {
        "nodes": [
            ("Conv", ["x", "w"], ["map"], {"strides": [4, 4]}),
            ("Reshape", ["map", "shape"], ["flat"], {}),
            ("Transpose", ["flat"], ["tokens"], {"perm": [0, 2, 1]}),
        ],
        "inputs": [("x", kind, ("n", 3, SIZE, SIZE))],
        "outputs": [("map", kind), ("tokens", kind)],
        "weights": {"w": kernel, "shape": np.array([0, 12, 64])},
    }


def features(path: Path | str, images: np.ndarray) -> np.ndarray:
    return choose(str(path))[0].load()(images)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        ({}, lambda mean: mean / 255),
        ({"range": [-1, 1]}, lambda mean: mean / 127.5 - 1),
        ({"range": [0, 255]}, lambda mean: mean),
        ({"channels": "BGR"}, lambda mean: mean[:, ::-1] / 255),
        ({"mean": [0.1, 0.2, 0.3], "std": [0.5, 1, 2]},
         lambda mean: (mean / 255 - [0.1, 0.2, 0.3]) / [0.5, 1, 2]),
        ({"channels": "BGR", "range": [0, 255], "mean": [9, 99, 199], "std": [1, 1, 1]},
         lambda mean: mean[:, ::-1] - [9, 99, 199]),
    ],
)  # fmt: skip
def test_the_network_sees_pixels_as_the_sidecar_says(
    sidecar: dict[str, Any], expected: Any, images: np.ndarray, tmp_path: Path
) -> None:
    found = features(write(tmp_path / "net.onnx", sidecar=sidecar), images)
    assert found.dtype == np.float32
    means = expected(images.mean(axis=(1, 2), dtype=np.float64))
    np.testing.assert_allclose(found, means, rtol=0.02, atol=0.01)  # bfloat16 where there is any


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_maps_and_tokens_become_a_vector(dtype: Any, images: np.ndarray, tmp_path: Path) -> None:
    network = convolution(dtype)
    pixels = images.astype(np.float64) / 255
    patches = pixels.reshape(3, 8, 4, 8, 4, 3)
    tokens = np.einsum("nyixjc,ocij->nyxo", patches, network["weights"]["w"]).reshape(3, 64, 12)
    for name, pooling, expected in (
        ("map", "mean", tokens.mean(axis=1)),
        ("tokens", "mean", tokens.mean(axis=1)),
        ("tokens", "cls", tokens[:, 0]),
    ):
        sidecar = {"output": name, "pooling": pooling}
        found = features(write(tmp_path / "net.onnx", **network, sidecar=sidecar), images)
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_an_openvino_file_gives_what_its_onnx_file_gives(
    images: np.ndarray, tmp_path: Path
) -> None:
    path = write(tmp_path / "net.onnx")
    openvino = import_openvino()
    openvino.save_model(openvino.Core().read_model(str(path)), str(tmp_path / "other.xml"))
    shutil.copy(tmp_path / "net.json", tmp_path / "other.json")
    found = features(tmp_path / "other.xml", images)
    np.testing.assert_allclose(found, features(path, images), atol=1e-3)
    (tmp_path / "other.bin").unlink()
    with pytest.raises(ModelError, match=r"no network file .*other\.bin; other\.xml needs it"):
        choose(str(tmp_path / "other.xml"))


def test_a_keras_file_is_exported(images: np.ndarray, tmp_path: Path) -> None:
    keras = import_keras()
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 4, 4)(image)
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)).save(tmp_path / "net.keras")
    (tmp_path / "net.json").write_text(json.dumps(SIDECAR))
    model = keras.saving.load_model(tmp_path / "net.keras")
    expected = model.predict_on_batch(images.astype(np.float32) / 255)
    np.testing.assert_allclose(features(tmp_path / "net.keras", images), expected, atol=0.02)


def test_code_in_a_keras_file_is_not_run(tmp_path: Path) -> None:
    keras = import_keras()
    image = keras.Input((SIZE, SIZE, 3))
    keras.Model(image, keras.layers.Lambda(lambda x: x + 1)(image)).save(tmp_path / "net.keras")
    (tmp_path / "net.json").write_text(json.dumps(SIDECAR))
    with pytest.raises(ModelError, match=r"cannot be loaded by Keras: .*Lambda"):
        choose(str(tmp_path / "net.keras"))


def test_weights_in_a_file_of_their_own_count(images: np.ndarray, tmp_path: Path) -> None:
    path = write(
        tmp_path / "net.onnx", **convolution(), sidecar={"output": "map", "pooling": "mean"}
    )
    inside = features(path, images)
    onnx.save_model(
        onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    np.testing.assert_array_equal(features(path, images), inside)
    before = choose(str(path))[0].fingerprint
    data = bytearray((tmp_path / "net.data").read_bytes())
    data[2] ^= 1
    (tmp_path / "net.data").write_bytes(data)
    assert choose(str(path))[0].fingerprint != before
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match=r"no network file .*net\.data; net\.onnx needs it"):
        choose(str(path))


def test_the_fingerprint_follows_the_contents_and_not_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    first = choose(str(path))[0].fingerprint
    shutil.copytree(tmp_path, tmp_path / "moved")
    for ending in (".onnx", ".json"):
        (tmp_path / "moved" / "net").with_suffix(ending).rename(tmp_path / f"Größe 2{ending}")
    renamed = choose(str(tmp_path / "Größe 2.onnx"))[0]
    assert renamed.fingerprint == first
    assert renamed.spec.name == "Gr_e_2.onnx"
    (tmp_path / "net.json").write_text(json.dumps({**SIDECAR, "channels": "BGR"}))
    assert choose(str(path))[0].fingerprint != first


def test_the_whole_job_runs_without_the_file(
    sample: Path, geosim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("granite", "schist"):
        shutil.copytree(sample / folder, tmp_path / "rocks" / folder)
    network = convolution()
    path = write(tmp_path / "mine.onnx", **network, sidecar={"output": "tokens", "pooling": "mean"})
    options = ("--working", tmp_path / "working")
    rocks = tmp_path / "rocks"
    train = ("train", rocks, "--backbone", path, "--epochs", 2, *options)
    done = geosim(*train)
    assert done.exit_code == 0, done.output
    assert f"backbone {path}, as asked" in done.stderr
    evaluate = ("evaluate", rocks, "--backbone", path, "--epochs", 1, "--split", "random", *options)
    for _ in range(2):  # the second reads the first's run
        done = geosim(*evaluate)
        assert done.exit_code == 0, done.output
        assert "mine.onnx" in done.stdout
    assert "kept, it is up to date" in geosim(*train).stderr
    path.unlink()
    path.with_suffix(".json").unlink()
    (tmp_path / "working").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "features")
    moved = ("--working", tmp_path / "moved")
    assert load_model(tmp_path / "moved" / "model").spec.feature_width == 12
    ingested = geosim("ingest", rocks, *moved)
    assert ingested.exit_code == 0, ingested.output
    new = sample / "basalt" / "basalt-0001.jpg"
    found = geosim("search", new, "-k", 3, "--format", "json", *moved)
    assert found.exit_code == 0, found.output
    assert len(json.loads(found.stdout)[0]["hits"]) == 3
    refused = geosim(*train)
    assert refused.exit_code == 1
    assert "there is no network file" in refused.stderr


WIDE = [("Flatten", ["x"], ["y"], {})]
ONE = ("x", FLOAT, ("n", 3, SIZE, SIZE))
FITTING = [
    pytest.param({"sidecar": {"colour": 1}}, "unknown colour; expected size", id="key"),
    pytest.param({"sidecar": {"size": "32"}}, 'size is "32", expected a whole', id="size"),
    pytest.param({"sidecar": {"std": [1, 0, 1], "mean": [0, 0, 0]}}, "three positive", id="std"),
    pytest.param({"sidecar": {"mean": [0, 0, 0]}}, "mean and std together", id="mean alone"),
    pytest.param({"sidecar": {"pooling": "max"}}, "expected none or mean or cls", id="pooling"),
    pytest.param(
        {"inputs": [("x", FLOAT, ("n", 3, 64, 64))]},
        r"input x is \[\? x 3 x 64 x 64\] f32, which takes 64 x 64 pixels, but .* size is 32",
        id="another size",
    ),
    pytest.param({"inputs": [("x", FLOAT, ("n", 1, 32, 32))]}, "expected 3 channels", id="grey"),
    pytest.param(
        {"nodes": [("Relu", ["x"], ["y"], {})], "inputs": [("x", FLOAT, ("n", 3, "s"))]},
        "expected pictures",
        id="rank",
    ),
    pytest.param(
        {"inputs": [("x", FLOAT, (1, "c", "h", "w"))]}, 'name its "layout"', id="no layout"
    ),
    pytest.param(
        {
            "nodes": [("Add", ["x", "z"], ["s"], {}), ("ReduceMean", ["s"], ["y"], MEAN[0][3])],
            "inputs": [ONE, ("z", FLOAT, ("n", 3, SIZE, SIZE))],
        },
        r"2 inputs \(x, z\), expected one",
        id="two inputs",
    ),
    pytest.param({"inputs": [("x", TensorProto.INT32, ONE[2])]}, "floating-point", id="integers"),
    pytest.param(convolution(), 'name one of map, tokens as "output"', id="two outputs"),
    pytest.param({"sidecar": {"output": "z"}}, "no output 'z', but y", id="no such output"),
    pytest.param(
        {**convolution(), "sidecar": {"output": "map"}}, 'name a "pooling"', id="not a vector"
    ),
    pytest.param({"sidecar": {"pooling": "cls"}}, "expected three axes", id="no tokens"),
    pytest.param(
        {"nodes": [("ArgMax", ["x"], ["y"], {"axis": 1, "keepdims": 0})],
         "outputs": [("y", TensorProto.INT64)]},
        "expected floating-point",
        id="class numbers",
    ),
    pytest.param(
        {"nodes": [("ReduceMean", ["x"], ["y"], {"axes": [1, 2, 3], "keepdims": 0})]},
        r"features, expected 2 to 16,384",
        id="one number",
    ),
    pytest.param(
        {"nodes": WIDE, "inputs": [("x", FLOAT, ("n", 3, 96, 96))], "sidecar": {"size": 96}},
        "27,648 features, expected 2 to 16,384",
        id="wide",
    ),
    pytest.param(
        {"nodes": [("Reshape", ["x", "s"], ["r"], {}), ("ReduceMean", ["r"], ["y"], MEAN[0][3])],
         "inputs": [("x", FLOAT, (4, 3, SIZE, SIZE))],
         "weights": {"s": np.array([4, 3, SIZE, SIZE])}},
        "OpenVINO cannot run it on one picture",
        id="fixed batch",
    ),
    pytest.param(
        {"nodes": [("Sub", ["x", "x"], ["z"], {}), ("Div", ["x", "z"], ["q"], {}),
                   ("ReduceMean", ["q"], ["y"], MEAN[0][3])]},
        "not finite",
        id="not finite",
    ),
    pytest.param(
        {"nodes": [("Sub", ["x", "x"], ["z"], {}), ("ReduceMean", ["z"], ["y"], MEAN[0][3])]},
        "the same features for different pictures",
        id="constant",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("network", "message"), FITTING)
def test_what_does_not_fit_is_refused_with_its_reason(
    network: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "net.onnx", **network)
    with pytest.raises(ModelError, match=message) as refused:
        choose(str(path))
    assert "\n" not in str(refused.value)


def test_a_missing_sidecar_shows_an_example(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    path.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r'needs a file net\.json .* such as \{"size": 224'):
        choose(str(path))


@pytest.mark.parametrize("ending", [".onnx", ".xml", ".keras"])
def test_damaged_files_are_refused_in_one_line(ending: str, geosim: Run, tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(json.dumps(SIDECAR))
    (tmp_path / "net.bin").write_bytes(b"")
    whole = write(tmp_path / "whole.onnx", **convolution()).read_bytes()
    (tmp_path / "rocks").mkdir()
    path = tmp_path / f"net{ending}"
    for content in (b"a note, no network\n", b"", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is damaged or") as refused:
            choose(str(path))
        assert "\n" not in str(refused.value)
    path.unlink()
    with pytest.raises(ModelError, match="no network file"):
        choose(str(path))
    path.mkdir()
    with pytest.raises(ModelError, match="no network file"):
        choose(str(path))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    with path.open("r+b") as file:
        file.truncate(LARGEST + 1)  # sparse
    with pytest.raises(ModelError, match="2,147,483,649 bytes, expected 2,147,483,648 at most"):
        choose(str(path))


def test_weights_are_not_for_a_network_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"--weights is for resnet50; .*net\.onnx takes none"):
        choose(str(write(tmp_path / "net.onnx")), tmp_path / "weights.h5")


def test_help_tells_of_it_with_an_example(geosim: Run) -> None:
    told = " ".join(geosim("train", "--help").stdout.split())
    assert '.json file beside it such as {"size": 224, "channels": "RGB"' in told
