"""The report of a study: a table over seeds, ``report.json``, and ``report.html`` with plots.

Owns what is shown and said of finished runs; measuring them is `search/evaluation/study.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from geosim.search.evaluation.plots import confusion_plot, precision_plot, score_plot
from geosim.search.evaluation.study import EVALUATED_K, SPLITS, Run, grouped
from geosim.search.render.drawing import SheetRow, contact_sheet
from geosim.search.render.sheet import open_picture
from geosim.search.types import Hit
from geosim.trainer.data.sources import Record, Source
from geosim.trainer.evaluation.metrics import most_confused
from geosim.trainer.files import replacing
from PIL import Image

COLUMNS = {
    "precision_at_1": "P@1",
    "precision_at_5": "P@5",
    "precision_at_10": "P@10",
    "map_at_10": "mAP@10",
    "knn_accuracy": "k-NN",
}
"""Figures of the table and their headings."""

WORST = 6
"""Queries on the sheet of the worst."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a recipe on a split, over its seeds.

    Attributes:
        recipe: backbone and head.
        split: how queries were held out.
        seeds: of the runs.
        figures: mean and standard deviation over the seeds of each figure in `COLUMNS`, and of
            ``overlap_recall_at_10``, which is None without overlaps.
        fit_minutes: mean time of the fit; features of frozen backbones come from the cache, but
            for those that `tile-fusion` makes of tiles it has in memory.
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
    for (recipe, split), members in grouped(runs).items():
        facts = [run.facts for run in members]
        figures = {name: _spread([one["metrics"][name] for one in facts]) for name in COLUMNS}
        recalls = [one[f"overlap_recall_at_{EVALUATED_K}"] for one in facts]
        known = [recall for recall in recalls if recall is not None]
        rows.append(
            Row(
                recipe=recipe,
                split=split,
                seeds=tuple(int(one["seed"]) for one in facts),
                figures={
                    **figures,
                    f"overlap_recall_at_{EVALUATED_K}": _spread(known) if known else None,
                },
                fit_minutes=float(np.mean([one["fit_seconds"] for one in facts])) / 60,
                images_per_second=float(np.mean([one["images_per_second"] for one in facts])),
            )
        )
    return sorted(rows, key=lambda row: (row.split, -_mean(row.figures["precision_at_10"])))


def as_cells(row: Row) -> list[str]:
    """Return a row as text: mean, and spread where there are several seeds."""
    cells = [row.recipe, row.split, ",".join(map(str, row.seeds))]
    for name in (*COLUMNS, f"overlap_recall_at_{EVALUATED_K}"):
        figure = row.figures[name]
        if figure is None:
            cells.append("-")
        elif len(row.seeds) > 1:
            cells.append(f"{figure[0]:.4f} ±{figure[1]:.4f}")
        else:
            cells.append(f"{figure[0]:.4f}")
    return [*cells, f"{row.fit_minutes:.1f}", f"{row.images_per_second:,.0f}"]


HEADINGS = ("recipe", "split", "seeds", *COLUMNS.values(), "overlap R@10", "fit min", "images/s")


def text_table(rows: Sequence[Row]) -> str:
    """Return the table as aligned text."""
    lines = [HEADINGS, *(as_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def findings(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """Return what the study says in sentences: shared pixels, and how much they flatter."""
    share = float(runs[0].facts["sharing_pixels"])
    said = [f"{share:.0%} of these images share pixels with another."]
    precision: dict[str, dict[str, dict[int, float]]] = {}
    for (recipe, split), members in grouped(runs).items():
        of_seed = {run.facts["seed"]: run.facts["metrics"]["precision_at_10"] for run in members}
        precision.setdefault(recipe, {})[split] = of_seed
    for recipe in dict.fromkeys(row.recipe for row in rows):
        random, free = (precision[recipe].get(split, {}) for split in SPLITS)
        if both := sorted(random.keys() & free.keys()):
            points = 100 * float(np.mean([random[seed] - free[seed] for seed in both]))
            said.append(f"{recipe}: a random split flatters you by {points:.2f} points of P@10.")
    return said


def write_report(
    runs: Sequence[Run], records: Sequence[Record], source: Source, folder: Path
) -> list[Row]:
    """Write ``report.json`` and ``report.html`` with its pictures; return the table's rows.

    Args:
        runs: all runs to report.
        records: the images that the runs' rows are numbers of.
        source: reads their bytes.
        folder: the report's.
    """
    rows = summarise(runs)
    said = findings(runs, rows)
    with replacing(folder / "report.json") as temporary:
        content = {
            "findings": said,
            "table": [asdict(row) for row in rows],
            "most_confused": [
                {"recipe": recipe, "split": split, "pairs": _confused(members)}
                for (recipe, split), members in grouped(runs).items()
            ],
            "runs": [run.facts for run in runs],
        }
        temporary.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    sections = []
    for (recipe, split), members in grouped(runs).items():
        name = "".join(c if c.isalnum() else "-" for c in f"{recipe}-{split}")
        _pictures(members, name, folder, records, source)
        sections.append(_section(recipe, split, members, name))
    curves = {}
    for (recipe, split), members in grouped(runs).items():
        depth = min(len(run.facts["precision_by_k"]) for run in members)
        values = [run.facts["precision_by_k"][:depth] for run in members]
        curves[f"{recipe}, {split}"] = np.mean(values, axis=0)
    precision_plot(curves, folder / "precision.png")
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(_page(rows, said, sections), encoding="utf-8")
    return rows


def _pictures(
    runs: Sequence[Run], name: str, folder: Path, records: Sequence[Record], source: Source
) -> None:
    """Draw a recipe's confusion matrix, score distributions and worst queries."""
    classes = runs[0].facts["classes"]
    matrix = np.sum([run.facts["confusion"] for run in runs], axis=0)
    confusion_plot(matrix, classes, folder / f"{name}-confusion.png")
    run = runs[0]
    labels = np.array([classes.index(record.label) for record in records])
    scores = run.scores[:, :EVALUATED_K]
    found = np.isfinite(scores)
    same = (labels[run.hits[:, :EVALUATED_K]] == labels[run.queries][:, None]) & found
    score_plot(scores[same], scores[found & ~same], folder / f"{name}-scores.png")
    worst = np.argsort(same.mean(axis=1), kind="stable")[:WORST]
    sheet = contact_sheet([_row(run, int(query), records, source) for query in worst])
    with replacing(folder / f"{name}-worst.png") as temporary:
        sheet.save(temporary, "PNG")


def _row(run: Run, query: int, records: Sequence[Record], source: Source) -> SheetRow:
    """Return a query of a run with its hits, as a contact sheet draws it."""

    def picture(record: Record) -> Image.Image | None:
        return open_picture(lambda: source.read(record))

    asked = records[run.queries[query]]
    rows = [row for row in run.hits[query, :EVALUATED_K].tolist() if row >= 0]
    scores = run.scores[query].tolist()
    hits = [
        (Hit(i + 1, scores[i], record.path, record.label, "", identical=False), picture(record))
        for i, record in enumerate(records[row] for row in rows)
    ]
    return SheetRow(asked.path, asked.label, picture(asked), hits)


def _confused(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the pairs of classes that are most confused, over all seeds."""
    classes = runs[0].facts["classes"]
    matrix = np.sum([run.facts["confusion"] for run in runs], axis=0)
    return [
        {"class": classes[row], "taken_for": classes[column], "queries": count}
        for row, column, count in most_confused(matrix)
    ]


def _section(recipe: str, split: str, runs: Sequence[Run], name: str) -> str:
    """Return a recipe's part of the page."""
    classes = runs[0].facts["classes"]
    per_class = {
        figure: np.mean([run.facts["per_class"][figure] for run in runs], axis=0)
        for figure in COLUMNS
    }
    body = [
        [label, *(f"{per_class[figure][number]:.4f}" for figure in COLUMNS)]
        for number, label in enumerate(classes)
    ]
    confused = ", ".join(
        f"{pair['class']} taken for {pair['taken_for']} ({pair['queries']:,} queries)"
        for pair in _confused(runs)
    )
    queries = sum(int(run.facts["queries"]) for run in runs)
    alt = escape(f"{recipe}, {split}")
    return f"""
<h2>{escape(recipe)}, {escape(split)} split</h2>
{_table(("class", *COLUMNS.values()), body)}
<p>Most confused, of {queries:,} queries: {escape(confused) or "none"}.</p>
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


def _page(rows: Sequence[Row], said: Sequence[str], sections: Sequence[str]) -> str:
    sentences = "".join(f"<li>{escape(one)}</li>" for one in said)
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
<ul>{sentences}</ul>
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


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation, 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _mean(figure: tuple[float, float] | None) -> float:
    return float("nan") if figure is None else figure[0]
