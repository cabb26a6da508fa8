"""Messages on stderr about trainings, and about files that were left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from geosim.trainer.console import say
from geosim.trainer.data.places import FOLDER, NONE
from geosim.trainer.errors import DatasetError
from geosim.trainer.text import listed

if TYPE_CHECKING:
    from geosim.trainer.data.dataset import Dataset, Rejected
    from geosim.trainer.data.passed_over import PassedOver
    from geosim.trainer.recipes.spec import Recipe
    from geosim.trainer.train import TrainReport

SHOWN_CLASSES = 12
"""Classes that are listed at most."""


def report_dataset(dataset: Dataset) -> None:
    """Print a data set's pictures, its classes and the rule for them, and its notes."""
    counts = Counter(record.label for record in dataset.records)
    unlabelled = counts.pop("", 0)
    noun = "picture" if len(dataset.records) == 1 else "pictures"
    told = f"data set {dataset.name}: {len(dataset.records):,} {noun}, {_classes(dataset, counts)}"
    if counts and unlabelled:
        told += f"; {unlabelled:,} without a class"
    say(told, err=True)
    for note in dataset.notes:
        say(note, err=True)


def _classes(dataset: Dataset, counts: Mapping[str, int]) -> str:
    """Return the classes with their pictures, and where they come from."""
    rule = dataset.place.class_from
    if not counts:
        why = {FOLDER: "there are no class folders", NONE: f"--class-from {NONE}"}
        return f"no classes ({why.get(rule, f'no picture has fact {rule}')})"
    classes = [f"{label} {count:,}" for label, count in sorted(counts.items())]
    what = "class" if len(classes) == 1 else "classes"
    source = FOLDER if rule == FOLDER else f"fact {rule}"
    return f"{what} by {source}: {listed(classes, SHOWN_CLASSES)}"


def report_unlabelled(dataset: Dataset, recipe: Recipe) -> None:
    """Print which pictures a training learns from, where not all have a class."""
    if recipe.takes_unlabelled and len(dataset.classes) < 2:
        few = f"only one class, {dataset.classes[0]}" if dataset.classes else "no classes"
        say(f"with {few}, the training learns from the pictures alone", err=True)
    elif dataset.unlabelled and len(dataset.classes) > 1 and not recipe.takes_unlabelled:
        noun = "picture" if dataset.unlabelled == 1 else "pictures"
        say(
            f"recipe {recipe.name} learns from classes: {dataset.unlabelled:,} {noun} without one "
            "are left out of the training",
            err=True,
        )


def report_sample(learned: Dataset) -> None:
    """Print how many pictures a training learns from, if it is a sample."""
    if learned.sampled_from:
        count, whole = len(learned.records), learned.sampled_from
        say(
            f"the training learns from {count:,} of {whole:,} pictures, each class in proportion "
            "(--train-sample)",
            err=True,
        )


def report_training(report: TrainReport) -> None:
    """Print a summary of a training, and how many pictures were scaled."""
    report_scaled(report.scaled)
    training = report.model.card["training"]
    losses = training["validation_loss"] or training["loss"]
    verb = "kept, it is up to date" if report.reused else "trained"
    classes = (
        f"of {len(report.model.classes)} classes" if report.model.classes else "without classes"
    )
    labelled = sum(training["images_per_class"].values())
    if 0 < labelled < report.images:
        classes += f" and {report.images - labelled:,} without one"
    say(
        f"model {report.model.fingerprint[:12]} {verb}: {report.images:,} images {classes} "
        f"({report.computed:,} through the backbone), loss "
        f"{losses[training['best_epoch'] - 1]:.4f} at epoch {training['best_epoch']} of "
        f"{training['epochs']}, {report.seconds:.1f} s",
        err=True,
    )
    if zero := report.zero_embeddings:
        say(
            f"warning: the model embeds {len(zero):,} training images to a zero vector, which "
            f"cannot be searched: {listed(zero, 3)}. Train with another --seed",
            err=True,
        )


def report_scaled(scaled: Mapping[str, int]) -> None:
    """Print how many pictures were scaled to 8 bits, by what their samples were."""
    if not scaled:
        return
    (first, count), *rest = scaled.items()
    noun = "picture" if count == 1 else "pictures"
    parts = [f"{count:,} {noun} of {first}", *(f"{n:,} of {what}" for what, n in rest)]
    text = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    verb = "was" if sum(scaled.values()) == 1 else "were"
    say(f"{text} {verb} scaled to 8 bits", err=True)


def report_rejected(
    rejected: Sequence[Rejected], passed_over: Sequence[PassedOver], *, strict: bool
) -> None:
    """Print every rejected image and the reason, and how many files were passed over.

    Raises:
        DatasetError: images were rejected or pictures passed over, and ``strict`` is set.
    """
    for image in rejected:
        say(f"rejected {image.path}: {image.reason}", err=True)
    for one in passed_over:
        if one.picture or one.own:
            say(str(one), err=True)
    if others := [one for one in passed_over if not (one.picture or one.own)]:
        endings = sorted({one.ending or "no ending" for one in others})
        count = sum(one.count for one in others)
        say(f"{count:,} other files passed over: {listed(endings, 3)}", err=True)
    if not strict:
        return
    missing = sum(one.count for one in passed_over if one.picture)
    counts = [f"{len(rejected):,} images were rejected"] if rejected else []
    counts += [f"{missing:,} pictures were passed over"] if missing else []
    if counts:
        raise DatasetError(f"{' and '.join(counts)}, and --strict is set")
