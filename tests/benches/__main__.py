"""Command line of the benchmark: measure part by part and write the tables."""

from __future__ import annotations

import importlib
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib import metadata
from itertools import groupby
from pathlib import Path

import click

from geosim.trainer.cli.command import Command
from tests.benches.common import Row, Settings

PARTS = (
    *("embed", "search", "page", "ingest", "graph", "store", "growth", "memory", "facts"),
    *("million", "train", "unchanged", "quantized", "photographs"),
)
"""Modules of the parts."""

SERVER = "server"
"""Module of the part that needs a Qdrant server."""


@click.command(cls=Command)
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS, SERVER]), metavar="[PART]...")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Folder of class folders, or a .zip of one  [default: generated rock textures]",
)
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds.")
@click.option("--images", type=click.IntRange(min=24), help="At most this many images or vectors.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("working", "benches"),
    show_default=True,
    help="Folder of PART.md, growth.png and the prepared inputs.",
)
@click.option("--url", help="Address of the Qdrant server of the part server.")
@click.option(
    "--collection-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings of its collection, as `geosim ingest` takes them.",
)
def main(
    parts: tuple[str, ...],
    data: Path | None,
    runs: int,
    images: int | None,
    output: Path,
    url: str | None,
    collection_config: Path | None,
) -> None:
    """Measure geosim and its peers; write and print a table for each PART.

    PART is one or more of embed, search, page, ingest, graph, store, growth, memory, facts,
    million, train, unchanged, quantized and photographs; all by default; or server, which stores
    --images points on a server of one node. Contenders take turns, once per round. A cost is a
    contender's time or memory divided by that of geosim in the same round, the median over rounds.

    \b
    Examples:
      python -m tests.benches --data geological_similarity.zip
      python -m tests.benches graph store --runs 9
      python -m tests.benches server --url http://localhost:6333 --images 3000000
      python -m tests.benches train unchanged --images 100000
    """
    for name in [name for name in os.environ if name.startswith("GEOSIM_")]:
        del os.environ[name]
    output.mkdir(parents=True, exist_ok=True)
    pictures = data.absolute() if data else None
    settings = Settings(output.absolute(), runs, images, pictures, url, collection_config)
    for name in [name for name in (*PARTS, SERVER) if name in (parts or PARTS)]:
        click.echo(f"{name} ...", err=True)
        part, load = importlib.import_module(f"tests.benches.{name}"), os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=output) as scratch:
            rows = part.measure(settings, Path(scratch).absolute())
        today = datetime.now(timezone.utc).date()
        conditions = f"{today}, {runs} rounds, load average {load:.1f} before; {_machine()}."
        text = "\n".join([f"## {name}", "", part.ABOUT, "", conditions, *_tables(rows), ""])
        (output / f"{name}.md").write_text(text, encoding="utf-8")
        click.echo(text)


def _machine() -> str:
    """Describe processor, memory, and versions of all dependencies."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        cpu = found[1] if found else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = [f"Python {platform.python_version()}"]
    requirements = metadata.requires("geosim") or ()
    for requirement in [one for one in requirements if not re.search("extra == .(test|dev)", one)]:
        with suppress(metadata.PackageNotFoundError):
            name = re.split(r"[^\w-]", requirement)[0]
            versions.append(f"{name} {metadata.version(name)}")
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB; {', '.join(versions)}"


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table per group."""
    for group, members in groupby(rows, key=lambda row: row.group):
        yield from ("", f"**{group}**", "")
        yield from ("| contender | median | min – max | cost |", "|---|---|---|---|")
        for row in members:
            low, high = min(row.values), max(row.values)
            cost = "–" if row.cost is None else f"{row.cost:.3g}"
            figures = f"{row.median:.4g} {row.unit} | {low:.4g} – {high:.4g} | {cost}"
            yield f"| {row.name} | {figures} |"


if __name__ == "__main__":
    main()
