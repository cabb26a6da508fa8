"""Learns the head on frozen features and writes the model.

Owns the recipe: the split, the head and its loss, the fit and which epoch is kept. Features come
from `trainer/features.py`; what the head computes afterwards is `trainer/head.py`.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.backbones import Pretrained
from trainer.dataset import Dataset, Hashed, Rejected, hash_records
from trainer.errors import DatasetError, ModelError
from trainer.features import FeatureExtractor
from trainer.head import EMBEDDING_WIDTH, Head
from trainer.keras_backbone import import_keras
from trainer.model import Model, fingerprint_of, load_model, save_model
from trainer.progress import Progress
from trainer.split import stratified_split
from trainer.working import Working

LEARNING_RATE = 1e-3
"""Adam's usual rate, Keras' default."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What a training can be told.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        validation_split: share of each class held out to choose the best epoch by; 0 trains on
            all images and chooses by training loss.
        seed: of the split, the initial weights and the order.
    """

    epochs: int = 20
    batch_size: int = 64
    validation_split: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted head and how it got there: losses per epoch, and the epoch kept (from 1)."""

    head: Head
    loss: list[float]
    validation_loss: list[float]
    best_epoch: int


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training did.

    Attributes:
        model: the saved model.
        images: trained on or held out.
        computed: images that went through the backbone; the others were cached.
        rejected: images left out, with reasons.
        zero: stored paths of images that the model embeds to a zero vector.
        seconds: wall time.
        reused: the model was there already, from the same images and options.
    """

    model: Model
    images: int
    computed: int
    rejected: tuple[Rejected, ...]
    zero: tuple[str, ...]
    seconds: float
    reused: bool


def train(
    dataset: Dataset,
    pretrained: Pretrained,
    working: Working,
    options: TrainOptions = TrainOptions(),
) -> TrainReport:
    """Train a head on a data set and write the model to ``<working>/model``.

    A model that is there already and was made from the same images, backbone and options is kept:
    its fingerprint, and with it every collection, stays valid.

    Raises:
        DatasetError: fewer than two classes, or no image that can be decoded.
        ModelError: the features cannot be cached or the fit gave no finite loss.
    """
    started = time.perf_counter()
    if len(dataset.classes) < 2:
        raise DatasetError(
            f"{dataset.location} holds one class only ({dataset.classes[0]}); training needs at "
            "least two class folders side by side"
        )
    with Progress("reading", len(dataset.records)) as bar:
        hashed, unreadable = hash_records(dataset.source, dataset.records, progress=bar.update)
    rejected = [*dataset.rejected, *unreadable]
    extractor = FeatureExtractor(
        pretrained.spec, pretrained.fingerprint, pretrained.load, working.features
    )
    images, features = _features(dataset, hashed, extractor, rejected)
    labels = [image.record.label for image in images]
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise DatasetError(
            f"{dataset.location}: images of fewer than two classes can be decoded "
            f"({len(rejected)} rejected, the first: {rejected[0].path}: {rejected[0].reason})"
        )
    folder = working.model
    recipe = _recipe(pretrained, options, images)
    previous = _card_or_none(folder)
    if previous is not None and previous.get("recipe") == recipe:
        model, reused = load_model(folder), True
    else:
        numbers = np.array([classes.index(label) for label in labels], dtype=np.int32)
        with Progress("training", options.epochs, unit="epoch") as bar:
            fit = fit_head(features, numbers, len(classes), options, progress=bar.update)
        zero = int((~fit.head(features).any(axis=1)).sum())
        card = _card(pretrained, options, dataset, classes, labels, fit, zero, recipe)
        _save(folder, fit, extractor, pretrained, card, previous)
        model, reused = load_model(folder), False
    embedded = model.head(features)
    zero_paths = tuple(
        image.record.path for image, row in zip(images, embedded, strict=True) if not row.any()
    )
    return TrainReport(
        model=model,
        images=len(images),
        computed=extractor.computed,
        rejected=tuple(rejected),
        zero=zero_paths,
        seconds=time.perf_counter() - started,
        reused=reused,
    )


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int32],
    classes: int,
    options: TrainOptions,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> Fit:
    """Fit ``Dense(32, relu, name="embedding")`` and a softmax; keep the best epoch.

    Best is the lowest validation loss, or the lowest training loss where nothing is held out.

    Args:
        features: ``(n, width) float32``.
        labels: ``(n,) int32``, 0 to ``classes - 1``.
        classes: number of classes.
        options: see `TrainOptions`.
        progress: called with 1 after each epoch.

    Raises:
        ModelError: features that are no finite numbers, or no epoch with a finite loss.
    """
    if not np.isfinite(features).all():
        raise ModelError("there are features that are no finite numbers; delete the feature cache")
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    network = keras.Sequential(
        [
            keras.Input((features.shape[1],)),
            keras.layers.Dense(EMBEDDING_WIDTH, activation="relu", name="embedding"),
            keras.layers.Dense(classes, activation="softmax", name="classes"),
        ]
    )
    network.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="sparse_categorical_crossentropy"
    )
    kept, held = stratified_split(labels, options.validation_split, options.seed)
    monitor = "val_loss" if len(held) else "loss"
    best = keras.callbacks.EarlyStopping(
        monitor=monitor, mode="min", patience=options.epochs, restore_best_weights=True
    )
    tick = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: progress(1))
    history = network.fit(
        features[kept],
        labels[kept],
        validation_data=(features[held], labels[held]) if len(held) else None,
        epochs=options.epochs,
        batch_size=options.batch_size,
        callbacks=[best, tick],
        verbose=0,
    ).history
    losses = np.array(history[monitor], dtype=np.float64)
    if not np.isfinite(losses).any():
        raise ModelError("training gave no finite loss; the features are damaged, delete the cache")
    kernel, bias = network.get_layer("embedding").get_weights()
    return Fit(
        head=Head(np.ascontiguousarray(kernel), np.ascontiguousarray(bias)),
        loss=[float(value) for value in history["loss"]],
        validation_loss=[float(value) for value in history.get("val_loss", [])],
        best_epoch=int(np.nanargmin(losses)) + 1,
    )


def _features(
    dataset: Dataset,
    hashed: Sequence[Hashed],
    extractor: FeatureExtractor,
    rejected: list[Rejected],
) -> tuple[list[Hashed], NDArray[np.float32]]:
    """Return the decodable images, sorted by path, and their features in the same order."""
    rows: dict[str, int] = {item.record.path: row for row, item in enumerate(hashed)}
    features = np.zeros((len(hashed), extractor.spec.feature_width), dtype=np.float32)
    done = np.zeros(len(hashed), dtype=bool)
    with Progress("features", len(hashed)) as bar:

        def reject(one: Rejected) -> None:
            rejected.append(one)
            bar.update(1)

        for batch in extractor.extract(dataset.source, hashed, reject=reject):
            for extracted in batch:
                row = rows[extracted.item.record.path]
                features[row] = extracted.features.vector
                done[row] = True
            bar.update(len(batch))
    return [item for item, good in zip(hashed, done, strict=True) if good], features[done]


def _recipe(pretrained: Pretrained, options: TrainOptions, images: Sequence[Hashed]) -> str:
    """Return a digest of everything that decides the outcome of a training."""
    digest = hashlib.sha256(f"{pretrained.fingerprint}|{asdict(options)}".encode())
    for image in images:
        digest.update(f"{image.record.path}\0{image.sha256}\n".encode())
    return digest.hexdigest()


def _card_or_none(folder: Path) -> dict[str, Any] | None:
    """Return the card of a model that is whole; a damaged one is made again."""
    try:
        model = load_model(folder)
        model.check()
        return dict(model.card)
    except ModelError:
        return None


def _save(
    folder: Path,
    fit: Fit,
    extractor: FeatureExtractor,
    pretrained: Pretrained,
    card: dict[str, Any],
    previous: dict[str, Any] | None,
) -> None:
    from trainer.plots import save_loss_curve

    same = (
        previous is not None and previous["backbone"]["fingerprint"] == pretrained.fingerprint
    ) or not pretrained.spec.keras
    backbone = None if same else extractor.backbone
    # The card goes last: once it is there, the same training does not draw the curve again.
    save_loss_curve(fit.loss, fit.validation_loss, fit.best_epoch, folder / "loss.png")
    save_model(folder, fit.head, backbone, card, previous if same else None)


def _card(
    pretrained: Pretrained,
    options: TrainOptions,
    dataset: Dataset,
    classes: Sequence[str],
    labels: Sequence[str],
    fit: Fit,
    zero: int,
    recipe: str,
) -> dict[str, Any]:
    spec = pretrained.spec
    return {
        "fingerprint": fingerprint_of(pretrained.fingerprint, fit.head),
        "recipe": recipe,
        "backbone": {
            "name": spec.name,
            "fingerprint": pretrained.fingerprint,
            "weights_sha256": pretrained.sha256,
            "licence": spec.licence,
        },
        "input_size": spec.input_size,
        "preprocessing": (
            f"RGB, EXIF orientation applied, whole picture resized to {spec.input_size} x "
            f"{spec.input_size} (bilinear, antialiased), the backbone's own scaling in its graph"
        ),
        "head": f"Dense({EMBEDDING_WIDTH}, relu), L2 norm 1",
        "classes": list(classes),
        "training": {
            "dataset": dataset.name,
            "images": len(labels),
            "images_per_class": {name: labels.count(name) for name in classes},
            "images_with_zero_embedding": zero,
            **asdict(options),
            "optimizer": f"Adam, learning rate {LEARNING_RATE}",
            "loss": fit.loss,
            "validation_loss": fit.validation_loss,
            "best_epoch": fit.best_epoch,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("geosim", "tensorflow", "keras", "numpy")},
        },
    }
