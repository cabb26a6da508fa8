"""The table of a study: figures as mean and deviation over the seeds, and the conclusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geosim.search.evaluation.runs import EVALUATED_K, Run, group_runs
from geosim.search.evaluation.study import SPLITS

COLUMNS = {
    "precision_at_1": "P@1",
    "precision_at_5": "P@5",
    "precision_at_10": "P@10",
    "map_at_10": "mAP@10",
    "knn_accuracy": "k-NN",
}
"""Figures of the table and their headings."""

OVERLAP_RECALL = f"overlap_recall_at_{EVALUATED_K}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a recipe on a split, over its seeds.

    Attributes:
        recipe: backbone and head, with the settings that differ.
        figures: mean and sample standard deviation over the seeds of each figure in `COLUMNS` and
            of `OVERLAP_RECALL`; the latter is None without overlaps.
        fit_minutes: mean time of the fit, without features that come from the cache.
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
        rows.append(
            Row(
                recipe=recipe,
                split=split,
                seeds=tuple(int(one["seed"]) for one in facts),
                figures={
                    **{name: _spread([one["metrics"][name] for one in facts]) for name in COLUMNS},
                    OVERLAP_RECALL: _spread([one[OVERLAP_RECALL] for one in facts]),
                },
                fit_minutes=float(np.mean([one["fit_seconds"] for one in facts])) / 60,
                images_per_second=float(np.mean([one["images_per_second"] for one in facts])),
            )
        )
    return sorted(rows, key=lambda row: (row.split, -(row.figures["precision_at_10"] or (0,))[0]))


def _spread(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return mean and sample standard deviation, 0 for a single value; None without values."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else 0.0


def table_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table as text, headings first; several seeds have a deviation."""
    table = [["recipe", "split", "seeds", *COLUMNS.values(), "overlap R@10", "fit min", "images/s"]]
    for row in rows:
        cells = [row.recipe, row.split, ",".join(map(str, row.seeds))]
        for name in (*COLUMNS, OVERLAP_RECALL):
            figure = row.figures[name]
            cells.append("-" if figure is None else f"{figure[0]:.4f}")
            if figure is not None and len(row.seeds) > 1:
                cells[-1] += f" ±{figure[1]:.4f}"
        table.append([*cells, f"{row.fit_minutes:.1f}", f"{row.images_per_second:,.0f}"])
    return table


def text_table(rows: Sequence[Row]) -> str:
    """Return the table as aligned text."""
    table = table_cells(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table)


def conclusions(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """Return sentences on how common shared pixels are and how much they raise the precision."""
    share = float(runs[0].facts["sharing_pixels"])
    sentences = [f"{share:.0%} of these images share pixels with another."]
    groups = group_runs(runs)
    for recipe in dict.fromkeys(row.recipe for row in rows):
        random, free = (
            {
                run.facts["seed"]: run.facts["metrics"]["precision_at_10"]
                for run in groups.get((recipe, split), ())
            }
            for split in SPLITS
        )
        if both := sorted(random.keys() & free.keys()):
            points = 100 * float(np.mean([random[seed] - free[seed] for seed in both]))
            sentences.append(
                f"{recipe}: a random split flatters you by {points:.2f} points of P@10."
            )
    return sentences
