"""The report of a study: table, conclusions and page, as ``report.json`` and ``report.html``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from geosim.search.evaluation.plots import confusion_plot, hit_pictures, precision_plot
from geosim.search.evaluation.runs import EVALUATED_K, Run, group_runs
from geosim.search.evaluation.trust import trust_figures, trust_section
from geosim.trainer.data.sources import Record, Source
from geosim.trainer.evaluation.metrics import most_confused
from geosim.trainer.files import replacing
from geosim.trainer.text import printable

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


def write_report(
    runs: Sequence[Run], records: Sequence[Record], source: Source, folder: Path
) -> list[Row]:
    """Write the report to a folder and return the rows of its table.

    ``records`` are the images that rows in the runs refer to; ``source`` reads their bytes.
    """
    rows = summarise(runs)
    sentences = conclusions(runs, rows)
    confused, sections, curves = [], [], {}
    trust: list[dict[str, Any]] = []
    for (recipe, split), members in group_runs(runs).items():
        classes, title = members[0].facts["classes"], f"{recipe}, {split}"
        name = "".join(c if c.isalnum() else "-" for c in f"{recipe}-{split}")
        matrix = np.sum([run.facts["confusion"] for run in members], axis=0)
        confusion_plot(matrix, classes, folder / f"{name}-confusion.png")
        hit_pictures(members[0], records, source, folder, name)
        pairs = [
            {"class": classes[row], "taken_for": classes[column], "queries": count}
            for row, column, count in most_confused(matrix)
        ]
        confused.append({"recipe": recipe, "split": split, "pairs": pairs})
        sections.append(_section(title, members, pairs, name))
        figures = trust_figures(members)
        sections.append(trust_section(figures, title, folder, name))
        trust.append({"recipe": recipe, "split": split, **figures})
        depth = min(len(run.facts["precision_by_k"]) for run in members)
        values = [run.facts["precision_by_k"][:depth] for run in members]
        curves[title] = np.mean(values, axis=0)
    precision_plot(curves, folder / "precision.png")
    content = {
        "findings": sentences,
        "table": rows,
        "most_confused": confused,
        "certainty": trust,
        "runs": [run.facts for run in runs],
    }
    with replacing(folder / "report.json") as temporary:
        temporary.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(_page(rows, sentences, sections), encoding="utf-8")
    return rows


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


def _cells(rows: Sequence[Row]) -> list[list[str]]:
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
    table = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table)


def conclusions(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """Return sentences on how common shared pixels are and how much they raise the precision."""
    share = float(runs[0].facts["sharing_pixels"])
    sentences = [f"{share:.0%} of these images share pixels with another."]
    precision = {
        (recipe, split, run.facts["seed"]): run.facts["metrics"]["precision_at_10"]
        for (recipe, split), members in group_runs(runs).items()
        for run in members
    }
    for recipe in dict.fromkeys(row.recipe for row in rows):
        gains = [
            figure - precision[recipe, "overlap-free", seed]
            for (name, split, seed), figure in precision.items()
            if (name, split) == (recipe, "random") and (recipe, "overlap-free", seed) in precision
        ]
        if gains:
            points = 100 * float(np.mean(gains))
            sentences.append(
                f"{recipe}: a random split flatters you by {points:.2f} points of P@10."
            )
    return sentences


def _page(rows: Sequence[Row], sentences: Sequence[str], sections: Sequence[str]) -> str:
    """Return the HTML page: conclusions, the table, and a section per recipe and split."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Retrieval quality</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto;
  padding: 0 1rem; color: #1c2128; background: #fff; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; border-bottom: 1px solid #d6d9de; text-align: left; }}
.wide {{ overflow-x: auto; }}
img {{ max-width: 100%; height: auto; }}
.plots {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
</style></head><body>
<h1>Retrieval quality</h1>
<ul>{items}</ul>
{_table(_cells(rows))}
<p>Each recipe is trained on the training part alone; queries are held out of the gallery. P@k:
share of the first k hits of the query's class. mAP@10: mean average precision of the first 10.
k-NN: accuracy of the class the first 10 vote for, votes weighted by score. Overlap R@10: share
of queries with a partner that shares their pixels in the gallery that find one among their
first 10 hits. Mean and standard deviation over the seeds. Fit: minutes of training, without the
features of frozen backbones, which are made once. Images/s: from a file's bytes to its embedding.
Ties in score are ordered by path. Score distributions and worst queries are those of a recipe's
first seed.</p>
<img src="precision.png" alt="Precision against k">
{"".join(sections)}
</body></html>
"""


def _section(title: str, runs: Sequence[Run], confused: Sequence[dict[str, Any]], name: str) -> str:
    """Return the section about one recipe and split; ``name`` begins its pictures' file names."""
    per_class = [
        np.mean([run.facts["per_class"][figure] for run in runs], axis=0) for figure in COLUMNS
    ]
    table = [["class", *COLUMNS.values()]]
    for label, *values in zip(runs[0].facts["classes"], *per_class, strict=True):
        table.append([label, *(f"{value:.4f}" for value in values)])
    pairs = ", ".join(
        f"{_name(pair['class'])} taken for {_name(pair['taken_for'])} ({pair['queries']:,} queries)"
        for pair in confused
    )
    queries = sum(int(run.facts["queries"]) for run in runs)
    title = escape(title)
    return f"""
<h2>{title} split</h2>
{_table(table)}
<p>Most confused, of {queries:,} queries: {pairs or "none"}.</p>
<div class="plots">
<img src="{name}-confusion.png" alt="Confusion matrix of {title}">
<img src="{name}-scores.png" alt="Scores of same-class and other-class hits of {title}">
</div>
<h3>The worst queries</h3>
<img src="{name}-worst.png" alt="Queries with the fewest hits of their class, {title}">
"""


def _name(text: str) -> str:
    return f"<bdi>{escape(printable(text))}</bdi>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_name(cell)}</{tag}>" for cell in cells) + "</tr>\n"

    body = "".join(line(row, "td") for row in rows[1:])
    return f'<div class="wide"><table>{line(rows[0], "th")}{body}</table></div>'
