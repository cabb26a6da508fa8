"""Runs a study: train on one part of a data set, index that part, query with the rest."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from geosim.search.evaluation.figures import data_facts, figures_of, gallery_of, hits_of
from geosim.search.evaluation.grouping import Grouping, digest_of, join_groups
from geosim.search.evaluation.left_out import left_out_facts
from geosim.search.evaluation.pictures import read_or_find_contents
from geosim.search.evaluation.reliability import reliability_facts
from geosim.search.evaluation.runs import (
    EVALUATED_K,
    Run,
    images_digest,
    read_run,
    recipe_facts,
    write_run,
)
from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.split import (
    SHARED_PIXELS,
    Bond,
    overlap_free_split,
    stratified_folds,
    stratified_sample,
    stratified_split,
)
from geosim.trainer.errors import DatasetError, ModelError, QueryError
from geosim.trainer.evaluation.overlap import Overlaps
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import Inputs, read_inputs
from geosim.trainer.progress import progress_bar
from geosim.trainer.recipes.registry import recipe_of
from geosim.trainer.temporary import private_folder
from geosim.trainer.train import FittedModel, fit_model
from geosim.trainer.votes import vote_facts
from geosim.trainer.working import Working

SPLITS = ("random", "overlap-free")
"""How queries are held out of each class: at random, or sharing no pixels with the gallery."""

KEPT_HITS = 50
"""Number of hits kept per query, for the curve of precision against k."""

TIMED_IMAGES, TIMED_BATCH = 512, 32
"""Number of images embedded to measure the speed of a recipe, and images per batch."""


@dataclass(frozen=True, slots=True)
class Study:
    """What to evaluate: each split with each seed, which decides the split and the training.

    ``splits`` are names in `SPLITS`, ``test_share`` is the share of each class to hold out as
    queries, 0 to 1, and ``folder`` keeps the runs. With ``folds``, 2 or more, the images are dealt
    to so many parts, each of which is held out once, and ``test_share`` is not used. With
    ``without_labels`` the training sees no label; the labels measure alone. With ``novelty`` a
    frozen recipe is trained once more per class, without it (`left_out_facts`). With ``grouping``
    each split is made twice: without it, and so that no value of its fact is on both sides. With
    ``train_sample`` the training sees so many of the images that are not held out; the hits come
    from all of these.
    """

    options: TrainOptions
    splits: tuple[str, ...]
    seeds: tuple[int, ...]
    test_share: float
    folder: Path
    folds: int = 0
    without_labels: bool = False
    novelty: bool = False
    grouping: Grouping | None = None
    train_sample: int | None = None


def evaluate(
    dataset: Dataset,
    pretrained: Pretrained,
    working: Working,
    study: Study,
    *,
    rehash: bool = False,
) -> Inputs:
    """Do the runs of a study that are not finished yet, and return the images they are made on.

    All splits are made before the first training. ``rehash`` reads the files that seem unchanged as
    well.

    Raises:
        DatasetError: there are fewer than two classes, or a class is too small, or shares too many
            pixels, to be on both sides of a split.
        QueryError: the share to hold out or the number of folds is out of range.
        ModelError: the recipe cannot be trained without labels.
    """
    if not study.folds and not 0 < study.test_share < 1:
        raise QueryError(f"--test-share must be between 0 and 1, received {study.test_share}")
    if study.folds and study.folds < 2:
        raise QueryError(f"--folds must be 2 or more, received {study.folds}")
    recipe, head = recipe_of(pretrained.spec, study.options), study.options.head
    if study.without_labels and not recipe.takes_unlabelled:
        raise ModelError(
            f"--without-labels hides the labels, and recipe {recipe.name} learns from them alone; "
            "take --recipe photograph, or leave it out"
        )
    _check_classes(dataset, dataset.classes)
    inputs = read_inputs(dataset, pretrained, working, study.options, rehash=rehash)
    _check_classes(dataset, inputs.classes)
    pretrained, spec = inputs.pretrained, inputs.pretrained.spec
    overlaps = read_or_find_contents(dataset, inputs, study.folder).overlaps
    speed: float | None = None
    for part, queries, together in list(_parts(dataset, inputs, overlaps, study)):
        settings = {
            "recipe": recipe.title(spec, study.options),
            "data": images_digest(inputs),
            "backbone": pretrained.fingerprint,
            **asdict(study.options),
            **part,
            **({"without_labels": True} if study.without_labels else {}),
            **({"novelty": True} if study.novelty and not recipe.reads_pixels else {}),
            **({} if study.train_sample is None else {"train_sample": study.train_sample}),
            **recipe_facts(spec, recipe),
        }
        key = hashlib.sha256(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]
        fold = f"-fold{part['fold']}of{part['folds']}" if study.folds else ""
        grouped = "-grouped" if "group_by" in part else ""
        name = f"{spec.name}-{head}-{part['split']}{grouped}-seed{part['seed']}{fold}-{key}.json"
        path = study.folder / "runs" / name
        if read_run(path) is None:
            run = _run(dataset, inputs, overlaps, study, settings, queries, together, speed)
            write_run(run, path)
            speed = run.facts["images_per_second"]
    return inputs


def _parts(
    dataset: Dataset, inputs: Inputs, overlaps: Overlaps, study: Study
) -> Iterator[tuple[dict[str, Any], NDArray[np.intp], NDArray[np.int64] | None]]:
    """Yield the facts that tell a part to hold out from others, and the rows of its images.

    The last item are the groups, ``(n,)``, of images that are kept on one side; None for none.
    """
    known = np.flatnonzero(inputs.labels >= 0)
    labels, names = inputs.labels[known], inputs.classes
    for (split, together, bond, about), seed in product(
        _splits(inputs, overlaps, study), study.seeds
    ):
        facts = {"split": split, **about, "seed": seed}
        groups = None if together is None else together[known]
        if study.folds:
            alone = np.arange(len(known)) if groups is None else groups
            fold = stratified_folds(labels, alone, study.folds, seed, names, bond)
            for number in range(study.folds):
                part = {"folds": study.folds, "fold": number + 1}
                yield facts | part, known[fold == number], together
            continue
        share = study.test_share
        if groups is None:
            _, held = stratified_split(labels, share, seed)
        else:
            _, held = overlap_free_split(labels, groups, share, seed, names, bond)
        absent = min(np.bincount(labels[held], minlength=len(names))) == 0
        if absent or len(known) - len(held) < EVALUATED_K:
            raise DatasetError(
                f"{dataset.location} has {len(known):,} images, too few to hold out {share:.0%} of "
                f"each of {len(names)} classes and keep {EVALUATED_K}; add images"
            )
        yield facts | {"test_share": share}, known[held], together


def _splits(
    inputs: Inputs, overlaps: Overlaps, study: Study
) -> Iterator[tuple[str, NDArray[np.int64] | None, Bond, dict[str, Any]]]:
    """Yield each split: its name, the groups that it keeps together, their bond, and its facts."""
    grouping = study.grouping
    for split in study.splits:
        pixels = overlaps.groups if split == "overlap-free" else None
        yield split, pixels, SHARED_PIXELS, {}
        if grouping is not None:
            groups, bond = grouping.rows(inputs), grouping.bond
            about = {**grouping.facts, "grouping": digest_of(groups)}
            if pixels is not None:
                groups = join_groups(groups, pixels)
                bond = bond._replace(what=f"{SHARED_PIXELS.what} or {bond.what}")
            yield split, groups, bond, about


def _check_classes(dataset: Dataset, classes: Sequence[str]) -> None:
    """Raise `DatasetError` for fewer than two classes."""
    if len(classes) < 2:
        found = f"one class only ({classes[0]})" if classes else "no class folders"
        raise DatasetError(
            f"{dataset.location} holds {found} with images that can be read, and hits are measured "
            "by their class; evaluate needs at least two class folders side by side"
        )


def _run(
    dataset: Dataset,
    inputs: Inputs,
    overlaps: Overlaps,
    study: Study,
    settings: dict[str, Any],
    queries: NDArray[np.intp],
    together: NDArray[np.int64] | None,
    speed: float | None,
) -> Run:
    """Train, index, query and measure once; the speed only if it is not known yet."""
    labels, classes = inputs.labels.astype(np.int64), len(inputs.classes)
    gallery = gallery_of(labels, queries)
    rows, trained = _training_rows(labels, queries, together), gallery
    if study.train_sample is not None and study.train_sample < len(rows):
        rows = rows[stratified_sample(inputs.labels[rows], study.train_sample, settings["seed"])]
        trained = rows[labels[rows] >= 0]
    options = replace(study.options, seed=settings["seed"])
    grouped = f"by {settings['group_by']} " if "group_by" in settings else ""
    title = f"{settings['split']} {grouped}{options.seed}"
    if study.folds:
        title += f" {settings['fold']}/{study.folds}"

    def fit(shown: Inputs, rows: NDArray[np.intp], **progress: Any) -> FittedModel:
        if study.without_labels:
            shown = replace(shown, labels=np.full_like(shown.labels, -1), classes=())
        return fit_model(shown, rows, options, **progress)

    started = time.perf_counter()
    with progress_bar(title, options.epochs, unit="epoch") as bar:
        learned = fit(inputs, rows, progress=bar.update)
    seconds = time.perf_counter() - started

    embedded = learned.embed(inputs.rows())
    zero = ~np.any(embedded != 0, axis=1)  # without a direction: not indexed, finds nothing
    gallery, answered = gallery[~zero[gallery]], ~zero[queries]
    if not answered.any() or len(gallery) < EVALUATED_K:
        raise DatasetError(f"{dataset.location}: nearly all embeddings are zero; try other --seeds")
    hits, scores = hits_of(embedded, gallery, queries, KEPT_HITS)
    facts = settings | {
        **data_facts(inputs, overlaps),
        "training_images": len(gallery),
        "queries": len(queries),
        "zero_queries": int((~answered).sum()),
        "fit_seconds": seconds,
        "images_per_second": speed or _images_per_second(dataset, inputs, learned),
        **figures_of(labels, classes, overlaps, gallery, queries, hits, scores),
    }
    vote = vote_facts(inputs, trained, options, learned.embed, lambda part: fit(inputs, part).embed)
    facts["calibration"] = reliability_facts(labels, queries, hits, scores, vote)
    again = fit if settings.get("novelty") else None
    facts["left_out"] = left_out_facts(inputs, gallery, queries, embedded, fit=again)
    return Run(facts, queries.astype(np.int64), hits, scores)


def _training_rows(
    labels: NDArray[np.int64], queries: NDArray[np.intp], together: NDArray[np.int64] | None
) -> NDArray[np.intp]:
    """Return the rows to train on: the gallery, and the images without a class.

    Those of them that are in the group of a query are left out where groups are kept together.
    """
    used = np.ones(len(labels), dtype=bool)
    if together is not None:
        used = ~np.isin(together, together[queries])
    used[queries] = False
    return np.flatnonzero(used)


def _images_per_second(dataset: Dataset, inputs: Inputs, learned: FittedModel) -> float:
    """Embed `TIMED_IMAGES` images from their files, nothing cached, and return the rate."""
    backbone, head = learned.runtime, learned.fit.head
    if backbone is None and inputs.extractor is not None:
        backbone = inputs.extractor.backbone
    if backbone is None:
        raise ModelError("there is neither a trained backbone nor a frozen one")
    spec = inputs.pretrained.spec
    items = inputs.items[:: -(-len(inputs.items) // TIMED_IMAGES)]
    size = spec.input_size
    backbone(np.zeros((TIMED_BATCH, size, size, 3), dtype=np.uint8))  # the first call compiles
    with private_folder(Path(tempfile.gettempdir())) as empty:
        extractor = FeatureExtractor(
            spec, inputs.pretrained.fingerprint, lambda: backbone, empty, head.views
        )
        started = time.perf_counter()
        for batch in extractor.extract(dataset.source, items, reject=lambda _: None):
            head(np.stack([one.features.vector for one in batch]))
        return len(items) / (time.perf_counter() - started)
