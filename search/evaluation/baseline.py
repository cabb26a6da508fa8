"""The baseline of a report: the nearest colour histograms, for the queries of each run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from geosim.search.evaluation import histogram, study
from geosim.search.evaluation.figures import data_facts, figures_of, gallery_of, hits_of
from geosim.search.evaluation.histogram import comparable
from geosim.search.evaluation.pictures import Contents, read_or_find_contents
from geosim.search.evaluation.runs import (
    PART,
    Run,
    images_digest,
    part_of,
    read_run,
    write_run,
)
from geosim.search.evaluation.study import KEPT_HITS
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.inputs import Inputs
from geosim.trainer.recipe import changed_recipe

BASELINE = "colour histogram"
"""Name of the baseline among the recipes of a report."""


def baseline_runs(runs: Sequence[Run], dataset: Dataset, inputs: Inputs, folder: Path) -> list[Run]:
    """Return a run of the baseline for each set of queries in ``runs``; make those not kept.

    They are kept in ``<folder>/baseline``. Gallery, order and metrics are those of other runs.

    Raises:
        DatasetError: a picture changed while it was read.
    """
    contents: Contents | None = None
    found = []
    for run in {part_of(one.facts): one for one in runs}.values():
        settings = {
            "recipe": BASELINE,
            "data": images_digest(inputs),
            "asked": hashlib.sha256(run.queries.tobytes()).hexdigest(),
            "constants": [changed_recipe(one.__name__) for one in (histogram, study)],
            **{name: run.facts[name] for name in PART if name in run.facts},
        }
        key = hashlib.sha256(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)).hexdigest()
        path = folder / "baseline" / f"{settings['split']}-seed{settings['seed']}-{key[:8]}.json"
        kept = read_run(path)
        if kept is None:
            contents = contents or read_or_find_contents(dataset, inputs, folder)
            kept = _run(inputs, contents, run, settings)
            write_run(kept, path)
        found.append(kept)
    return found


def _run(inputs: Inputs, contents: Contents, like: Run, settings: dict[str, Any]) -> Run:
    """Query the histograms with the queries of another run."""
    labels, classes, queries = inputs.labels.astype(np.int64), len(inputs.classes), like.queries
    gallery = gallery_of(labels, queries)
    hits, scores = hits_of(comparable(contents.histograms), gallery, queries, KEPT_HITS)
    overlaps = contents.overlaps
    facts = settings | {
        **data_facts(inputs, overlaps),
        "queries": len(queries),
        **figures_of(labels, classes, overlaps, gallery, queries, hits, scores),
    }
    return Run(facts, queries, hits, scores)
