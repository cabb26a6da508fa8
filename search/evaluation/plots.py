"""The pictures of a study: plots, and contact sheets of its worst queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geosim.search.evaluation.baseline import BASELINE
from geosim.search.evaluation.runs import EVALUATED_K, Run
from geosim.search.render.drawing import SheetRow
from geosim.search.render.fonts import drawable, families
from geosim.search.render.sheet import open_picture, save_sheet
from geosim.search.types import Hit
from geosim.trainer.data.sources import Record, Source
from geosim.trainer.plots import save_figure

WORST_QUERIES = 6
"""Number of queries on the contact sheet of the worst."""


def confusion_plot(matrix: NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix, each row as shares of its true class, with counts written in."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.62 * len(classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(xlabel="voted class", ylabel="true class", title="k-NN confusion")
    # The square root makes the few queries off the diagonal visible.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    # Matplotlib lays out the letters of all scripts since 3.11.
    shaping = matplotlib.__version_info__ >= (3, 11)
    names = [drawable(name, shaping=shaping) for name in classes]
    style: dict[str, Any] = {"fontfamily": families(names), "parse_math": False}
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", **style)
    axes.set_yticks(range(len(names)), names, **style)
    for row, column in np.ndindex(*matrix.shape):
        colour = "white" if shares[row, column] > 0.3 else "black"
        text = f"{matrix[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    save_figure(figure, path)


def precision_plot(curves: Mapping[str, NDArray[np.float64]], path: Path) -> None:
    """Draw precision against k, a line per recipe and split."""
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    axes = figure.add_subplot(xlabel="k", ylabel="precision at k", title="Precision against k")
    for name, values in curves.items():
        style = "--" if name.endswith("overlap-free") else "-"
        colour = "grey" if name.startswith(BASELINE) else None
        axes.plot(range(1, len(values) + 1), values, style, label=name, color=colour)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    save_figure(figure, path)


def score_plot(same: NDArray[np.float64], other: NDArray[np.float64], path: Path) -> None:
    """Draw how scores of hits of the query's class, and of other classes, are distributed."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    title, share = "Scores of the first 10 hits", "share of the hits of that kind"
    axes = figure.add_subplot(xlabel="score", ylabel=share, title=title)
    low = min((float(np.quantile(one, 0.001)) for one in (same, other) if len(one)), default=0.0)
    edges = np.linspace(low, 1.0, 60)
    for values, label, colour in ((same, "same class", "C0"), (other, "other class", "C1")):
        if len(values):
            weights = np.full(len(values), 1 / len(values))
            name = f"{label} ({len(values):,})"
            axes.hist(values, edges.tolist(), weights=weights, alpha=0.6, label=name, color=colour)
    axes.legend(loc="upper left")
    save_figure(figure, path)


def hit_pictures(
    run: Run, records: Sequence[Record], source: Source, folder: Path, name: str
) -> None:
    """Draw the scores of a run's hits, and the queries with the fewest hits of their class."""
    numbers = {label: number for number, label in enumerate(run.facts["classes"])}
    labels = np.array([numbers.get(record.label, -1) for record in records])
    hits, scores = run.hits[:, :EVALUATED_K], run.scores[:, :EVALUATED_K]
    found = np.isfinite(scores)
    same = (labels[hits] == labels[run.queries][:, None]) & found
    score_plot(scores[same], scores[found & ~same], folder / f"{name}-scores.png")
    rows = []
    for query in np.argsort(same.mean(axis=1), kind="stable")[:WORST_QUERIES]:
        asked, drawn = records[run.queries[query]], []
        for rank, row in enumerate(hits[query][found[query]].tolist(), start=1):
            record, score = records[row], float(scores[query, rank - 1])
            hit = Hit(rank, score, record.path, record.label, "", identical=False)
            drawn.append((hit, open_picture(source.read, record)))
        rows.append(SheetRow(asked.path, asked.label, open_picture(source.read, asked), drawn))
    save_sheet(rows, folder / f"{name}-worst.png")
