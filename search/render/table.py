"""Search results as text: an aligned table, JSON, or one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from geosim.search.explain import UNUSUAL, Explanation
from geosim.search.types import Result

HEADINGS = ("rank", "score", "class", "path")


def as_json(result: Result, explanation: Explanation | None = None) -> dict[str, Any]:
    """Return a result as the JSON contract has it; of an indexed query only the votes."""
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
    if explanation is not None:
        answer["explanation"] = _explanation(explanation, indexed=result.indexed is not None)
    return answer if result.error is None else {**answer, "error": result.error}


def _explanation(explanation: Explanation, *, indexed: bool) -> dict[str, Any]:
    votes = [
        {"class": vote.label, "votes": vote.votes, "share": round(vote.share, 4)}
        for vote in explanation.votes
    ]
    if indexed:
        return {"votes": votes}
    return {
        "votes": votes,
        "predicted": explanation.predicted,
        "confidence": round(explanation.confidence, 4),
        "unlike": explanation.unlike,
        "best": explanation.best,
        "usual": explanation.usual,
    }


def render(
    results: Sequence[Result], form: str, explanations: Sequence[Explanation | None] = ()
) -> Iterable[str]:
    """Yield results as text, piece by piece.

    Args:
        results: in the order to print.
        form: ``table``, ``json`` (one array) or ``jsonl`` (a line per query).
        explanations: one per result, or none at all.
    """
    pairs = list(zip(results, explanations or [None] * len(results), strict=True))
    if form == "json":
        answers = [as_json(*pair) for pair in pairs]
        yield orjson.dumps(answers, option=orjson.OPT_INDENT_2).decode()
    elif form == "jsonl":
        yield from (orjson.dumps(as_json(*pair)).decode() for pair in pairs)
    else:
        yield from (table(one, why) for one, why in pairs if one.error is None)


def table(result: Result, explanation: Explanation | None = None) -> str:
    """Return one result as an aligned table under its query, what explains it below."""
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
    if explanation is not None:
        lines += _lines(explanation, indexed=result.indexed is not None)
    return "\n".join([title, *lines]) + "\n"


def _lines(explanation: Explanation, *, indexed: bool) -> list[str]:
    """Return the votes and, of a new picture, what it is taken for or that nothing is like it."""
    votes = ", ".join(f"{printable(vote.label)} {vote.votes}" for vote in explanation.votes)
    lines = [f"votes: {votes}"]
    if explanation.unlike:
        lines.append(
            f"unlike anything here: best score {explanation.best:.4f}; {1 - UNUSUAL:.0%} of the "
            f"indexed images have one of {explanation.usual:.4f} or more"
        )
    elif not indexed:
        label, sure = printable(explanation.predicted), explanation.confidence
        lines.append(f"predicted: {label}, {int(100 * sure)}% sure")
    return lines


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped: a file name must not drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
