"""Where this machine keeps the pictures behind stored paths.

A collection may be shared by machines that keep their pictures in different places, so the places
are remembered beside the collection's user, in ``<working>/datasets.json``, not in the collection.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson
from filelock import FileLock

from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.sources import Archive, Files, Record
from geosim.trainer.errors import GeosimError, ImageError
from geosim.trainer.files import replacing


def remember(catalog: Path, dataset: Dataset) -> None:
    """Note where a data set's pictures are; several processes may do so at once."""
    place = _place(dataset)
    with FileLock(catalog.with_name(f".{catalog.name}.lock")):
        known = _read(catalog)
        if known.get(dataset.name) != place:
            with replacing(catalog) as temporary:
                temporary.write_bytes(
                    orjson.dumps({**known, dataset.name: place}, option=orjson.OPT_INDENT_2)
                )


def places(catalog: Path) -> dict[str, str]:
    """Return the folder or archive of each data set that this machine has seen."""
    return {name: _location(place) for name, place in _read(catalog).items()}


def other_place(catalog: Path, dataset: Dataset) -> str | None:
    """Return the folder or archive that a data set of this name had before, if it was another."""
    known = _read(catalog).get(dataset.name)
    return None if known is None or known == _place(dataset) else _location(known)


class Pictures:
    """Reads the bytes of indexed images on this machine; notices data sets that come and move."""

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._written, self._places = _written(catalog), _read(catalog)
        self._archives: dict[str, Archive] = {}

    def read(self, path: str) -> bytes:
        """Return the bytes of the image stored as ``path``.

        Raises:
            ImageError: its data set, or the image itself, is not on this machine.
        """
        written = _written(self._catalog)
        if written != self._written:
            self._written, self._places = written, _read(self._catalog)
        name, _, rest = path.partition("/")
        place = self._places.get(name)
        if place is None or not _inside(rest):
            raise ImageError("not on this machine")
        try:
            if "folder" in place:
                return Files().read(Record(path, "", str(Path(place["folder"], rest))))
            archive = place["archive"]
            if archive not in self._archives:
                self._archives[archive] = Archive(Path(archive))
            return self._archives[archive].read(Record(path, "", place["inside"] + rest))
        except GeosimError as error:
            raise ImageError(f"not on this machine any more: {error}") from error


def _place(dataset: Dataset) -> dict[str, str]:
    first = dataset.records[0]
    if isinstance(dataset.source, Files):
        depth = first.path.count("/")
        return {"folder": str(Path(first.source).parents[depth - 1])}
    inside = first.source[: len(first.source) - len(first.path.partition("/")[2])]
    return {"archive": str(dataset.location), "inside": inside}


def _location(place: dict[str, str]) -> str:
    return place.get("folder") or place["archive"]


def _inside(rest: str) -> bool:
    """Tell whether a stored path's rest stays in its folder on every system.

    Stored paths come from a collection that others may write to.
    """
    parts = rest.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    return plain and not re.search(r"\\|\0|^[A-Za-z]:", rest)


def _written(catalog: Path) -> tuple[int, int] | None:
    """Return what changes when the catalog is written, or None where there is none."""
    try:
        found = catalog.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _read(catalog: Path) -> dict[str, dict[str, str]]:
    try:
        places = orjson.loads(catalog.read_bytes())
    except (OSError, ValueError):  # none yet, or damaged: the next ingest writes it anew
        return {}
    return places if isinstance(places, dict) else {}
