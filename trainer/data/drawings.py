"""Finds the pictures that geosim drew among those of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from geosim.trainer import drawn
from geosim.trainer.data.hashes import HashCache
from geosim.trainer.data.sources import Archive, Files

_THREADS = 4


def drawn_images(
    files: Sequence[str], source: Files | Archive, cache: HashCache | None = None
) -> set[str]:
    """Return the pictures that geosim drew, without reading those that ``cache`` knows.

    ``files`` are those of records, `Record.source`.
    """
    asked = [one for one in files if Path(one).suffix.lower() in drawn.ENDINGS]
    if cache is not None:
        known = cache.known(source, asked)
        cache.close()
        asked = [one for one in asked if one not in known]

    def look(file: str) -> bool:
        return drawn.is_drawn(source.head(file, drawn.SMALLEST, drawn.HEAD_BYTES))

    with ThreadPoolExecutor(_THREADS) as pool:
        return {one for one, own in zip(asked, pool.map(look, asked), strict=True) if own}
