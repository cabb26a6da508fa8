"""A search as a user waits for it: a whole process, from start to end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from geosim.ingest.catalog import ImageReader
from geosim.trainer.working import Working
from tests.benches.children import BenchError, command, in_child, process
from tests.benches.prepared import copied, like, stored_paths, working_folder
from tests.benches.results import (
    FULL_SIZE,
    OURS,
    Row,
    Settings,
    Target,
    compared,
    ratio,
)
from tests.benches.timing import interleaved

ABOUT = (
    "`geosim-search PICTURE` from the start of its process to its end, ten hits. A new picture is "
    "in no cache and no collection: an indexed one with a little noise, another one each run, the "
    "same for both contenders. TensorFlow's way loads the same network with Keras, embeds with it, "
    "and asks the same collection."
)
TENSORFLOW = "through TensorFlow"


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Time searches for new pictures and for an indexed one."""
    working = copied(working_folder(settings), scratch / "working", features=True)
    paths = in_child(stored_paths, working)
    count, path = len(paths), paths[0]
    known = ImageReader(Working(working).datasets).read(path)
    found: dict[str, list[set[str]]] = {OURS: [], TENSORFLOW: []}

    def new(name: str, pictures: Iterator[Path]) -> float:
        picture = next(pictures)
        if name == OURS:
            options = ("--working", working, "--format", "jsonl")
            seconds, output = command("geosim.search.cli.main", "search", picture, *options)
        else:
            seconds, output = process("-m", "tests.benches.tensorflow_search", picture, working)
        found[name].append(hits(output))
        return seconds

    turns = {name: partial(new, name, noisy(known, scratch / name)) for name in found}
    seconds = interleaved("new picture", turns, settings.runs)
    rows = compared(f"a new picture among {count:,}", seconds)
    common = median(len(one & other) for one, other in zip(*found.values(), strict=True))
    rows[TENSORFLOW] = replace(rows[TENSORFLOW], note=f"{common:g} of 10 hits are the same")

    def indexed() -> float:
        options = ("--working", working, "--format", "jsonl")
        seconds, output = command("geosim.search.cli.main", "search", path, *options)
        hits(output)
        return seconds

    taken = interleaved("indexed picture", {OURS: indexed}, settings.runs)
    again = compared(f"an indexed picture among {count:,}", taken)
    if count >= FULL_SIZE:
        times = ratio(seconds[TENSORFLOW], seconds[OURS])
        rows[OURS] = replace(rows[OURS], target=Target(rows[OURS].median, 1.2, "s"))
        rows[TENSORFLOW] = replace(rows[TENSORFLOW], target=Target(times, 8.0, "x", at_least=True))
        again[OURS] = replace(again[OURS], target=Target(again[OURS].median, 0.5, "s"))
    return [*rows.values(), *again.values()]


def noisy(picture: bytes, folder: Path) -> Iterator[Path]:
    """Write and yield new pictures that look like one; the n-th is the same in every folder."""
    folder.mkdir()
    for number in itertools.count():
        path = folder / f"{number}.jpg"
        path.write_bytes(like(picture, number))
        yield path


def hits(output: str) -> set[str]:
    """Return the paths found, from the command's one line of JSON.

    Raises:
        BenchError: there are none.
    """
    found = {hit["path"] for hit in json.loads(output)["hits"]}
    if not found:
        raise BenchError("a search found nothing")
    return found
