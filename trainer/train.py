"""Trains a model on a data set and writes it.

Owns what a training is from end to end: the inputs, the fit, the card, and that nothing is done
twice. A head on frozen features is fitted by `trainer/heads/fit.py`; a backbone that is trained end
to end brings its own fit.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.data.dataset import Dataset, Rejected
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import Fit, TrainOptions, fit_head
from geosim.trainer.inputs import Inputs, check_classes, read_inputs
from geosim.trainer.model import Model, fingerprint_of, load_model, save_model
from geosim.trainer.progress import progress_bar
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.runtime.keras import KerasBackbone
from geosim.trainer.working import Working


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


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A fit, and the backbone that it trained, if it trained one, with what runs it."""

    fit: Fit
    backbone: KerasBackbone | None
    runtime: Backbone | None

    def embed(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Map rows of `Inputs.array` to embeddings ``(n, 32) float32``, L2 norm 1 or zero."""
        if self.runtime is None:
            return self.fit.head(array)
        return self.fit.head(self.runtime(array))


def learn(
    inputs: Inputs,
    rows: NDArray[np.intp],
    options: TrainOptions,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> Learned:
    """Learn the embedding from some of the images.

    Args:
        inputs: the data set.
        rows: which of its images may be seen.
        options: see `TrainOptions`.
        progress: called with 1 after each epoch.
    """
    array, labels, classes = inputs.array[rows], inputs.labels[rows], len(inputs.classes)
    spec = inputs.pretrained.spec
    if spec.fit is not None:
        backbone, fit = spec.fit(array, labels, classes, options, progress=progress)
        return Learned(fit, backbone, choose_runtime(backbone, spec.precision))
    return Learned(fit_head(array, labels, classes, options, progress=progress), None, None)


def train(
    dataset: Dataset,
    pretrained: Pretrained,
    working: Working,
    options: TrainOptions,
    *,
    keep: str | None = None,
) -> TrainReport:
    """Train a model on a data set and write it to ``<working>/model``.

    A model that is there already and was made from the same images, backbone and options is kept:
    its fingerprint, and with it every collection, stays valid.

    Args:
        dataset: what to learn from.
        pretrained: the backbone.
        working: where model and feature cache go.
        options: see `TrainOptions`.
        keep: why the model that is there must not be replaced by another one, if it must not.

    Raises:
        DatasetError: fewer than two classes, or no image that can be decoded.
        ModelError: another training is under way there, another model is to be kept, the features
            cannot be cached, or the fit gave no finite loss.
    """
    started = time.perf_counter()
    check_classes(dataset)
    with _training_lock(working.model):
        inputs = read_inputs(dataset, pretrained, working.features)
        recipe = _recipe(inputs, options)
        previous = _model_or_none(working.model)
        reused = previous is not None and previous.card.get("recipe") == recipe
        if previous is not None and reused:
            model, zero = previous, tuple(previous.card["training"]["zero_embeddings"])
        else:
            if keep is not None:
                raise ModelError(keep)
            with progress_bar("training", options.epochs, unit="epoch") as bar:
                everything = np.arange(len(inputs.items))
                learned = learn(inputs, everything, options, progress=bar.update)
            zero = _zero(inputs, learned)
            _save(working.model, dataset, inputs, learned, options, zero, recipe, previous)
            model = load_model(working.model)
    return TrainReport(
        model=model,
        images=len(inputs.items),
        computed=inputs.computed,
        rejected=inputs.rejected,
        zero=zero,
        seconds=time.perf_counter() - started,
        reused=reused,
    )


@contextmanager
def _training_lock(folder: Path) -> Iterator[None]:
    """Keep other trainings away, which would remove this one's files.

    Raises:
        ModelError: another one is under way.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            yield
    except Timeout as error:
        raise ModelError(
            f"another training is under way for {folder}; wait until that one ends, or give this "
            "one another --working"
        ) from error


def _zero(inputs: Inputs, learned: Learned) -> tuple[str, ...]:
    """Return the stored paths of images without an embedding; a ReLU head alone can have any."""
    if not learned.fit.head.relu:
        return ()
    embedded = learned.embed(inputs.array)
    rows = np.flatnonzero(~np.any(embedded != 0, axis=1))
    return tuple(inputs.items[row].record.path for row in rows)


def _recipe(inputs: Inputs, options: TrainOptions) -> str:
    """Return a digest of everything that decides the outcome of a training."""
    settings = f"{inputs.pretrained.fingerprint}|{asdict(options)}".encode()
    return hashlib.sha256(settings + inputs.listing).hexdigest()


def _model_or_none(folder: Path) -> Model | None:
    """Return a model that is whole; a damaged one is made again."""
    try:
        model = load_model(folder)
        model.check()
    except ModelError:
        return None
    return model


def _save(
    folder: Path,
    dataset: Dataset,
    inputs: Inputs,
    learned: Learned,
    options: TrainOptions,
    zero: tuple[str, ...],
    recipe: str,
    previous: Model | None,
) -> None:
    """Write the curve, the weights and, last, the card that makes them the model."""
    from geosim.trainer.plots import save_loss_curve

    pretrained, fit = inputs.pretrained, learned.fit
    fingerprint, sha256 = pretrained.fingerprint, pretrained.sha256
    if learned.backbone is not None:
        sha256 = _weights_digest(learned.backbone)
        fingerprint = replace(pretrained, sha256=sha256).fingerprint
    old = None if previous is None else previous.card
    same = old is not None and old["backbone"]["fingerprint"] == fingerprint
    backbone: Backbone | None = learned.backbone
    if backbone is None and not same:
        backbone = inputs.backbone()
    card = {
        "fingerprint": fingerprint_of(fingerprint, fit.head),
        "recipe": recipe,
        "backbone": {
            "name": pretrained.spec.name,
            "fingerprint": fingerprint,
            "weights_sha256": sha256,
            "licence": pretrained.spec.licence,
        },
        **_facts(dataset, inputs, fit, options, zero),
    }
    save_loss_curve(fit.loss, fit.validation_loss, fit.best_epoch, folder / "loss.png")
    save_model(folder, fit.head, backbone, card, old if same else None)


def _weights_digest(backbone: KerasBackbone) -> str:
    """Return a digest of a trained backbone's weights: it has no publisher's file to hash."""
    digest = hashlib.sha256()
    for array in backbone.model.get_weights():
        digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()


def _facts(
    dataset: Dataset, inputs: Inputs, fit: Fit, options: TrainOptions, zero: tuple[str, ...]
) -> dict[str, Any]:
    """Return what the card tells a reader."""
    size = inputs.pretrained.spec.input_size
    counts = np.bincount(inputs.labels, minlength=len(inputs.classes)).tolist()
    return {
        "input_size": size,
        "preprocessing": (
            f"RGB, EXIF orientation applied, whole picture resized to {size} x {size} (bilinear, "
            "antialiased), the backbone's own scaling in its graph"
        ),
        "head": options.head,
        "classes": list(inputs.classes),
        "training": {
            "dataset": dataset.name,
            "images": len(inputs.items),
            "images_per_class": dict(zip(inputs.classes, counts, strict=True)),
            "zero_embeddings": list(zero),
            **asdict(options),
            "optimizer": inputs.pretrained.spec.optimizer,
            "loss": fit.loss,
            "validation_loss": fit.validation_loss,
            "best_epoch": fit.best_epoch,
        },
        "versions": {
            "python": platform.python_version(),
            **{
                name: metadata.version(name)
                for name in ("geosim", "tensorflow", "keras", "openvino", "numpy")
            },
        },
    }
