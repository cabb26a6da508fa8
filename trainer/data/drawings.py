"""Finds the pictures that geosim drew among those of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from geosim.trainer import drawn
from geosim.trainer.data.names import ending_of
from geosim.trainer.data.sources import Archive, Files

_THREADS = 4


def drawn_images(files: Iterable[str], source: Files | Archive) -> set[str]:
    """Return the pictures that geosim drew; ``files`` are those of records, `Record.source`."""
    asked = [one for one in files if ending_of(one) in drawn.ENDINGS]

    def look(file: str) -> bool:
        return drawn.is_drawn(source.head(file, drawn.SMALLEST, drawn.HEAD_BYTES))

    with ThreadPoolExecutor(_THREADS) as pool:
        return {one for one, own in zip(asked, pool.map(look, asked), strict=True) if own}
