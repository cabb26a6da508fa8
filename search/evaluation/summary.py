"""The table of a study: figures as mean and deviation over the seeds, and the conclusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geosim.search.evaluation.figures import EVALUATED_K
from geosim.search.evaluation.runs import Run, group_runs
from geosim.search.evaluation.study import SPLITS

COLUMNS = {
    "precision_at_1": "P@1",
    "precision_at_5": "P@5",
    "precision_at_10": "P@10",
    "map_at_10": "mAP@10",
    "knn_accuracy": "k-NN",
}
"""Figures of the table and their headings."""

HEADINGS = ("recipe", "split", "seeds", *COLUMNS.values(), "overlap R@10", "fit min", "images/s")

OVERLAP_RECALL = f"overlap_recall_at_{EVALUATED_K}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a recipe on a split, over its seeds.

    Attributes:
        recipe: backbone and head.
        split: how queries were held out.
        seeds: of the runs.
        figures: mean and sample standard deviation over the seeds of each figure in `COLUMNS` and
            of `OVERLAP_RECALL`; the latter is None without overlaps.
        fit_minutes: mean time of the fit. Features of frozen backbones come from the cache, except
            those that `tile-fusion` computes in memory.
        images_per_second: mean rate of embedding, from bytes to vector.
    """

    recipe: str
    split: str
    seeds: tuple[int, ...]
    figures: dict[str, tuple[float, float] | None]
    fit_minutes: float
    images_per_second: float


def summarise(runs: Sequence[Run]) -> list[Row]:
    """Return the table's rows, best precision at 10 first within each split."""
    rows = []
    for (recipe, split), members in group_runs(runs).items():
        facts = [run.facts for run in members]
        figures: dict[str, tuple[float, float] | None] = {
            name: _mean_and_deviation([one["metrics"][name] for one in facts]) for name in COLUMNS
        }
        recalls = [one[OVERLAP_RECALL] for one in facts if one[OVERLAP_RECALL] is not None]
        figures[OVERLAP_RECALL] = _mean_and_deviation(recalls) if recalls else None
        rows.append(
            Row(
                recipe=recipe,
                split=split,
                seeds=tuple(int(one["seed"]) for one in facts),
                figures=figures,
                fit_minutes=float(np.mean([one["fit_seconds"] for one in facts])) / 60,
                images_per_second=float(np.mean([one["images_per_second"] for one in facts])),
            )
        )
    return sorted(rows, key=lambda row: (row.split, -(row.figures["precision_at_10"] or (0,))[0]))


def as_cells(row: Row) -> list[str]:
    """Return a row as text; the deviation is shown if there are several seeds."""
    cells = [row.recipe, row.split, ",".join(map(str, row.seeds))]
    for name in (*COLUMNS, OVERLAP_RECALL):
        figure = row.figures[name]
        if figure is None:
            cells.append("-")
        elif len(row.seeds) > 1:
            cells.append(f"{figure[0]:.4f} ±{figure[1]:.4f}")
        else:
            cells.append(f"{figure[0]:.4f}")
    return [*cells, f"{row.fit_minutes:.1f}", f"{row.images_per_second:,.0f}"]


def text_table(rows: Sequence[Row]) -> str:
    """Return the table as aligned text."""
    lines = [HEADINGS, *(as_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def conclusions(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """Return sentences about shared pixels: how common they are, and how much they flatter."""
    share = float(runs[0].facts["sharing_pixels"])
    sentences = [f"{share:.0%} of these images share pixels with another."]
    precision: dict[str, dict[str, dict[int, float]]] = {}
    for (recipe, split), members in group_runs(runs).items():
        of_seed = {run.facts["seed"]: run.facts["metrics"]["precision_at_10"] for run in members}
        precision.setdefault(recipe, {})[split] = of_seed
    for recipe in dict.fromkeys(row.recipe for row in rows):
        random, free = (precision[recipe].get(split, {}) for split in SPLITS)
        if both := sorted(random.keys() & free.keys()):
            points = 100 * float(np.mean([random[seed] - free[seed] for seed in both]))
            sentences.append(
                f"{recipe}: a random split flatters you by {points:.2f} points of P@10."
            )
    return sentences


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation, 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
