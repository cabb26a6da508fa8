"""The results on disk: ``bench.json``, part by part, and ``bench.md``, the tables made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from geosim.trainer.files import replacing
from tests.benches.children import BenchError
from tests.benches.results import OURS, Row

FORMAT = 1
"""Of ``bench.json``."""

BUSY = 0.1
"""Share of the processor that others may use before a part begins without it being said."""

INTRODUCTION = (
    "Made by `python -m tests.benches`. Contenders take turns, each once per round; a cost is the "
    f"median over rounds of a contender's time, or memory, divided by {OURS}'s of the same round, "
    f"so above 1 {OURS} is better. Targets are judged at full size only."
)


def read(path: Path) -> dict[str, Any]:
    """Return the parts measured so far by name, as `write` took them.

    Raises:
        BenchError: the file is none of ours.
    """
    if not path.exists():
        return {}
    try:
        stored = orjson.loads(path.read_bytes())
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']}, expected {FORMAT}")
        parts: dict[str, Any] = stored["parts"]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} cannot be read ({error}); move it away") from error
    return parts


def write(folder: Path, parts: Mapping[str, Any]) -> None:
    """Write ``bench.json`` and ``bench.md``, each whole or not at all.

    Args:
        folder: where.
        parts: by name, in the tables' order: ``about``, ``date``, ``machine``, ``busy``,
            ``seconds``, ``runs`` and ``rows``, a list of `Row.to_json`.
    """
    stored = {"format": FORMAT, "parts": parts}
    with replacing(folder / "bench.json") as temporary:
        temporary.write_bytes(orjson.dumps(stored, option=orjson.OPT_INDENT_2) + b"\n")
    with replacing(folder / "bench.md") as temporary:
        temporary.write_text("\n".join(_lines(parts)) + "\n", encoding="utf-8")


def _lines(parts: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# Benchmark", "", INTRODUCTION)
    machine = None
    for name, part in parts.items():
        yield from ("", f"## {name}", "", part["about"])
        if part["machine"] != machine:
            machine = part["machine"]
            yield from ("", *_machine(machine))
        yield from ("", _circumstances(part))
        rows = [Row.from_json(row) for row in part["rows"]]
        if any(row.size is not None for row in rows):
            yield from _by_size(rows)
        else:
            for group, members in groupby(rows, key=lambda row: row.group):
                yield from ("", f"**{group}**", "", *_table(list(members)))


def _machine(machine: Mapping[str, Any]) -> Iterator[str]:
    sets = f" ({', '.join(machine['instructions'])})" if machine["instructions"] else ""
    versions = ", ".join(f"{name} {one}" for name, one in machine["versions"].items())
    yield (
        f"Machine, from here on: {machine['cpu']}{sets}, {machine['cores']} cores, "
        f"{machine['memory_gb']:g} GB, {machine['system']}; Python {machine['python']}, {versions}."
    )


def _circumstances(part: Mapping[str, Any]) -> str:
    said = f"{part['date']}, {part['runs']} runs asked for, {part['seconds']:,.0f} s in all."
    if part["busy"] is not None and part["busy"] > BUSY:
        said += f" **Others used {part['busy']:.0%} of the processor** when it began."
    return said


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"| contender | median, {rows[0].unit} | min – max | runs | cost | target | note |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        cells = [row.name, *_figures(row), _verdict(row), row.note]
        yield f"| {' | '.join(cells)} |"


def _figures(row: Row) -> list[str]:
    if not row.values:
        return ["–"] * 4
    spread = f"{shown(min(row.values))} – {shown(max(row.values))}"
    cost = "–" if row.cost is None else shown(row.cost)
    return [shown(row.median), spread, str(len(row.values)), cost]


def _verdict(row: Row) -> str:
    target = row.target
    if target is None:
        return ""
    unit = "x" if target.unit == "x" else f" {target.unit}"
    kind = "at least" if target.at_least else "at most"
    verdict = "met" if target.met else "**missed**"
    return f"{verdict}: {target.value:.2f}{unit}, {kind} {target.bound:g}{unit}"


def _by_size(rows: Sequence[Row]) -> Iterator[str]:
    names = list(dict.fromkeys(row.name for row in rows))
    cells = {(row.size, row.name): row for row in rows}
    yield from ("", "Median seconds, and (min – max; runs):", "")
    yield f"| vectors | {' | '.join(names)} |"
    yield "|" + "---|" * (len(names) + 1)
    for size in sorted({row.size or 0 for row in rows}):
        found = [_cell(cells.get((size, name))) for name in names]
        yield f"| {size:,} | {' | '.join(found)} |"
    yield from ("", "![Growth of the costs](growth.png)")


def _cell(row: Row | None) -> str:
    if row is None or not row.values:
        return "–"
    median, spread, runs, _ = _figures(row)
    note = f"; {row.note}" if row.note else ""
    return f"{median} ({spread}; {runs}){note}"


def shown(figure: float) -> str:
    """Return a figure with three digits, or all before the point."""
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}" if abs(figure) < 0.01 else f"{figure:#.3g}".rstrip(".")
