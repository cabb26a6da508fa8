"""Search results as text: an aligned table, JSON, or one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from search.hits import Result

HEADINGS = ("rank", "score", "class", "path")


def as_json(result: Result) -> dict[str, Any]:
    """Return a result as the JSON contract has it."""
    answer: dict[str, Any] = {
        "query": result.query,
        "hits": [
            {
                "rank": hit.rank,
                "score": hit.score,
                "path": hit.path,
                "class": hit.label,
                "id": hit.id,
                "identical": hit.identical,
            }
            for hit in result.hits
        ],
    }
    return answer if result.error is None else {**answer, "error": result.error}


def render(results: Iterable[Result], form: str) -> Iterable[str]:
    """Yield results as text, piece by piece.

    Args:
        results: in the order to print.
        form: ``table``, ``json`` (one array) or ``jsonl`` (a line per query).
    """
    if form == "json":
        yield orjson.dumps([as_json(one) for one in results], option=orjson.OPT_INDENT_2).decode()
    elif form == "jsonl":
        yield from (orjson.dumps(as_json(one)).decode() for one in results)
    else:
        yield from (table(one) for one in results if one.error is None)


def table(result: Result) -> str:
    """Return one result as an aligned table under its query."""
    title = printable(result.query)
    if result.indexed is not None:
        title += f"  (indexed, {printable(result.indexed.label)})"
    rows = [
        (
            str(hit.rank),
            f"{hit.score:.4f}",
            printable(hit.label),
            printable(hit.path) + ("  (identical)" if hit.identical else ""),
        )
        for hit in result.hits
    ]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    lines = [
        f"{rank:>{widths[0]}}  {score:>{widths[1]}}  {label:<{widths[2]}}  {path}"
        for rank, score, label, path in (HEADINGS, *rows)
    ]
    return "\n".join([title, *lines]) + "\n"


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped: a file name must not drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
