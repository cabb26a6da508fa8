"""The finished runs of a study, and their files in ``<report>/runs``.

``<name>.json`` holds the figures of a run, ``<name>.npz`` its hits.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.errors import ModelError
from geosim.trainer.files import read_arrays, replacing
from geosim.trainer.inputs import Inputs
from geosim.trainer.recipe import changed_recipe
from geosim.trainer.recipes.registry import read_title
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.train import training_recipe

EVALUATED_K = 10
"""Number of hits per query in the main figures."""

_SETTINGS: dict[str, Callable[[Any], str]] = {
    "epochs": "{} epochs".format,
    "batch_size": "batches of {}".format,
    "validation_split": "{:g} held out".format,
    "test_share": "{:g} queries".format,
    "folds": "{} folds".format,
    "backbone": "weights {:.8}".format,
    "views": "{} views".format,
    "train_sample": "learned from {:,}".format,
}
"""Settings that tell runs of one recipe apart, and their format in its name."""

SPLIT = ("split", "group_by", "grouping")
"""Facts that say how images are parted: the kind of split, the fact whose values are kept on one
side, if any, and the digest of the groups."""

PART = (*SPLIT, "test_share", "folds", "seed", "fold")
"""Facts that say which images are queries; a run has a share or folds."""

WITHOUT_LABELS = "without labels"
"""End of the name of a recipe that was trained without the labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        facts: content of ``<name>.json``: the recipe, the split, all figures.
        queries: ``(q,) int64`` rows of the queries among the images sorted by path.
        hits: ``(q, k) int64`` rows of their hits, best first; -1 if a query's embedding is zero.
        scores: ``(q, k) float64`` cosines; NaN if a query's embedding is zero.
    """

    facts: dict[str, Any]
    queries: NDArray[np.int64]
    hits: NDArray[np.int64]
    scores: NDArray[np.float64]


def write_run(run: Run, path: Path) -> None:
    """Write a run to ``path`` and the .npz beside it; the .json is last and marks it finished."""
    with replacing(path.with_suffix(".npz")) as temporary:
        queries, hits = run.queries.astype(np.int32), run.hits.astype(np.int32)
        scores = run.scores.astype(np.float32)
        np.savez_compressed(temporary, queries=queries, hits=hits, scores=scores)
    with replacing(path) as temporary:
        temporary.write_bytes(orjson.dumps(run.facts, option=orjson.OPT_INDENT_2))


def read_run(path: Path) -> Run | None:
    """Return the run at ``path``, or None if it is missing or damaged."""
    arrays = read_arrays(path.with_suffix(".npz"), "queries", "hits", "scores")
    try:
        facts = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if arrays is None:
        return None
    queries, hits, scores = arrays
    return Run(facts, queries.astype(np.int64), hits.astype(np.int64), scores.astype(np.float64))


def read_runs(folder: Path, inputs: Inputs) -> list[Run]:
    """Return all finished runs in a report folder of the same images and constants."""
    found = (read_run(path) for path in sorted((folder / "runs").glob("*.json")))
    digest = images_digest(inputs)
    return [
        run
        for run in found
        if run is not None and run.facts.get("data") == digest and _is_current(run.facts)
    ]


def recipe_facts(spec: BackboneSpec, recipe: Recipe) -> dict[str, str]:
    """Return digests of the constants of a training and an evaluation, where they were changed."""
    facts = {
        "training_recipe": training_recipe(spec, recipe),
        "evaluation_recipe": changed_recipe("geosim.search.evaluation.study"),
    }
    return {name: digest for name, digest in facts.items() if digest}


def _is_current(facts: dict[str, Any]) -> bool:
    """Return whether a run was made with the constants of this version."""
    try:
        made = {
            name: facts[name] for name in ("training_recipe", "evaluation_recipe") if name in facts
        }
        recipe, spec = read_title(facts["recipe"])
        return made == recipe_facts(spec, recipe)
    except (ModelError, KeyError, AttributeError):
        return False


def images_digest(inputs: Inputs) -> str:
    """Return the SHA-256 of the paths and contents of the images, as hex."""
    digest = hashlib.sha256()
    for line in inputs.listing():
        digest.update(line)
    return digest.hexdigest()


def part_of(facts: dict[str, Any]) -> tuple[Any, ...]:
    """Return the values of `PART`: equal for runs whose queries are the same."""
    return tuple(facts.get(name) for name in PART)


def group_runs(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Group runs that differ in their seed or fold only, by recipe and split; sorted by these.

    A recipe that was run with several settings is named with the settings that differ, one that was
    trained without labels says so. A split by groups is named with their fact, and with a digest
    where the fact made several groupings.
    """
    groupings = {(run.facts["group_by"], run.facts["grouping"]) for run in runs if _grouped(run)}
    several = Counter(fact for fact, _ in groupings)

    def split(run: Run) -> str:
        if not _grouped(run):
            return str(run.facts["split"])
        fact, digest = run.facts["group_by"], run.facts["grouping"]
        named = f"{run.facts['split']} by {fact}"
        return named if several[fact] == 1 else f"{named} ({digest:.8})"

    def settings(run: Run) -> list[str]:
        facts = run.facts
        return [write(facts[key]) if key in facts else "" for key, write in _SETTINGS.items()]

    def order(run: Run) -> tuple[int, int, bool]:
        return int(run.facts["seed"]), int(run.facts.get("fold", 0)), "novelty" in run.facts

    of_recipe = defaultdict(list)
    for run in runs:
        of_recipe[run.facts["recipe"]].append(settings(run))
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=order):
        recipe = run.facts["recipe"]
        differs = [len(set(values)) > 1 for values in zip(*of_recipe[recipe], strict=True)]
        blind = [WITHOUT_LABELS] if run.facts.get("without_labels") else []
        parts = [recipe, *compress(settings(run), differs), *blind]
        group = groups[", ".join(filter(None, parts)), split(run)]
        if group and "novelty" in run.facts and part_of(group[-1].facts) == part_of(run.facts):
            group.pop()  # the same run, with fewer figures
        group.append(run)
    return groups


def _grouped(run: Run) -> bool:
    return "group_by" in run.facts


def first_seed(runs: Sequence[Run]) -> Run:
    """Return the first of the runs of a group, or all folds of its seed as one run."""
    first = runs[0]
    folds = [run for run in runs if run.facts["seed"] == first.facts["seed"]]
    depth = min(run.hits.shape[1] for run in folds)
    return Run(
        first.facts,
        np.concatenate([run.queries for run in folds]),
        np.concatenate([run.hits[:, :depth] for run in folds]),
        np.concatenate([run.scores[:, :depth] for run in folds]),
    )
