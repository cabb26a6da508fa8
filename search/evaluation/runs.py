"""The finished runs of a study: what one is, its two files, and runs grouped by recipe and split.

A run is kept in ``<report>/runs/<name>.json``, its figures, and ``<name>.npz``, its hits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from geosim.trainer.files import DAMAGED_NPZ, replacing
from geosim.trainer.inputs import Inputs

_SETTINGS: dict[str, Callable[[Any], str]] = {
    "epochs": "{} epochs".format,
    "batch_size": "batches of {}".format,
    "validation_split": "{:g} held out".format,
    "test_share": "{:g} queries".format,
    "backbone": "weights {:.8}".format,
}
"""Facts that tell runs of one recipe apart, and how they are written in its name."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        facts: everything ``<name>.json`` holds: the recipe, the split, all figures.
        queries: ``(q,) int64`` rows of the queries among the images sorted by path.
        hits: ``(q, k) int64`` rows of their hits, best first; -1 if a query's embedding is zero.
        scores: ``(q, k) float64`` cosines; NaN if a query's embedding is zero.
    """

    facts: dict[str, Any]
    queries: NDArray[np.int64]
    hits: NDArray[np.int64]
    scores: NDArray[np.float64]


def write_run(run: Run, path: Path) -> None:
    """Write a run to ``path`` and the .npz beside it; the .json goes last and makes it count."""
    with replacing(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(
            temporary,
            queries=run.queries.astype(np.int32),
            hits=run.hits.astype(np.int32),
            scores=run.scores.astype(np.float32),
        )
    with replacing(path) as temporary:
        temporary.write_bytes(orjson.dumps(run.facts, option=orjson.OPT_INDENT_2))


def read_run(path: Path) -> Run | None:
    """Return the run at ``path``, or None if it is missing or damaged."""
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


def read_runs(folder: Path, inputs: Inputs) -> list[Run]:
    """Return all finished runs in a report folder that were made on the same images."""
    found = (read_run(path) for path in sorted((folder / "runs").glob("*.json")))
    digest = images_digest(inputs)
    return [run for run in found if run is not None and run.facts.get("data") == digest]


def images_digest(inputs: Inputs) -> str:
    """Return the SHA-256 of the paths and contents of the images, as hex."""
    return hashlib.sha256(inputs.listing).hexdigest()


def group_runs(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Group runs that differ in their seed only, by recipe and split; sorted by seed.

    A recipe that was run with several settings is named with the settings that differ.
    """
    settings: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        of_recipe = settings.setdefault(run.facts["recipe"], {})
        for key, write in _SETTINGS.items():
            of_recipe.setdefault(key, set()).add(write(run.facts[key]))
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: int(run.facts["seed"])):
        recipe = run.facts["recipe"]
        varied = [
            write(run.facts[key])
            for key, write in _SETTINGS.items()
            if len(settings[recipe][key]) > 1
        ]
        name = ", ".join([recipe, *varied])
        groups.setdefault((name, run.facts["split"]), []).append(run)
    return groups
