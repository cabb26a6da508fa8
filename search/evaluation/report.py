"""Writes the report of a study: ``report.json``, ``report.html`` and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from geosim.search.evaluation.figures import EVALUATED_K
from geosim.search.evaluation.page import page, section
from geosim.search.evaluation.plots import confusion_plot, precision_plot, score_plot
from geosim.search.evaluation.runs import Run, group_runs
from geosim.search.evaluation.summary import Row, conclusions, summarise
from geosim.search.render.drawing import SheetRow, contact_sheet
from geosim.search.render.sheet import open_picture
from geosim.search.types import Hit
from geosim.trainer.data.sources import Record, Source
from geosim.trainer.evaluation.metrics import most_confused
from geosim.trainer.files import replacing

WORST_QUERIES = 6
"""Number of queries on the contact sheet of the worst."""


def write_report(
    runs: Sequence[Run], records: Sequence[Record], source: Source, folder: Path
) -> list[Row]:
    """Write ``report.json`` and ``report.html`` with its pictures; return the table's rows.

    Args:
        runs: all runs to report.
        records: the images that rows in the runs refer to.
        source: reads their bytes.
        folder: where the report is written.
    """
    rows, groups = summarise(runs), group_runs(runs)
    sentences = conclusions(runs, rows)
    confused = {key: _most_confused(members) for key, members in groups.items()}
    content = {
        "findings": sentences,
        "table": [asdict(row) for row in rows],
        "most_confused": [
            {"recipe": recipe, "split": split, "pairs": pairs}
            for (recipe, split), pairs in confused.items()
        ],
        "runs": [run.facts for run in runs],
    }
    with replacing(folder / "report.json") as temporary:
        temporary.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    sections, curves = [], {}
    for (recipe, split), members in groups.items():
        name = "".join(c if c.isalnum() else "-" for c in f"{recipe}-{split}")
        _draw_pictures(members, name, folder, records, source)
        sections.append(section(recipe, split, members, confused[recipe, split], name))
        depth = min(len(run.facts["precision_by_k"]) for run in members)
        values = [run.facts["precision_by_k"][:depth] for run in members]
        curves[f"{recipe}, {split}"] = np.mean(values, axis=0)
    precision_plot(curves, folder / "precision.png")
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(page(rows, sentences, sections), encoding="utf-8")
    return rows


def _draw_pictures(
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
    worst = np.argsort(same.mean(axis=1), kind="stable")[:WORST_QUERIES]
    sheet = contact_sheet([_sheet_row(run, int(query), records, source) for query in worst])
    with replacing(folder / f"{name}-worst.png") as temporary:
        sheet.save(temporary, "PNG")


def _sheet_row(run: Run, query: int, records: Sequence[Record], source: Source) -> SheetRow:
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


def _most_confused(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the pairs of classes that are most confused, over all seeds."""
    classes = runs[0].facts["classes"]
    matrix = np.sum([run.facts["confusion"] for run in runs], axis=0)
    return [
        {"class": classes[row], "taken_for": classes[column], "queries": count}
        for row, column, count in most_confused(matrix)
    ]
