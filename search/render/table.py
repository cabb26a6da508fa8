"""Search results as text: an aligned table, JSON, one JSON object per line, or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from geosim.ingest.store.base import VectorStore
from geosim.search.explain import NOVEL_SHARE, Explanation
from geosim.search.fact_columns import FactColumns
from geosim.search.fields import Fields
from geosim.search.fields import shown as shown_value
from geosim.search.spreadsheet import Cell, csv_lines
from geosim.search.types import Hit, Result
from geosim.trainer.console import to_json
from geosim.trainer.data.facts import GEO
from geosim.trainer.text import printable, printable_class

UNKNOWN_CERTAINTY = "; the model was trained on too few images to tell how sure"

QUERY_COLUMNS = ("query", "query_class", "predicted", "certainty", "unlike")
HIT_COLUMNS = ("rank", "score", "class", "path", "identical", "box")
"""Columns of a CSV, ``box`` of a tile as ``X,Y,W,H``; the last one of a row is ``error``."""

NO_FACTS = FactColumns((), ())

LONGEST_VALUE = 40
"""Characters of a value of a field in a table; JSON and CSV have all of it."""

HEADINGS = ("rank", "score", "class", "path")


def as_json(result: Result, explanation: Explanation | None = None) -> dict[str, Any]:
    """Return a result as JSON; the explanation of an indexed query is only its votes."""
    answer: dict[str, Any] = {"query": result.query, "hits": [_hit(hit) for hit in result.hits]}
    if result.crop is not None:
        answer["crop"] = asdict(result.crop)
    if result.note is not None:
        answer["note"] = result.note
    if result.approximate:
        answer["approximate"] = True
    if explanation is not None:
        answer["explanation"] = {
            "votes": [
                {"class": vote.label, "votes": vote.votes, "share": round(vote.share, 4)}
                for vote in explanation.votes
            ],
            "without_class": explanation.unlabelled,
        }
        if result.indexed is None:
            answer["explanation"] |= {
                "predicted": explanation.predicted,
                "confidence": _rounded(explanation.confidence),
                "unlike": explanation.is_novel,
                "best": explanation.best_score,
                "usual": explanation.threshold,
                "doubt": explanation.doubt or None,
            }
    return answer if result.error is None else {**answer, "error": result.error}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _hit(hit: Hit) -> dict[str, Any]:
    """Return the fields of a hit: its label as ``class``, null for none; facts if it has any."""
    fields = asdict(replace(hit, specimen=None)) | {"label": hit.label or None}
    if (one := hit.specimen) is not None:
        best = [_hit(picture) for picture in one.best]
        fields["specimen"] = {"value": one.value, "images": one.images, "best": best}
    for name in ("facts", "shown", "box", "specimen"):
        if not fields[name]:
            del fields[name]
    return {"class" if k == "label" else k: value for k, value in fields.items()}


def render(
    answers: Iterable[tuple[Result, Explanation | None]],
    output_format: str,
    show: Sequence[str] = (),
    facts: FactColumns = NO_FACTS,
) -> Iterator[str]:
    """Yield results as text: a ``table`` each, one array as ``json``, or a line each as ``jsonl``.

    A ``csv`` has a line for each hit, and one for a query without any. Lines and tables
    are yielded as the answers come. ``show`` are the fields that hits were to show, ``facts`` the
    further columns of a ``csv``.
    """
    if output_format == "json":
        objects = [as_json(*answer) for answer in answers]
        yield to_json(objects, indent=True).decode()
    elif output_format == "jsonl":
        yield from (to_json(as_json(*answer)).decode() for answer in answers)
    elif output_format == "csv":
        show = tuple(dict.fromkeys(show))
        rows = (row for answer in answers for row in _rows(*answer, show, facts))
        fixed = (*QUERY_COLUMNS, *HIT_COLUMNS)
        named = [f"shown.{name}" if name in {*fixed, "error"} else name for name in show]
        yield from csv_lines((*fixed, *named, *facts.header, "error"), rows)
    else:
        yield from (table(*answer) for answer in answers if answer[0].error is None)


def csv_facts(store: VectorStore, show: Sequence[str]) -> FactColumns:
    """Return columns for the facts of a collection's images that ``show`` does not name."""
    kinds = sorted(Fields(store).facts.items())
    places = {name: kind == GEO for name, kind in kinds if name not in show}
    return FactColumns.of_kinds(places, (*QUERY_COLUMNS, *HIT_COLUMNS, *show, "error"))


def _rows(
    result: Result, explanation: Explanation | None, show: Sequence[str], facts: FactColumns
) -> Iterator[list[Cell]]:
    """Yield the rows of a CSV; only queries that are not indexed have a prediction, as in JSON."""
    of_query: list[Cell] = [result.query, None, None, None, None]
    if result.indexed is not None:
        of_query[1] = result.indexed.label
    elif explanation is not None:
        of_query[2:] = [*explanation.prediction, explanation.is_novel]
    for hit in result.hits:
        shown = (_cell(hit.shown.get(name)) for name in show)
        box = None if hit.box is None else str(hit.box)
        found = (hit.rank, hit.score, hit.label, hit.path, hit.identical, box)
        yield [*of_query, *found, *shown, *facts.cells(hit.facts), None]
    if not result.hits:
        empty = (None for _ in (*HIT_COLUMNS, *show, *facts.header))
        yield [*of_query, *empty, result.error]


def _cell(value: Any) -> Cell:
    return shown_value(value) if isinstance(value, Mapping) else value


def table(result: Result, explanation: Explanation | None = None) -> str:
    """Return one result as an aligned table below its query, followed by its explanation."""
    title = printable(result.query)
    if (crop := result.crop) is not None:
        title += f"  (part {crop} of {crop.picture_width} x {crop.picture_height} pixels)"
    if result.indexed is not None:
        title += f"  (indexed, {printable_class(result.indexed.label)})"
    shown = [] if not result.hits else [*result.hits[0].shown]
    rows = [[*HEADINGS[:3], *map(_short, shown), HEADINGS[3]]]
    for hit in result.hits:
        path = printable(hit.path) + ("  (identical)" if hit.identical else "")
        path += "" if hit.box is None else f"  (tile {hit.box})"
        values = [_short(shown_value(hit.shown[name])) for name in shown]
        label = printable_class(hit.label)
        rows.append([str(hit.rank), f"{hit.score:.4f}", label, *values, path])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for rank, score, *others, path in rows:
        cells = [f"{one:<{width}}" for one, width in zip(others, widths[2:-1], strict=True)]
        lines.append("  ".join([f"{rank:>{widths[0]}}", f"{score:>{widths[1]}}", *cells, path]))
    if explanation is not None:
        lines += _lines(explanation, indexed=result.indexed is not None)
    return "\n".join([title, *lines]) + "\n"


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _lines(explanation: Explanation, *, indexed: bool) -> list[str]:
    """Return the votes and, for a query that is not indexed, the prediction or why it has none."""
    votes = ", ".join(f"{printable(vote.label)} {vote.votes}" for vote in explanation.votes)
    lines = [f"votes: {votes or 'none'}"]
    if explanation.unlabelled:
        hits = explanation.unlabelled + sum(vote.votes for vote in explanation.votes)
        verb = "has" if explanation.unlabelled == 1 else "have"
        lines[0] += f"; {explanation.unlabelled} of the {hits} nearest {verb} no class"
    if explanation.is_novel:
        lines.append(
            f"unlike anything here: best score {explanation.best_score:.4f}; "
            f"{1 - NOVEL_SHARE:.0%} of the indexed images have one of {explanation.threshold:.4f} "
            "or more"
        )
    elif explanation.doubt:
        lines.append(f"no class is predicted: {explanation.doubt}")
    elif explanation.predicted and not indexed:
        sure = UNKNOWN_CERTAINTY
        if explanation.confidence is not None:
            sure = f", {int(100 * explanation.confidence)}% sure"
        lines.append(f"predicted: {printable(explanation.predicted)}{sure}")
    return lines
