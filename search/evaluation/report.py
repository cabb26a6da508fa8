"""The report of a study: conclusions, table and sections, as ``report.json`` and ``.html``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from geosim.search.evaluation.baseline import BASELINE
from geosim.search.evaluation.histogram import BINS
from geosim.search.evaluation.plots import confusion_plot, hit_pictures, precision_plot
from geosim.search.evaluation.runs import EVALUATED_K, Run, first_seed, group_runs
from geosim.search.evaluation.summary import (
    COLUMNS,
    MACRO,
    OVERLAP_RECALL,
    Row,
    conclusions,
    made_of,
    summarise,
)
from geosim.search.evaluation.trust import trust_figures, trust_section
from geosim.trainer.data.sources import Record, Source
from geosim.trainer.evaluation.metrics import most_confused
from geosim.trainer.files import replacing
from geosim.trainer.text import printable

MACRO_COLUMNS = ("precision_at_1", "precision_at_10", "knn_accuracy")
"""Figures of the page's table that are given as means over the classes too."""


def write_report(
    runs: Sequence[Run], records: Sequence[Record], source: Source, folder: Path
) -> list[Row]:
    """Write the report to a folder and return the rows of its table.

    The baseline has a row and a curve, and no section. ``records`` are the images that rows in the
    runs refer to; ``source`` reads their bytes.
    """
    rows = summarise(runs)
    sentences = conclusions(runs, rows)
    confused, sections, curves = [], [], {}
    trust: list[dict[str, Any]] = []
    for (recipe, split), members in group_runs(runs).items():
        title = f"{recipe}, {split}"
        depth = min(len(run.facts["precision_by_k"]) for run in members)
        values = [run.facts["precision_by_k"][:depth] for run in members]
        curves[title] = np.mean(values, axis=0)
        if members[0].facts["recipe"] == BASELINE:
            continue
        classes = members[0].facts["classes"]
        name = "".join(c if c.isalnum() else "-" for c in f"{recipe}-{split}")
        matrix = np.sum([run.facts["confusion"] for run in members], axis=0)
        confusion_plot(matrix, classes, folder / f"{name}-confusion.png")
        hit_pictures(first_seed(members), records, source, folder, name)
        pairs = [
            {"class": classes[row], "taken_for": classes[column], "queries": count}
            for row, column, count in most_confused(matrix)
        ]
        confused.append({"recipe": recipe, "split": split, "pairs": pairs})
        sections.append(_section(title, members, pairs, name))
        figures = trust_figures(members)
        sections.append(trust_section(figures, title, folder, name))
        trust.append({"recipe": recipe, "split": split, **figures})
    precision_plot(curves, folder / "precision.png")
    content = {
        "findings": sentences,
        "table": rows,
        "most_confused": confused,
        "certainty": trust,
        "runs": [run.facts for run in runs if run.facts["recipe"] != BASELINE],
        "baseline": [run.facts for run in runs if run.facts["recipe"] == BASELINE],
    }
    with replacing(folder / "report.json") as temporary:
        temporary.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(_page(rows, sentences, sections), encoding="utf-8")
    return rows


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table as text, headings first; several runs have a deviation."""
    headings = {**COLUMNS, **{MACRO + name: f"macro {COLUMNS[name]}" for name in MACRO_COLUMNS}}
    headings[OVERLAP_RECALL] = f"overlap R@{EVALUATED_K}"
    table = [["recipe", "split", "runs", *headings.values(), "fit min", "images/s"]]
    for row in rows:
        cells = [row.recipe, row.split, made_of(row)]
        for name in headings:
            figure = row.figures[name]
            cells.append("-" if figure is None else f"{figure[0]:.4f}")
            if figure is not None and row.spread:
                cells[-1] += f" ±{figure[1]:.4f}"
        cells.append("-" if row.fit_minutes is None else f"{row.fit_minutes:.1f}")
        cells.append("-" if row.images_per_second is None else f"{row.images_per_second:,.0f}")
        table.append(cells)
    return table


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
.wide th:first-child, .wide td:first-child {{ position: sticky; left: 0; background: #fff;
  min-width: 8rem; }}
img {{ max-width: 100%; height: auto; }}
.plots {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
</style></head><body>
<h1>Retrieval quality</h1>
<ul>{items}</ul>
{_table(_cells(rows))}
{_side_by_side(rows)}
<p>Each recipe is trained on the training part alone; queries are held out of the gallery. P@k:
share of the first k hits of the query's class. mAP@10: mean average precision of the first 10.
k-NN: accuracy of the class the first 10 vote for, votes weighted by score. Macro: the mean over the
classes, whatever their sizes, instead of the queries. Overlap R@10: share of queries with a partner
that shares their pixels in the gallery that find one among their first 10 hits. Fit: minutes of
training, without the features of frozen backbones, which are made once. Images/s: from a file's
bytes to its embedding. Ties in score are ordered by path. Score distributions and worst queries are
those of a recipe's first seed.</p>
<p>±: sample standard deviation over the runs of a row. These are its seeds or its folds: the images
are dealt to folds, and each fold is queried once against the others. Folds share most of their
training images, so their deviation tells how far the figure depends on the images; it is no
standard error of the mean.</p>
<p>Colour histogram: the same queries against the same gallery, by joint RGB histograms of
{BINS} x {BINS} x {BINS} bins and the Bhattacharyya coefficient (Comaniciu, Ramesh, Meer, 2000).
Nothing is learned; what a recipe has above it is what its network adds.</p>
<img src="precision.png" alt="Precision against k">
{"".join(sections)}
</body></html>
"""


def _side_by_side(rows: Sequence[Row]) -> str:
    """Return the part that compares splits by groups with those without; empty for none."""
    names = [*COLUMNS]
    table = [["recipe", "split", *(f"{COLUMNS[one]}{end}" for one in names for end in ("", " *"))]]
    for row in rows:
        if row.ungrouped is None:
            continue
        pairs = [(row.ungrouped[name], row.figures[name]) for name in names]
        cells = [f"{one[0]:.4f}" if one else "-" for pair in pairs for one in pair]
        table.append([row.recipe, row.split, *cells])
    if len(table) == 1:
        return ""
    return f"""<h2>With and without groups</h2>
{_table(table)}
<p>*: no value of the fact that a split is by is on both sides of it, and so in no hit of a query of
the same value. Without groups, a figure says how well pictures of the same sample, hole or thin
section are found; with them, how well others are.</p>"""


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
