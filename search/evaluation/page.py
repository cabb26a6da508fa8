"""The HTML page of a study. Owns its text and layout; takes the figures as they are."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from geosim.search.evaluation.runs import Run
from geosim.search.evaluation.summary import COLUMNS, HEADINGS, Row, as_cells


def page(rows: Sequence[Row], sentences: Sequence[str], sections: Sequence[str]) -> str:
    """Return the page: conclusions, the table, and a section per recipe and split."""
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
{_table(HEADINGS, [as_cells(row) for row in rows])}
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


def section(
    recipe: str, split: str, runs: Sequence[Run], confused: Sequence[dict[str, Any]], name: str
) -> str:
    """Return the part of the page about one recipe and split.

    Args:
        recipe: backbone and head.
        split: how queries were held out.
        runs: one per seed.
        confused: the most confused classes, as in ``report.json``.
        name: beginning of the names of its picture files.
    """
    classes = runs[0].facts["classes"]
    per_class = {
        figure: np.mean([run.facts["per_class"][figure] for run in runs], axis=0)
        for figure in COLUMNS
    }
    body = [
        [label, *(f"{per_class[figure][number]:.4f}" for figure in COLUMNS)]
        for number, label in enumerate(classes)
    ]
    pairs = ", ".join(
        f"{pair['class']} taken for {pair['taken_for']} ({pair['queries']:,} queries)"
        for pair in confused
    )
    queries = sum(int(run.facts["queries"]) for run in runs)
    alt = escape(f"{recipe}, {split}")
    return f"""
<h2>{escape(recipe)}, {escape(split)} split</h2>
{_table(("class", *COLUMNS.values()), body)}
<p>Most confused, of {queries:,} queries: {escape(pairs) or "none"}.</p>
<div class="plots">
<img src="{name}-confusion.png" alt="Confusion matrix of {alt}">
<img src="{name}-scores.png" alt="Scores of same-class and other-class hits of {alt}">
</div>
<h3>The worst queries</h3>
<img src="{name}-worst.png" alt="Queries with the fewest hits of their class, {alt}">
"""


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'
