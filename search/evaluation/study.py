"""Runs a study: train on one part of a data set, index that part, query with the rest."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from geosim.search.evaluation.left_out import left_out_facts
from geosim.search.evaluation.reliability import reliability_facts
from geosim.search.evaluation.runs import (
    EVALUATED_K,
    Run,
    images_digest,
    read_run,
    recipe_facts,
    write_run,
)
from geosim.search.graph.neighbours import nearest
from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.split import overlap_free_split, stratified_split
from geosim.trainer.errors import DatasetError, ModelError, QueryError
from geosim.trainer.evaluation import metrics
from geosim.trainer.evaluation.overlap import Overlaps, find_overlaps, read_pictures
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.files import DAMAGED_NPZ, replacing
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import Inputs, read_inputs
from geosim.trainer.progress import progress_bar
from geosim.trainer.recipe import changed_recipe
from geosim.trainer.temporary import private_folder
from geosim.trainer.train import FittedModel, fit_model, fit_votes
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
    queries, 0 to 1, and ``folder`` keeps the runs. With ``novelty`` a frozen recipe is trained once
    more per class, without it (`left_out_facts`).
    """

    options: TrainOptions
    splits: tuple[str, ...]
    seeds: tuple[int, ...]
    test_share: float
    folder: Path
    novelty: bool = False


def evaluate(
    dataset: Dataset,
    pretrained: Pretrained,
    working: Working,
    study: Study,
    *,
    rehash: bool = False,
) -> Inputs:
    """Do the runs of a study that are not finished yet, and return the images they are made on.

    ``rehash`` reads the files that seem unchanged as well.

    Raises:
        DatasetError: there are fewer than two classes, or a class is too small, or shares too many
            pixels, to be on both sides of a split.
        QueryError: the share to hold out is out of range.
    """
    if not 0 < study.test_share < 1:
        raise QueryError(f"--test-share must be between 0 and 1, received {study.test_share}")
    _check_classes(dataset, dataset.classes)
    inputs = read_inputs(dataset, pretrained, working, study.options, rehash=rehash)
    _check_classes(dataset, inputs.classes)
    pretrained, head, digest = inputs.pretrained, study.options.head, images_digest(inputs)
    spec = pretrained.spec
    kept = f"overlaps-{digest[:16]}{changed_recipe(find_overlaps.__module__)}.npz"
    overlaps = _read_or_find_overlaps(dataset, inputs, study.folder / kept)
    speed: float | None = None
    for split, seed in product(study.splits, study.seeds):
        settings = {
            "recipe": inputs.recipe.title(spec, study.options),
            "split": split,
            "test_share": study.test_share,
            "data": digest,
            "backbone": pretrained.fingerprint,
            **asdict(study.options),
            "seed": seed,
            **({"novelty": True} if study.novelty and not inputs.recipe.reads_pixels else {}),
            **recipe_facts(spec, inputs.recipe),
        }
        key = hashlib.sha256(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]
        path = study.folder / "runs" / f"{spec.name}-{head}-{split}-seed{seed}-{key}.json"
        if read_run(path) is None:
            run = _run(dataset, inputs, overlaps, study, settings, speed)
            write_run(run, path)
            speed = run.facts["images_per_second"]
    return inputs


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
    speed: float | None,
) -> Run:
    """Train, index, query and measure once; the speed only if it is not known yet.

    Images without a class are trained on, except those that share pixels with a query where none
    may. They are neither queries nor indexed.
    """
    seed, labels, share = int(settings["seed"]), inputs.labels.astype(np.int64), study.test_share
    labelled, free = np.flatnonzero(labels >= 0), labels < 0
    if settings["split"] == "random":
        parts = stratified_split(inputs.labels[labelled], share, seed)
    else:
        groups = overlaps.groups
        parts = overlap_free_split(inputs.labels[labelled], groups[labelled], share, seed)
        free &= ~np.isin(groups, groups[labelled[parts[1]]])
    gallery, queries = (labelled[part] for part in parts)
    trained = np.union1d(gallery, np.flatnonzero(free))
    classes = len(inputs.classes)
    if min(np.bincount(labels[queries], minlength=classes)) == 0 or len(gallery) < EVALUATED_K:
        raise DatasetError(
            f"{dataset.location} has {len(labelled):,} images, too few to hold out {share:.0%} of "
            f"each of {classes} classes and keep {EVALUATED_K}; add images"
        )
    options = replace(study.options, seed=seed)
    started = time.perf_counter()
    with progress_bar(f"{settings['split']} {seed}", options.epochs, unit="epoch") as bar:
        learned = fit_model(inputs, trained, options, progress=bar.update)
    seconds = time.perf_counter() - started

    embedded, trained = learned.embed(inputs.array), gallery
    zero = ~np.any(embedded != 0, axis=1)  # without a direction: not indexed, finds nothing
    gallery, answered = gallery[~zero[gallery]], ~zero[queries]
    if not answered.any() or len(gallery) < EVALUATED_K:
        raise DatasetError(f"{dataset.location}: nearly all embeddings are zero; try other --seeds")
    hits = np.full((len(queries), min(KEPT_HITS, len(gallery))), -1, dtype=np.int64)
    scores = np.full(hits.shape, np.nan)
    rows, cosines = nearest(embedded[gallery], embedded[queries[answered]], hits.shape[1])
    hits[answered], scores[answered] = gallery[rows], cosines
    facts = settings | {
        "classes": list(inputs.classes),
        "images": len(labels),
        "sharing_pixels": float(overlaps.grouped.mean()),
        "sharing_pixels_per_class": metrics.per_class(
            overlaps.grouped[labelled], labels[labelled], classes
        ).tolist(),
        "training_images": len(gallery),
        "queries": len(queries),
        "zero_queries": int((~answered).sum()),
        "fit_seconds": seconds,
        "images_per_second": speed or _images_per_second(dataset, inputs, learned),
        **_figures(labels, overlaps, gallery, queries, hits, scores, classes),
    }
    vote = fit_votes(inputs, trained, options, learned)
    facts["calibration"] = reliability_facts(labels, classes, queries, hits, scores, vote)
    again = options if study.novelty and not inputs.recipe.reads_pixels else None
    facts["left_out"] = left_out_facts(inputs, gallery, queries, embedded, options=again)
    return Run(facts, queries.astype(np.int64), hits, scores)


def _figures(
    labels: NDArray[np.int64],
    overlaps: Overlaps,
    gallery: NDArray[np.intp],
    queries: NDArray[np.intp],
    hits: NDArray[np.int64],
    scores: NDArray[np.float64],
    classes: int,
) -> dict[str, Any]:
    """Return the retrieval figures of a run by their names in its JSON.

    ``labels (n,)`` are class numbers of all images, -1 without a class, ``gallery (g,)`` and
    ``queries (q,)`` rows of images. ``hits`` and ``scores`` are those of `Run`.
    """
    truth, k = labels[queries], EVALUATED_K
    relevant = (labels[hits] == truth[:, None]) & np.isfinite(scores)
    in_gallery = np.bincount(labels[labels >= 0], minlength=classes)
    in_gallery = in_gallery - np.bincount(truth, minlength=classes)
    answered = np.isfinite(scores[:, 0])
    voted = metrics.knn_votes(labels[hits[:, :k]], np.nan_to_num(scores[:, :k]), classes)
    figures = {f"precision_at_{n}": metrics.precision_at(relevant, n) for n in (1, 5, k)}
    figures[f"map_at_{k}"] = metrics.average_precision_at(relevant, k, in_gallery[truth])
    figures["knn_accuracy"] = ((voted == truth) & answered).astype(np.float64)
    # The overlap recall is that of the queries with an overlapping partner in the gallery.
    number = np.full(len(labels), -1, dtype=np.int64)
    number[queries] = np.arange(len(queries))
    query, partner = np.concatenate([overlaps.pairs, overlaps.pairs[:, ::-1]]).T
    used = (number[query] >= 0) & np.isin(partner, gallery)
    found = metrics.recall_of_partners(hits, number[query[used]], partner[used], k)
    by_class = {name: metrics.per_class(values, truth, classes) for name, values in figures.items()}
    curve = [metrics.precision_at(relevant, n).mean() for n in range(1, hits.shape[1] + 1)]
    return {
        "metrics": {name: float(values.mean()) for name, values in figures.items()},
        "per_class": {name: values.tolist() for name, values in by_class.items()},
        "precision_by_k": list(map(float, curve)),
        "confusion": metrics.confusion_matrix(truth[answered], voted[answered], classes).tolist(),
        f"overlap_recall_at_{k}": float(found.mean()) if len(found) else None,
        "queries_with_partner": len(found),
    }


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


def _read_or_find_overlaps(dataset: Dataset, inputs: Inputs, path: Path) -> Overlaps:
    """Return the overlaps kept at ``path``, or find and keep them."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            shifts = tuple((int(down), int(right)) for down, right in stored["shifts"])
            return Overlaps(stored["groups"], stored["pairs"], shifts)
    except DAMAGED_NPZ:
        pass  # missing or damaged
    items = inputs.items
    with progress_bar("decoding", len(items)) as bar:
        _, pictures, gone = read_pictures(dataset.source, items, progress=bar.update)
    if gone:
        raise DatasetError(
            f"{gone[0].path} changed while it was read; run again, with --rehash if that repeats"
        )
    labels, hashes = [item.record.label for item in items], [item.sha256 for item in items]
    with progress_bar("overlaps", len(pictures)) as bar:
        found = find_overlaps(pictures, labels, hashes, progress=bar.update)
    moves = np.array(found.shifts, dtype=np.int64).reshape(-1, 2)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, groups=found.groups, pairs=found.pairs, shifts=moves)
    return found
