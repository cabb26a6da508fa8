"""What a model card says of a training."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.views import views_digest
from geosim.trainer.heads.fit import Fit, TrainOptions
from geosim.trainer.inputs import Inputs


def describe(
    dataset: Dataset, inputs: Inputs, fit: Fit, options: TrainOptions, zero: tuple[str, ...]
) -> dict[str, Any]:
    """Return the part of the model card that describes a training.

    ``zero`` are the stored paths of images with a zero embedding.
    """
    size, recipe = inputs.pretrained.spec.input_size, inputs.recipe
    seen = {}
    if recipe.several_views:
        views, trained = fit.head.views, inputs.array.shape[1]
        seen["views"] = {"embedding": views, "training": trained, "table": views_digest()}
    labels = inputs.labels[inputs.labels >= 0]
    counts = np.bincount(labels, minlength=len(inputs.classes)).tolist()
    packages = ("geosim", "tensorflow", "keras", "openvino", "numpy")
    versions = {name: metadata.version(name) for name in packages}
    return {
        "input_size": size,
        "preprocessing": recipe.preprocessing(size, options),
        **seen,
        "head": options.head,
        "classes": list(inputs.classes),
        "training": {
            "dataset": dataset.name,
            "images": len(inputs.items),
            **({"sampled_from": dataset.sampled_from} if dataset.sampled_from else {}),
            "images_per_class": dict(zip(inputs.classes, counts, strict=True)),
            "scaled_to_8_bits": inputs.scaled,
            "zero_embeddings": list(zero),
            **asdict(options),
            "recipe": recipe.name,
            "optimizer": recipe.optimizer(inputs.pretrained.spec),
            "loss": fit.loss,
            "validation_loss": fit.validation_loss,
            "best_epoch": fit.best_epoch,
        },
        "versions": {"python": platform.python_version(), **versions},
    }
