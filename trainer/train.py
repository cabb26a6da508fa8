"""Training: read a data set, fit a model and write it with its card."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec, Pretrained
from geosim.trainer.card import describe
from geosim.trainer.data.dataset import Dataset, Rejected
from geosim.trainer.data.places import register_new_place
from geosim.trainer.disk import explain
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import Fit, TrainOptions
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.inputs import DEFAULT_OPTIONS, Inputs, check_classes, read_inputs
from geosim.trainer.kept import changing, prune
from geosim.trainer.locks import ProcessLock
from geosim.trainer.model import (
    Model,
    fingerprint_of,
    load_model,
    save_model,
    sha256_of_arrays,
)
from geosim.trainer.progress import progress_bar
from geosim.trainer.recipe import changed_recipe
from geosim.trainer.recipes.registry import recipe_of
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.rows import Rows
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.runtime.keras import KerasBackbone
from geosim.trainer.votes import vote_facts
from geosim.trainer.working import Working


@dataclass(frozen=True, slots=True)
class TrainReport:
    """The result of a training."""

    model: Model  # as saved
    images: int  # trained on or held out
    computed: int  # images that went through the backbone; the others were cached
    rejected: tuple[Rejected, ...]
    scaled: Mapping[str, int]  # images scaled to 8 bits, by what their samples were
    zero_embeddings: tuple[str, ...]  # stored paths of images that it embeds to a zero vector
    seconds: float  # wall time
    reused: bool  # whether a model of the same images and options was already there


EMBEDDED_AT_ONCE = 1024
"""Images whose features a head embeds at once; bounds the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A fitted model that is not saved."""

    fit: Fit
    backbone: KerasBackbone | None  # None for a frozen one
    runtime: Backbone | None  # runs `backbone`

    def embed(self, rows: NDArray[Any] | Rows) -> NDArray[np.float32]:
        """Map rows of `Inputs.array` to embeddings ``(n, 32) float32``, L2 norm 1 or zero."""
        head = self.fit.head
        if self.runtime is not None:
            return head(self.runtime(rows[:]))
        parts = []
        for start in range(0, len(rows), EMBEDDED_AT_ONCE):
            block = rows[start : start + EMBEDDED_AT_ONCE]
            seen = block if block.ndim == 2 else block[:, : head.views].reshape(len(block), -1)
            parts.append(head(seen.astype(np.float32, copy=False)))
        return np.concatenate(parts) if parts else np.zeros((0, EMBEDDING_DIM), np.float32)


def fit_model(
    inputs: Inputs,
    rows: NDArray[np.intp],
    options: TrainOptions,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> FittedModel:
    """Fit a model on some rows of `Inputs.array`, sorted; call ``progress(1)`` after each epoch.

    Raises:
        ModelError: the fit gave no finite loss.
    """
    spec, classes, labels = inputs.pretrained.spec, len(inputs.classes), inputs.labels[rows]
    chosen = inputs.rows(rows)
    backbone, fit = inputs.recipe.fit(spec, chosen, labels, classes, options, progress=progress)
    runtime = None if backbone is None else choose_runtime(backbone, spec.precision)
    return FittedModel(fit, backbone, runtime)


def fit_votes(
    inputs: Inputs,
    rows: NDArray[np.intp],
    options: TrainOptions,
    fitted: FittedModel,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[str, Any]:
    """Return the card's entry on the votes of a model that was fitted on ``rows``."""

    def fit(part: NDArray[np.intp]) -> Callable[[Rows], NDArray[np.float32]]:
        return fit_model(inputs, part, options, progress=progress).embed

    return vote_facts(inputs, rows, options, fitted.embed, fit)


def train(
    dataset: Dataset,
    pretrained: Pretrained,
    working: Working,
    options: TrainOptions,
    *,
    keep: Callable[[], str | None] = lambda: None,
    rehash: bool = False,
) -> TrainReport:
    """Train a model on a data set and write it to ``<working>/model``.

    An existing model of the same images, backbone and options is kept, so that its fingerprint and
    all collections stay valid. One that is replaced stays beside the new one while a collection may
    need it (`trainer/kept.py`). The level of a new data set's classes is noted in the working
    folder. ``keep`` returns why another must not be replaced, or None; it is called before the
    training and again after it. ``rehash`` reads the files that seem unchanged as well.

    Raises:
        DatasetError: fewer than two classes have an image that can be decoded.
        ModelError: another training is under way, the existing model must be kept, the feature
            cache cannot be used, or the fit gave no finite loss.
    """
    started = time.perf_counter()
    check_classes(dataset, recipe_of(pretrained.spec, options))
    with _training_lock(working.model):
        register_new_place(working.datasets, dataset.name, dataset.place)
        inputs = read_inputs(dataset, pretrained, working, options, rehash=rehash)
        digest = _training_digest(inputs, options)
        previous = _model_or_none(working.model)
        reused = previous is not None and previous.card.get("recipe") == digest
        if previous is not None and reused:
            model, zero = previous, tuple(previous.card["training"]["zero_embeddings"])
            with changing(working.model):
                prune(working.model)
        else:
            _check_replaceable(keep)
            with progress_bar("training", options.epochs, unit="epoch") as bar:
                everything = np.arange(len(inputs.items))
                fitted = fit_model(inputs, everything, options, progress=bar.update)
            zero = _zero_embeddings(inputs, fitted)
            with progress_bar("certainty", None, unit="epoch") as bar:
                vote = fit_votes(inputs, everything, options, fitted, progress=bar.update)
            _check_replaceable(keep)
            _save(working.model, dataset, inputs, fitted, options, zero, vote, digest, previous)
            model = load_model(working.model)
    seconds = time.perf_counter() - started
    return TrainReport(
        model,
        len(inputs.items),
        inputs.computed,
        inputs.rejected,
        inputs.scaled,
        zero,
        seconds,
        reused,
    )


def _check_replaceable(keep: Callable[[], str | None]) -> None:
    if (reason := keep()) is not None:
        raise ModelError(reason)


@contextmanager
def _training_lock(folder: Path) -> Iterator[None]:
    """Lock a model folder for one training."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = ProcessLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(0, "end its training")
    except TimeoutError as error:
        raise ModelError(
            f"another training is under way for {folder}, in {lock.holder()}; wait until that one "
            "ends, or give this one another --working"
        ) from error
    except OSError as error:
        raise ModelError(
            f"cannot write to {folder.parent} ({explain(error, folder)}); name a writable folder "
            "with --working"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _zero_embeddings(inputs: Inputs, fitted: FittedModel) -> tuple[str, ...]:
    """Return the stored paths of images with a zero embedding; only a ReLU head has any."""
    if not fitted.fit.head.relu:
        return ()
    embedded = fitted.embed(inputs.rows())
    rows = np.flatnonzero(~np.any(embedded != 0, axis=1))
    return tuple(inputs.items[row].record.path for row in rows)


def _training_digest(inputs: Inputs, options: TrainOptions) -> str:
    """Return a hex digest of the backbone, the options, the constants and the images."""
    settings = f"{inputs.pretrained.fingerprint}|{asdict(options)}"
    settings += training_recipe(inputs.pretrained.spec, inputs.recipe)
    digest = hashlib.sha256(settings.encode())
    for line in inputs.listing():
        digest.update(line)
    return digest.hexdigest()


def training_recipe(spec: BackboneSpec, recipe: Recipe | None = None) -> str:
    """Return the digest of the constants of a training; see `changed_recipe`.

    ``recipe`` is by default the one that default options are for.
    """
    return changed_recipe((recipe or recipe_of(spec, DEFAULT_OPTIONS)).module(spec))


def _model_or_none(folder: Path) -> Model | None:
    """Return the saved model, or None where it is missing or damaged."""
    with suppress(ModelError):
        model = load_model(folder)
        model.check()
        return model
    return None


def _save(
    folder: Path,
    dataset: Dataset,
    inputs: Inputs,
    fitted: FittedModel,
    options: TrainOptions,
    zero_embeddings: tuple[str, ...],
    vote: dict[str, Any],
    digest: str,
    previous: Model | None,
) -> None:
    """Write the loss curve and the model."""
    from geosim.trainer.plots import save_loss_curve

    pretrained, fit = inputs.pretrained, fitted.fit
    backbone: Backbone | None = fitted.backbone
    if fitted.backbone is not None:
        weights = fitted.backbone.model.get_weights()
        pretrained = replace(pretrained, sha256=sha256_of_arrays(weights))
    card = {
        "fingerprint": fingerprint_of(pretrained.fingerprint, fit.head),
        "recipe": digest,
        "backbone": {
            "name": pretrained.spec.name,
            "fingerprint": pretrained.fingerprint,
            "weights_sha256": pretrained.sha256,
            "licence": pretrained.spec.licence,
            "feature_width": pretrained.spec.feature_width,
        },
        **describe(dataset, inputs, fit, options, zero_embeddings),
        **vote,
    }
    same = None  # the card of a model with the same backbone
    if previous and previous.card["backbone"]["fingerprint"] == pretrained.fingerprint:
        same = previous.card
    if backbone is None and same is None:
        backbone = inputs.backbone()
    curve = folder / "loss.png"
    save_loss_curve(fit.loss, fit.validation_loss, fit.best_epoch, curve, label=fit.loss_name)
    save_model(folder, fit.head, backbone, card, same)
