"""``python -m tests.benches``: parse, measure part by part, write the tables."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from geosim.trainer.cli.command import INTERRUPTED, Command
from geosim.trainer.errors import GeosimError
from tests.benches import machine, report
from tests.benches.plot import growth_plot
from tests.benches.results import Settings

PARTS = ("embed", "search", "page", "ingest", "graph", "store", "growth", "memory")
"""The parts' modules, in the tables' order."""


@click.command(cls=Command)
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Folder of class folders, or a .zip of one  [default: generated rock textures]",
)
@click.option(
    "--working",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A working folder with a model and a collection of DATA, copied and never changed "
    "[default: made in OUTPUT]",
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds that count."
)
@click.option(
    "--images",
    type=click.IntRange(min=24),
    help="At most this many images or vectors, for a quick look; targets are then not judged.",
)
@click.option(
    "--largest",
    type=click.IntRange(min=24),
    default=1_000_000,
    show_default=True,
    help="Most vectors of growth and memory.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("working", "benches"),
    show_default=True,
    help="Folder of bench.md, bench.json and growth.png, and of what is prepared for them.",
)
@click.pass_context
def main(
    ctx: click.Context,
    parts: tuple[str, ...],
    data: Path | None,
    working: Path | None,
    runs: int,
    images: int | None,
    largest: int,
    output: Path,
) -> None:
    """Measure geosim and its peers side by side and write the tables.

    PART is one or more of embed, search, page, ingest, graph, store, growth and memory; all by
    default. Parts measured before stay in the tables.

    \b
    Examples:
      python -m tests.benches --data geological_similarity.zip
      python -m tests.benches graph store --runs 9
      python -m tests.benches growth --largest 100000
    """
    for name in [name for name in os.environ if name.startswith("GEOSIM_")]:
        del os.environ[name]  # the caller's own working folder and server are not measured
    output.mkdir(parents=True, exist_ok=True)
    data, working = (None if one is None else one.absolute() for one in (data, working))
    settings = Settings(output.absolute(), runs, largest, images, data, working)
    finished = report.read(output / "bench.json")
    wanted = [name for name in PARTS if name in (parts or PARTS)]
    try:
        failed = [name for name in wanted if not _measured(name, settings, finished)]
    except KeyboardInterrupt:
        click.echo("\ninterrupted; the parts that were finished are kept", err=True)
        ctx.exit(INTERRUPTED)
    click.echo(output / "bench.md")
    if failed:
        raise click.ClickException(f"not measured: {', '.join(failed)}")


def _measured(name: str, settings: Settings, parts: dict[str, Any]) -> bool:
    """Measure one part, add it to ``parts`` and write the tables; say why if that cannot be."""
    click.echo(f"{name} ...", err=True)
    part = importlib.import_module(f"tests.benches.{name}")
    busy, started = machine.busy(), time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=settings.output) as scratch:
            rows = part.measure(settings, Path(scratch))
    except GeosimError as error:
        click.echo(f"{name}: {error}", err=True)
        return False
    parts[name] = {
        "about": part.ABOUT,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": machine.describe(),
        "busy": busy,
        "runs": settings.runs,
        "seconds": time.perf_counter() - started,
        "rows": [row.to_json() for row in rows],
    }
    if name == "growth":
        growth_plot(rows, settings.output / "growth.png")
    report.write(settings.output, {one: parts[one] for one in PARTS if one in parts})
    return True


if __name__ == "__main__":
    main()
