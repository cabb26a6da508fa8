"""The table of a report, a row per recipe and split over its runs, and what follows from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geosim.search.evaluation.baseline import BASELINE
from geosim.search.evaluation.runs import (
    EVALUATED_K,
    SPLIT,
    WITHOUT_LABELS,
    Run,
    group_runs,
    part_of,
)
from geosim.trainer.text import printable

COLUMNS = {
    "precision_at_1": "P@1",
    "precision_at_5": "P@5",
    "precision_at_10": "P@10",
    "map_at_10": "mAP@10",
    "knn_accuracy": "k-NN",
}
"""Figures of the table and their headings."""

MACRO = "macro_"
"""Beginning of the names of figures that are means over the classes instead of the queries."""

OVERLAP_RECALL = f"overlap_recall_at_{EVALUATED_K}"

_OVERLAP_HEADING = f"overlap R@{EVALUATED_K}"
_LABEL_WIDTH = 24  # of the text table's lines


_ByPart = dict[tuple[Any, ...], float]
_Figures = dict[str, tuple[float, float] | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a recipe on a split, over its runs.

    Attributes:
        recipe: backbone and head, with the settings that differ.
        split: kind of split, and the fact whose values it keeps on one side.
        group_by: that fact; empty for none.
        folds: number of folds of each seed; 0 for runs that hold out a share.
        runs: number of runs, which is below folds times seeds after a killed study.
        spread: what the standard deviation is over; empty for a single run.
        figures: mean and sample standard deviation over the runs of each figure in `COLUMNS`, of
            the same over classes (`MACRO`), and of `OVERLAP_RECALL`, None without overlaps.
        ungrouped: of a split by groups, the same figures of the runs with the same seeds and folds
            that have none; None without such runs.
        fit_minutes: mean time of the fit, without features that come from the cache; None for the
            baseline, as the next.
        images_per_second: mean rate of embedding, from bytes to vector.
    """

    recipe: str
    split: str
    group_by: str
    seeds: tuple[int, ...]
    folds: int
    runs: int
    spread: str
    figures: _Figures
    ungrouped: _Figures | None
    fit_minutes: float | None
    images_per_second: float | None


def summarise(runs: Sequence[Run]) -> list[Row]:
    """Return the table's rows, best precision at 10 first within each split."""
    rows = []
    groups = group_runs(runs)
    for (recipe, split), members in groups.items():
        facts = [run.facts for run in members]
        seeds = tuple(dict.fromkeys(int(one["seed"]) for one in facts))
        folds = int(facts[0].get("folds", 0))
        minutes = _spread([one.get("fit_seconds") for one in facts])
        speed = _spread([one.get("images_per_second") for one in facts])
        rows.append(
            Row(
                recipe=recipe,
                split=split,
                group_by=facts[0].get("group_by", ""),
                seeds=seeds,
                folds=folds,
                runs=len(facts),
                spread=_over(folds, len(seeds), len(facts)),
                figures=_figures(facts),
                ungrouped=_ungrouped(members, groups.get((recipe, facts[0]["split"]), ())),
                fit_minutes=minutes and minutes[0] / 60,
                images_per_second=speed and speed[0],
            )
        )
    return sorted(rows, key=lambda row: (row.split, -(row.figures["precision_at_10"] or (0,))[0]))


def _ungrouped(members: Sequence[Run], others: Sequence[Run]) -> _Figures | None:
    """Return the figures of runs without groups, of the seeds and folds of ``members``."""
    wanted = {_part(run) for run in members}
    found = [run.facts for run in others if _part(run) in wanted]
    grouped = "group_by" in members[0].facts
    return _figures(found) if grouped and len(found) == len(wanted) else None


def _over(folds: int, seeds: int, runs: int) -> str:
    """Return what a deviation over ``runs`` is over."""
    if runs < 2:
        return ""
    if not folds:
        return f"{seeds} seeds"
    dealt = f"{folds} folds" if seeds == 1 else f"{folds} folds x {seeds} seeds"
    return dealt if runs == folds * seeds else f"{runs} runs of {dealt}"


def _figures(facts: Sequence[dict[str, Any]]) -> _Figures:
    """Return the figures of `Row` from the facts of its runs."""
    figures: _Figures = {name: _spread([one["metrics"][name] for one in facts]) for name in COLUMNS}
    for name in COLUMNS:
        figures[MACRO + name] = _spread([_mean(one["per_class"][name]) for one in facts])
    figures[OVERLAP_RECALL] = _spread([one[OVERLAP_RECALL] for one in facts])
    return figures


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the classes that have queries."""
    mean = _spread(values)
    return mean and mean[0]


def _spread(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return mean and sample standard deviation, 0 for a single value; None without values."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else 0.0


def made_of(row: Row) -> str:
    """Return the seeds of a row and what its deviation is over."""
    seeds = f"seed{'s' if len(row.seeds) > 1 else ''} {','.join(map(str, row.seeds))}"
    if not row.folds:
        return seeds
    return f"{row.spread or f'1 run of {row.folds} folds'}, {seeds}"


def text_table(rows: Sequence[Row]) -> str:
    """Return the table as text, up to 80 columns wide but for long names of recipes.

    Below each recipe are its means over the queries, the deviations of several runs, and the means
    over the classes; of a split by groups also the means over the queries without groups.
    """
    lines, split = [], ""
    for row in rows:
        if row.split != split:
            split = row.split
            title, headings = f"{split} split", [*COLUMNS.values(), _OVERLAP_HEADING]
            if len(title) >= _LABEL_WIDTH:
                lines.append(printable(title))
                title = ""
            lines.append(_line(title, headings))
        about = [made_of(row)]
        if row.fit_minutes is not None:
            about.append(f"fit {row.fit_minutes:.1f} min")
        if row.images_per_second is not None:
            about.append(f"{row.images_per_second:,.0f} images/s")
        lines.append(f"{row.recipe} ({', '.join(about)})")
        overall = [row.figures[name] for name in (*COLUMNS, OVERLAP_RECALL)]
        lines.append(_line("  mean over queries", [_four(one, 0) for one in overall]))
        if row.spread:
            over = ["folds"] * (row.folds > 0) + ["seeds"] * (len(row.seeds) > 1)
            lines.append(_line(f"    ± over {', '.join(over)}", [_four(one, 1) for one in overall]))
        if row.ungrouped is not None:
            plain = [row.ungrouped[name] for name in (*COLUMNS, OVERLAP_RECALL)]
            lines.append(_line("    not grouped", [_four(one, 0) for one in plain]))
        macro = [row.figures[MACRO + name] for name in COLUMNS]
        lines.append(_line("  mean over classes", [_four(one, 0) for one in macro]))
    return "\n".join(lines)


def _line(label: str, cells: Sequence[str]) -> str:
    return (f"{label:<{_LABEL_WIDTH}}" + "".join(f"{cell:<8}" for cell in cells)).rstrip()


def _four(figure: tuple[float, float] | None, part: int) -> str:
    return "-" if figure is None else f"{figure[part]:.4f}"


def conclusions(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """Return sentences: what shared pixels, groups, the recipes and the labels bring in P@10.

    Two recipes or splits are compared by runs with the same queries, or the same seed and fold.
    """
    share = float(runs[0].facts["sharing_pixels"])
    sentences = [f"{share:.0%} of these images share pixels with another."]
    groups, precision = group_runs(runs), {}
    baseline: dict[str, _ByPart] = defaultdict(dict)
    for (name, split), members in groups.items():
        if members[0].facts["recipe"] == BASELINE:
            baseline[split] |= _precision(members)
        else:
            precision[name, split] = _precision(members)
    for recipe in dict.fromkeys(row.recipe for row in rows if (row.recipe, row.split) in precision):
        above: list[str] = []
        for split in (split for name, split in precision if name == recipe):
            figures = precision[recipe, split]
            gain = _points(figures, baseline[split])
            if gain is not None:
                side = "below" if gain < 0 else "above"
                if not above:
                    side = f"points {side} a {BASELINE}"
                above.append(f"{abs(gain):.2f} {side} ({split} split)")
            hidden = _points(figures, precision.get((f"{recipe}, {WITHOUT_LABELS}", split), {}))
            if hidden is not None:
                sentences.append(
                    f"{recipe}: hiding the labels costs {hidden:.2f} points of P@10 ({split})."
                )
        if above:
            sentences.append(f"{recipe}: P@10 is {', '.join(above)}.")
        flattery = _points(
            precision.get((recipe, "random"), {}), precision.get((recipe, "overlap-free"), {})
        )
        if flattery is not None:
            sentences.append(
                f"{recipe}: a random split flatters you by {flattery:.2f} points of P@10."
            )
        for row in (row for row in rows if row.recipe == recipe and row.group_by):
            plain = groups[recipe, row.split][0].facts["split"]
            flattery = _points(precision.get((recipe, plain), {}), precision[recipe, row.split])
            if flattery is not None:
                sentences.append(
                    f"{recipe}: pictures of one {row.group_by} on both sides flatter you by "
                    f"{flattery:.2f} points of P@10 ({plain} split)."
                )
    return sentences


def _precision(runs: Sequence[Run]) -> _ByPart:
    """Return the precision at 10 by what says which images are queries, but for the split."""
    return {_part(run): run.facts["metrics"]["precision_at_10"] for run in runs}


def _part(run: Run) -> tuple[Any, ...]:
    return part_of(run.facts)[len(SPLIT) :]


def _points(one: _ByPart, other: _ByPart) -> float | None:
    """Return 100 times the mean difference of the figures that both have; None without any."""
    both = [figure - other[part] for part, figure in one.items() if part in other]
    return 100 * float(np.mean(both)) if both else None
