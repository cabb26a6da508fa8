"""The training: which epoch is kept, what repeats, what is reused, what is reported and refused."""

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from filelock import FileLock
from PIL import Image

from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import hash_records, open_dataset
from geosim.trainer.errors import DatasetError, ModelError
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.heads.fit import Fit, TrainOptions, fit_head
from geosim.trainer.heads.head import EMBEDDING_DIM, Head
from geosim.trainer.inputs import read_inputs
from geosim.trainer.kept import read_card
from geosim.trainer.locks import ProcessLock
from geosim.trainer.model import fingerprint_of, load_model
from geosim.trainer.plots import save_loss_curve
from geosim.trainer.recipes import owner
from geosim.trainer.recipes.photograph import PhotographOptions
from geosim.trainer.train import TrainReport, train
from geosim.trainer.working import Working

FEW = TrainOptions(epochs=2)


def colour_grid(data: Path, working: Working, options: TrainOptions = FEW) -> TrainReport:
    return train(open_dataset(data), choose("colour-grid")[0], working, options)


def noise(rows: int = 60, width: int = 40, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Features that say nothing of their labels: a head can only learn them by heart."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(rows, width)).astype(np.float32)
    return features, generator.integers(0, classes, rows).astype(np.int32)


@pytest.fixture
def empty(tmp_path: Path) -> Working:
    return Working(tmp_path / "new")


def test_the_epoch_of_the_lowest_validation_loss_is_kept() -> None:
    features, labels = noise()
    options = TrainOptions(epochs=25, batch_size=8, validation_split=0.4, seed=1)
    long = fit_head(features, labels, 3, options)
    assert len(long.loss) == len(long.validation_loss) == 25
    assert long.best_epoch == int(np.argmin(long.validation_loss)) + 1
    # Learning by heart: the training loss falls to the end, the validation loss does not.
    assert long.best_epoch < 25
    assert int(np.argmin(long.loss)) == 24
    # The same training stopped there has the same losses, and its last head is the one kept.
    short = fit_head(features, labels, 3, replace(options, epochs=long.best_epoch))
    assert short.best_epoch == long.best_epoch
    np.testing.assert_allclose(short.loss, long.loss[: long.best_epoch], rtol=1e-6)
    np.testing.assert_array_equal(short.head.kernel, long.head.kernel)
    np.testing.assert_array_equal(short.head.bias, long.head.bias)


def test_the_validation_loss_is_that_of_the_images_held_out() -> None:
    # Held-out images have labels of their own, so their loss tells whether they were trained on.
    features, labels = noise(rows=40, width=500)
    fit = fit_head(features, labels, 3, TrainOptions(epochs=15, batch_size=4, validation_split=0.5))
    assert fit.loss[-1] < 0.1
    assert fit.validation_loss[-1] > 1.0


def test_without_a_split_the_training_loss_decides() -> None:
    features, labels = noise()
    fit = fit_head(features, labels, 3, TrainOptions(epochs=6, batch_size=8))
    assert fit.validation_loss == []
    assert fit.best_epoch == int(np.argmin(fit.loss)) + 1


def test_a_split_too_small_to_hold_anything_out_trains_on_all() -> None:
    features, labels = noise(rows=6)
    fit = fit_head(features, labels, 3, TrainOptions(epochs=1, validation_split=0.05))
    assert fit.validation_loss == []


def test_a_seed_repeats_the_fit_and_another_gives_another() -> None:
    features, labels = noise()
    options = TrainOptions(epochs=3, validation_split=0.25, seed=7)
    first, again = (fit_head(features, labels, 3, options) for _ in range(2))
    np.testing.assert_array_equal(first.head.kernel, again.head.kernel)
    assert (first.loss, first.validation_loss) == (again.loss, again.validation_loss)
    other = fit_head(features, labels, 3, replace(options, seed=8))
    assert np.abs(other.head.kernel - first.head.kernel).max() > 1e-3


def test_features_that_are_no_numbers_are_refused() -> None:
    features, labels = noise()
    for value in (np.nan, np.inf):
        features[5, 3] = value
        with pytest.raises(ModelError, match=r"no finite numbers; delete the feature cache"):
            fit_head(features, labels, 3, FEW)


def test_a_fit_that_overflows_is_refused() -> None:
    features, labels = noise()
    with pytest.raises(ModelError, match="no finite loss"):
        fit_head(features * np.float32(1e37), labels, 3, FEW)


def test_progress_is_one_per_epoch() -> None:
    done: list[int] = []
    fit_head(*noise(), 3, TrainOptions(epochs=4), progress=done.append)
    assert done == [1, 1, 1, 1]


def test_a_training_does_better_than_guessing(sample: Path, empty: Working) -> None:
    report = colour_grid(sample, empty, TrainOptions(epochs=20, batch_size=8))
    training = report.model.card["training"]
    assert training["loss"][-1] < 0.8 * np.log(8)  # guessing costs log(8)


def test_a_training_leaves_a_complete_card_and_a_picture(sample: Path, empty: Working) -> None:
    options = TrainOptions(epochs=3, batch_size=10, validation_split=0.25, seed=5)
    report = colour_grid(sample, empty, options)
    assert (report.images, report.computed, report.reused) == (96, 96, False)
    assert report.rejected == ()
    card = read_card(empty.model)
    assert card == report.model.card
    pretrained = choose("colour-grid")[0]
    assert card["fingerprint"] == fingerprint_of(pretrained.fingerprint, report.model.head)
    assert card["backbone"] == {
        "name": "colour-grid",
        "fingerprint": pretrained.fingerprint,
        "weights_sha256": "",
        "licence": "Apache-2.0",
        "feature_width": 384,
    }
    assert card["input_size"] == 64
    assert "bilinear" in card["preprocessing"]
    names = sorted(path.name for path in sample.iterdir() if path.is_dir())
    assert card["classes"] == names
    training = card["training"]
    assert training["dataset"] == "rocks"
    assert training["images"] == 96
    assert training["images_per_class"] == dict.fromkeys(names, 12)
    assert training["zero_embeddings"] == list(report.zero_embeddings)
    for name, value in (("epochs", 3), ("batch_size", 10), ("validation_split", 0.25), ("seed", 5)):
        assert training[name] == value
    assert len(training["loss"]) == len(training["validation_loss"]) == 3
    assert 1 <= training["best_epoch"] <= 3
    assert {"python", "geosim", "tensorflow", "keras", "numpy"} <= set(card["versions"])
    head = card["files"]["head"]
    content = (empty.model / head["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == head["sha256"]
    with Image.open(empty.model / "loss.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 1
    names = {path.name for path in empty.model.iterdir() if path.suffix}
    assert names == {"loss.png", "model.json", "needed.json", head["file"]}


def test_the_same_training_again_keeps_the_model(sample: Path, working: Working) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in working.model.iterdir()}
    report = colour_grid(sample, working, TrainOptions(epochs=5))
    assert (report.reused, report.computed) == (True, 0)
    assert {path.name: path.stat().st_mtime_ns for path in working.model.iterdir()} == before


@pytest.mark.parametrize(
    "options",
    [
        TrainOptions(epochs=5, seed=1),
        TrainOptions(epochs=3, batch_size=30),
        TrainOptions(epochs=5, validation_split=0.5),
    ],
)
def test_other_options_make_another_model_of_the_same_features(
    sample: Path, working: Working, options: TrainOptions
) -> None:
    before = load_model(working.model).fingerprint
    report = colour_grid(sample, working, options)
    assert (report.reused, report.computed) == (False, 0)
    assert report.model.fingerprint != before
    assert load_model(working.model).fingerprint == report.model.fingerprint


def test_a_new_image_is_computed_alone_and_makes_another_model(
    rocks: Path, working: Working
) -> None:
    folder = next(path for path in sorted(rocks.iterdir()) if path.is_dir())
    Image.new("RGB", (20, 20), (1, 2, 3)).save(folder / "new.png")
    report = colour_grid(rocks, working, TrainOptions(epochs=5))
    assert (report.images, report.computed, report.reused) == (97, 1, False)


def test_another_working_folder_gives_the_same_model(sample: Path, tmp_path: Path) -> None:
    first, second = (colour_grid(sample, Working(tmp_path / name)) for name in "ab")
    assert first.model.fingerprint == second.model.fingerprint


@pytest.mark.parametrize("damage", ["card", "head"])
def test_a_damaged_model_is_made_again(sample: Path, working: Working, damage: str) -> None:
    before = load_model(working.model).fingerprint
    (head,) = working.model.glob("head-*.npz")
    if damage == "card":
        (working.model / "model.json").write_bytes(b"{")
    else:
        head.write_bytes(b"PK")
    report = colour_grid(sample, working, TrainOptions(epochs=5))
    assert (report.reused, report.computed) == (False, 0)
    assert load_model(working.model).fingerprint == before


def test_the_model_s_extractor_shares_the_training_s_features(
    sample: Path, working: Working
) -> None:
    dataset = open_dataset(sample)
    hashed, _ = hash_records(dataset.source, dataset.records)
    extractor: FeatureExtractor = load_model(working.model).extractor(working.features)
    batches = list(extractor.extract(dataset.source, hashed, reject=print))
    assert sum(map(len, batches)) == 96
    assert extractor.computed == 0


def plain(root: Path, **colours: tuple[int, int, int]) -> Path:
    """A data set of one class per colour, three images each."""
    for name, colour in colours.items():
        (root / name).mkdir(parents=True)
        for width in (8, 9, 10):
            Image.new("RGB", (width, 8), colour).save(root / name / f"{width}.png")
    return root


def test_zero_vectors_are_reported(
    tmp_path: Path, empty: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A head whose one live unit is the red of the first cell - 0.5: black switches all units off.
    kernel = np.zeros((384, EMBEDDING_DIM), np.float32)
    kernel[0, 0] = 1
    bias = np.full(EMBEDDING_DIM, -0.5, np.float32)

    def fitted(*_: Any, **__: Any) -> Fit:
        return Fit(Head(kernel, bias), [1.0, 0.5], [], 2)

    monkeypatch.setattr(owner, "fit_head", fitted)
    data = plain(tmp_path / "rocks", basalt=(0, 0, 0), marble=(255, 255, 255))
    report = colour_grid(data, empty)
    black = tuple(f"rocks/basalt/{name}.png" for name in (10, 8, 9))
    assert report.zero_embeddings == black
    assert report.model.card["training"]["zero_embeddings"] == list(black)
    again = colour_grid(data, empty)
    assert again.reused
    assert again.zero_embeddings == black


def test_rejected_images_are_reported_and_the_rest_is_learned(
    tmp_path: Path, empty: Working
) -> None:
    data = plain(tmp_path / "rocks", basalt=(9, 9, 9), marble=(255, 255, 255))
    (data / "basalt" / "empty.jpg").write_bytes(b"")
    (data / "marble" / "notes.jpg").write_text("notes")
    (data / "marble" / "dangling.jpg").symlink_to(data / "absent.jpg")
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50)).save(buffer, "PNG")
    (data / "marble" / "cut.png").write_bytes(buffer.getvalue()[:60])
    report = colour_grid(data, empty)
    assert report.images == 6
    assert sorted(one.path for one in report.rejected) == [
        "rocks/basalt/empty.jpg",
        "rocks/marble/cut.png",
        "rocks/marble/dangling.jpg",
        "rocks/marble/notes.jpg",
    ]
    assert all(one.reason and "\n" not in one.reason for one in report.rejected)


def test_one_class_is_refused_before_anything_is_written(tmp_path: Path, empty: Working) -> None:
    data = plain(tmp_path / "rocks", marble=(255, 255, 255))
    with pytest.raises(DatasetError, match=r"one class only \(marble\).*at least two class folder"):
        colour_grid(data, empty)
    assert not empty.root.exists()


@pytest.mark.parametrize(("classes", "labels"), [(2, [-1, 0, 1]), (1, [-1]), (0, [-1])])
def test_a_training_that_takes_pictures_without_a_class_gets_them(
    tmp_path: Path, empty: Working, classes: int, labels: list[int]
) -> None:
    colours = {"basalt": (9, 9, 9), "marble": (255, 255, 255)}
    data = plain(tmp_path / "rocks", **dict(list(colours.items())[:classes]))
    data.mkdir(exist_ok=True)
    for side in (30, 40):
        Image.new("RGB", (side, side), (99, 0, 0)).save(data / f"{side}.png")
    options = PhotographOptions(views=2)
    inputs = read_inputs(open_dataset(data), choose("colour-grid")[0], empty, options)
    assert inputs.classes == (("basalt", "marble") if classes == 2 else ())
    assert np.unique(inputs.labels).tolist() == labels
    assert (inputs.labels.dtype, len(inputs.labels)) == (np.int32, len(inputs.array))
    assert len(inputs.items) == 2 + 3 * classes
    unlabelled = [item.record.label == "" or classes < 2 for item in inputs.items]
    assert (inputs.labels == -1).tolist() == unlabelled


def test_pictures_of_which_none_decodes_are_refused(tmp_path: Path, empty: Working) -> None:
    (tmp_path / "rocks").mkdir()
    (tmp_path / "rocks" / "a.png").write_bytes(b"")
    dataset, (pretrained, _) = open_dataset(tmp_path / "rocks"), choose("colour-grid")
    with pytest.raises(DatasetError, match=r"no image can be decoded \(1 rejected, the first: ro"):
        read_inputs(dataset, pretrained, empty, PhotographOptions())


@pytest.mark.parametrize("readable", ["marble", ""])
def test_fewer_than_two_classes_that_decode_are_refused(
    tmp_path: Path, empty: Working, readable: str
) -> None:
    data = plain(tmp_path / "rocks", basalt=(9, 9, 9), marble=(255, 255, 255))
    for path in data.glob("*/*.png"):
        if path.parent.name != readable:
            path.write_bytes(b"")
    rejected = 3 if readable else 6
    with pytest.raises(
        DatasetError,
        match=rf"fewer than two classes can be decoded \({rejected} rejected, the first: "
        r"rocks/basalt/10\.png: the file is empty\)",
    ):
        colour_grid(data, empty)
    assert not empty.model.exists()


def test_a_failed_training_leaves_the_model_that_was_there(
    rocks: Path, working: Working, tmp_path: Path
) -> None:
    before = load_model(working.model).fingerprint
    shutil.rmtree(working.features)
    working.features.write_text("in the way")
    with pytest.raises(ModelError, match=r"feature cache .* cannot be used"):
        colour_grid(rocks, working)
    assert load_model(working.model).fingerprint == before


def test_byte_identical_images_in_two_classes_are_both_learned(
    tmp_path: Path, empty: Working
) -> None:
    data = plain(tmp_path / "rocks", basalt=(9, 9, 9), marble=(255, 255, 255))
    shutil.copy(data / "basalt" / "8.png", data / "marble" / "twin.png")
    report = colour_grid(data, empty)
    assert (report.images, report.computed) == (7, 6)
    assert report.model.card["training"]["images_per_class"] == {"basalt": 3, "marble": 4}


@pytest.mark.parametrize("loss", [[0.0, 0.0], [1e-9, 0.0], [0.7], [float("nan"), 0.5]])
def test_any_losses_can_be_drawn(tmp_path: Path, loss: list[float]) -> None:
    save_loss_curve(loss, [], 1, tmp_path / "loss.png")
    save_loss_curve(loss, loss, len(loss), tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as picture:
        picture.load()
        assert picture.size == (768, 480)
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_two_trainings_do_not_meet_in_one_folder(rocks: Path, empty: Working) -> None:
    empty.root.mkdir()
    with FileLock(empty.root / ".model.lock"), pytest.raises(ModelError, match="under way"):
        colour_grid(rocks, empty)
    lock = ProcessLock(empty.root / ".model.lock")
    lock.acquire(0, "")
    with pytest.raises(ModelError, match=rf"under way .* in this process \({os.getpid()}\)"):
        colour_grid(rocks, empty)
    lock.release()
    assert not colour_grid(rocks, empty).reused
    assert not list(empty.root.glob("*.holder*"))


def test_a_training_on_a_sample_says_so_and_is_kept(
    sample: Path, empty: Working, geosim: Callable[..., Result]
) -> None:
    def run(*more: object) -> str:
        options = ("--backbone", "colour-grid", "--epochs", 1, "--working", empty.root)
        done = geosim("train", sample, *options, *more)
        assert done.exit_code == 0, done.stderr
        return done.stderr

    assert "learns from 24 of 96 pictures" in run("--train-sample", 24)
    training = read_card(empty.model)["training"]
    assert (training["images"], training["sampled_from"]) == (24, 96)
    assert {*training["images_per_class"].values()} == {3}
    assert "kept" in run("--train-sample", 24)
    assert "trained: 24" in run("--train-sample", 24, "--seed", 1)
    assert "learns from" not in run("--train-sample", 96)
    assert "sampled_from" not in read_card(empty.model)["training"]
