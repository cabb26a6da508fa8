"""What was read from the EXIF data of a data set's pictures, kept beside the hashes of their files.

A picture is read again if its times, size or inode changed (`trainer/data/hashes.py`). One JSON
file per data set, which holds the pictures that it had when it was last read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from geosim.trainer.data.dataset import Dataset, Rejected, read_records
from geosim.trainer.data.hashes import STAT_THREADS, cache_file, stamps_of
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.files import replacing

VERSION = 1
"""Version of what is kept; another one is read anew."""


class ExifCache:
    """The kept values of one data set; empty where the file is missing or damaged."""

    def __init__(self, folder: Path, location: Path, *, rehash: bool = False) -> None:
        """Open the cache of the data set at ``location``; ``rehash`` empties it."""
        self._path = cache_file(folder, location, ".exif.json")
        self._known = {} if rehash else _load(self._path)

    def read(
        self, dataset: Dataset, read: Callable[[Encoded], Any], progress: Callable[[int], object]
    ) -> list[Any | None]:
        """Return a value per picture: the kept one, or what ``read`` returns of its bytes.

        It is JSON; None also for a picture that cannot be read. What is read is kept, also when the
        rest is interrupted.
        """
        with ThreadPoolExecutor(STAT_THREADS) as pool:
            stamps, settled = stamps_of(dataset.source, dataset.records, pool)
        keys = [stamps[at : at + 16].hex() for at in range(0, len(stamps), 16)]
        missing = [row for row, key in enumerate(keys) if key not in self._known]
        progress(len(keys) - len(missing))
        found = {key: self._known[key] for key in keys if key in self._known}
        before, kept = len(self._known), dict(found)
        try:
            records = [dataset.records[row] for row in missing]
            outcomes = read_records(dataset.source, records, read, progress=progress)
            for row, one in zip(missing, outcomes, strict=True):
                if isinstance(one, Rejected):
                    continue
                found[keys[row]] = one
                if settled[row]:
                    kept[keys[row]] = one
        finally:
            self._save(kept, changed=len(kept) != before or bool(missing))
        return [found.get(key) for key in keys]

    def _save(self, kept: dict[str, Any], *, changed: bool) -> None:
        """Write the file, beside it first; skip what cannot be written."""
        with suppress(OSError):
            if not changed:
                os.utime(self._path)  # it was used
                return
            with replacing(self._path) as temporary:
                temporary.write_bytes(orjson.dumps({"version": VERSION, "pictures": kept}))


def _load(path: Path) -> dict[str, Any]:
    try:
        stored = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict) or stored.get("version") != VERSION:
        return {}
    pictures = stored.get("pictures")
    return pictures if isinstance(pictures, dict) else {}
