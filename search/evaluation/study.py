"""Evaluates recipes by retrieval: train on one part, index it, query with the rest.

Owns what one run is, that it is kept and not repeated, and the overlaps that an overlap-free split
needs. The metrics are `trainer/evaluation/metrics.py`; tables and pages are `report.py` beside it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from geosim.search.graph.neighbours import nearest
from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.images import prepare
from geosim.trainer.data.split import overlap_free_split, stratified_split
from geosim.trainer.errors import DatasetError, ModelError, QueryError
from geosim.trainer.evaluation.metrics import (
    average_precision_at,
    confusion_matrix,
    knn_votes,
    per_class,
    precision_at,
    recall_of_partners,
)
from geosim.trainer.evaluation.overlap import Overlaps, find_overlaps, read_pictures
from geosim.trainer.files import DAMAGED_NPZ, replacing
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.inputs import Inputs, read_inputs
from geosim.trainer.progress import progress_bar
from geosim.trainer.train import FittedModel, fit_model
from numpy.typing import NDArray

SPLITS = ("random", "overlap-free")
"""How queries are held out of each class: at random, or sharing no pixels with the gallery."""

EVALUATED_K = 10
"""Hits that the main figures look at."""

DEPTH = 50
"""Hits kept per query, for the curve of precision against k."""

TIMED = 512
"""Images embedded to measure the speed of a recipe."""


@dataclass(frozen=True, slots=True)
class Study:
    """What to evaluate.

    Attributes:
        options: of the training, the seed of each run aside.
        splits: names in `SPLITS`.
        seeds: one run each; of the split and of the training.
        test_share: of each class to hold out as queries.
        folder: where runs are kept.
    """

    options: TrainOptions
    splits: tuple[str, ...]
    seeds: tuple[int, ...]
    test_share: float
    folder: Path


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        facts: everything ``<name>.json`` holds: the recipe, the split, all figures.
        queries: ``(q,)`` rows of the queries among the images sorted by path.
        hits: ``(q, DEPTH)`` rows of their hits, best first; -1 where a query's embedding is zero.
        scores: ``(q, DEPTH)`` cosines; NaN there.
    """

    facts: dict[str, Any]
    queries: NDArray[np.int64]
    hits: NDArray[np.int64]
    scores: NDArray[np.float64]


def evaluate(dataset: Dataset, pretrained: Pretrained, cache: Path, study: Study) -> Inputs:
    """Run what is not there yet of a study, and return what it was run on.

    Args:
        dataset: trained on and queried with.
        pretrained: the backbone.
        cache: folder of the feature cache.
        study: see `Study`.

    Raises:
        DatasetError: a class is too small, or too entangled, to be on both sides of a split.
        QueryError: the share to hold out is out of range.
    """
    if not 0 < study.test_share < 1:
        raise QueryError(f"--test-share must be between 0 and 1, received {study.test_share}")
    inputs = read_inputs(dataset, pretrained, cache)
    digest = _digest(inputs)
    overlaps = _overlaps(dataset, inputs, digest, study.folder)
    speed: list[float] = []
    for facts, path in _planned(inputs, digest, study):
        if _load(path) is None:
            _run(dataset, inputs, overlaps, facts, study, path, speed)
    return inputs


def read_runs(folder: Path, inputs: Inputs) -> list[Run]:
    """Return all finished runs in a report folder that were made on the same images."""
    found = (_load(path) for path in sorted((folder / "runs").glob("*.json")))
    data = _digest(inputs)
    return [run for run in found if run is not None and run.facts.get("data") == data]


def _planned(inputs: Inputs, digest: str, study: Study) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield what identifies each run, and its file."""
    spec = inputs.pretrained.spec
    for split in study.splits:
        for seed in study.seeds:
            options = asdict(study.options) | {"seed": seed}
            head = options["head"]
            facts = {
                "recipe": spec.name if spec.trained else f"{spec.name} + {head}",
                "split": split,
                "test_share": study.test_share,
                "data": digest,
                "backbone": inputs.pretrained.fingerprint,
                **options,
            }
            key = hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]
            name = f"{spec.name}-{head}-{split}-seed{seed}-{key}.json"
            yield facts, study.folder / "runs" / name


def _run(
    dataset: Dataset,
    inputs: Inputs,
    overlaps: Overlaps,
    facts: dict[str, Any],
    study: Study,
    path: Path,
    speed: list[float],
) -> None:
    """Train, index, query and measure once, and keep the result."""
    seed, labels = int(facts["seed"]), inputs.labels.astype(np.int64)
    if facts["split"] == "random":
        train, test = stratified_split(inputs.labels, study.test_share, seed)
    else:
        train, test = overlap_free_split(inputs.labels, overlaps.groups, study.test_share, seed)
    classes = len(inputs.classes)
    if min(np.bincount(labels[test], minlength=classes)) == 0 or len(train) < EVALUATED_K:
        raise DatasetError(
            f"{dataset.location} has {len(labels):,} images, too few to hold out "
            f"{study.test_share:.0%} of each of {classes} classes and keep {EVALUATED_K}; "
            "add images"
        )
    options = TrainOptions(**asdict(study.options) | {"seed": seed})
    started = time.perf_counter()
    with progress_bar(f"{facts['split']} {seed}", options.epochs, unit="epoch") as bar:
        learned = fit_model(inputs, train, options, progress=bar.update)
    seconds = time.perf_counter() - started
    embedded = learned.embed(inputs.array)
    shown = np.any(embedded != 0, axis=1)  # what has no direction is not indexed and finds nothing
    train, zero = train[shown[train]], test[~shown[test]]
    if len(zero) == len(test) or len(train) < EVALUATED_K:
        raise DatasetError(f"{dataset.location}: nearly all embeddings are zero; try other --seeds")
    embedded[zero] = EMBEDDING_DIM**-0.5  # any direction: what it finds is struck out
    rows, scores = nearest(embedded[train], embedded[test], min(DEPTH, len(train)))
    hits = train[rows].astype(np.int64)
    hits[~shown[test]], scores[~shown[test]] = -1, np.nan
    if not speed:
        speed.append(_images_per_second(dataset, inputs, learned))
    facts = facts | {
        "classes": list(inputs.classes),
        "images": len(labels),
        "sharing_pixels": float(overlaps.grouped.mean()),
        "sharing_pixels_per_class": per_class(overlaps.grouped, labels, classes).tolist(),
        "training_images": len(train),
        "queries": len(test),
        "zero_queries": len(zero),
        "fit_seconds": seconds,
        "images_per_second": speed[0],
        **_metrics(labels, test, hits, scores, classes),
        **_overlap_recall(overlaps, train, test, hits),
    }
    _keep(Run(facts, test.astype(np.int64), hits, scores), path)


def _metrics(
    labels: NDArray[np.int64],
    queries: NDArray[np.intp],
    hits: NDArray[np.int64],
    scores: NDArray[np.float64],
    classes: int,
) -> dict[str, Any]:
    """Return every figure of a run, overall and per class."""
    truth = labels[queries]
    relevant = (labels[hits] == truth[:, None]) & np.isfinite(scores)
    gallery = np.bincount(labels, minlength=classes) - np.bincount(truth, minlength=classes)
    answered = np.isfinite(scores[:, 0])
    voted = knn_votes(
        labels[hits[:, :EVALUATED_K]], np.nan_to_num(scores[:, :EVALUATED_K]), classes
    )
    figures = {f"precision_at_{k}": precision_at(relevant, k) for k in (1, 5, EVALUATED_K)}
    figures[f"map_at_{EVALUATED_K}"] = average_precision_at(relevant, EVALUATED_K, gallery[truth])
    figures["knn_accuracy"] = ((voted == truth) & answered).astype(np.float64)
    return {
        "metrics": {name: float(values.mean()) for name, values in figures.items()},
        "per_class": {
            name: per_class(values, truth, classes).tolist() for name, values in figures.items()
        },
        "precision_by_k": [
            float(precision_at(relevant, k).mean()) for k in range(1, hits.shape[1] + 1)
        ],
        "confusion": confusion_matrix(truth[answered], voted[answered], classes).tolist(),
    }


def _overlap_recall(
    overlaps: Overlaps,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    hits: NDArray[np.int64],
) -> dict[str, Any]:
    """Return the share of queries with an overlapping partner in the gallery that find one."""
    place = np.full(len(overlaps.groups), -1, dtype=np.int64)
    place[test] = np.arange(len(test))
    gallery = np.zeros(len(overlaps.groups), dtype=bool)
    gallery[train] = True
    both = np.concatenate([overlaps.pairs, overlaps.pairs[:, ::-1]])
    both = both[(place[both[:, 0]] >= 0) & gallery[both[:, 1]]]
    found = recall_of_partners(hits, place[both[:, 0]], both[:, 1], EVALUATED_K)
    recall = float(found.mean()) if len(found) else None
    return {f"overlap_recall_at_{EVALUATED_K}": recall, "queries_with_partner": len(found)}


def _images_per_second(dataset: Dataset, inputs: Inputs, learned: FittedModel) -> float:
    """Embed some images from their bytes, nothing cached, and return the rate."""
    extractor, backbone = inputs.extractor, learned.runtime
    if backbone is None and extractor is not None:
        backbone = extractor.backbone
    if backbone is None:
        raise ModelError("there is neither a trained backbone nor a frozen one")
    size = inputs.pretrained.spec.input_size
    items = inputs.items[:: -(-len(inputs.items) // TIMED)]
    data = [dataset.source.read(item.record) for item in items]
    backbone(np.zeros((32, size, size, 3), dtype=np.uint8))  # the first call compiles
    started = time.perf_counter()
    for start in range(0, len(data), 32):
        pixels = np.stack([prepare(one, size).pixels for one in data[start : start + 32]])
        learned.fit.head(backbone(pixels))
    return len(data) / (time.perf_counter() - started)


def _digest(inputs: Inputs) -> str:
    return hashlib.sha256(inputs.listing).hexdigest()


def _overlaps(dataset: Dataset, inputs: Inputs, digest: str, folder: Path) -> Overlaps:
    """Find the images that share pixels, or read what was found before."""
    path = folder / f"overlaps-{digest[:16]}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            shifts = tuple((int(down), int(right)) for down, right in stored["shifts"])
            return Overlaps(stored["groups"], stored["pairs"], shifts)
    except DAMAGED_NPZ:
        pass  # not there yet, or damaged
    with progress_bar("decoding", len(inputs.items)) as bar:
        _, pictures, gone = read_pictures(dataset.source, inputs.items, progress=bar.update)
    if gone:
        raise DatasetError(f"{gone[0].path} changed while it was read; run again")
    labels = [item.record.label for item in inputs.items]
    with progress_bar("overlaps", len(pictures)) as bar:
        found = find_overlaps(
            pictures, labels, [item.sha256 for item in inputs.items], progress=bar.update
        )
    with replacing(path) as temporary:
        shifts_array = np.array(found.shifts, dtype=np.int64).reshape(-1, 2)
        np.savez_compressed(temporary, groups=found.groups, pairs=found.pairs, shifts=shifts_array)
    return found


def _keep(run: Run, path: Path) -> None:
    """Write a run; the .json goes last and makes it count."""
    with replacing(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(
            temporary,
            queries=run.queries.astype(np.int32),
            hits=run.hits.astype(np.int32),
            scores=run.scores.astype(np.float32),
        )
    with replacing(path) as temporary:
        temporary.write_bytes(orjson.dumps(run.facts, option=orjson.OPT_INDENT_2))


def _load(path: Path) -> Run | None:
    """Return a finished run, or None where there is none or it is damaged."""
    try:
        facts = orjson.loads(path.read_bytes())
        arrays = path.with_suffix(".npz")
        with arrays.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Run(
                facts,
                stored["queries"].astype(np.int64),
                stored["hits"].astype(np.int64),
                stored["scores"].astype(np.float64),
            )
    except DAMAGED_NPZ:
        return None


def grouped(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Return runs by recipe and split, those that differ in seed alone together, by seed.

    A recipe that was run with several settings is named with those that differ.
    """
    settings: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        of_recipe = settings.setdefault(run.facts["recipe"], {})
        for key, write in _SETTINGS.items():
            of_recipe.setdefault(key, set()).add(write(run.facts[key]))
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: int(run.facts["seed"])):
        varied = [
            write(run.facts[key])
            for key, write in _SETTINGS.items()
            if len(settings[run.facts["recipe"]][key]) > 1
        ]
        name = ", ".join([run.facts["recipe"], *varied])
        groups.setdefault((name, run.facts["split"]), []).append(run)
    return groups


_SETTINGS: dict[str, Callable[[Any], str]] = {
    "epochs": "{} epochs".format,
    "batch_size": "batches of {}".format,
    "validation_split": "{:g} held out".format,
    "test_share": "{:g} queries".format,
    "backbone": "weights {:.8}".format,
}
"""Facts that tell runs of one recipe apart, and how they are written in its name."""
