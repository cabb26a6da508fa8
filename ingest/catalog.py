"""The catalog ``<working>/datasets.json``: where this machine keeps the images of each data set.

The collection does not say so, because machines that share it may use different folders.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from filelock import FileLock

from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.sources import Archive, Files, Record
from geosim.trainer.errors import GeosimError, ImageError
from geosim.trainer.files import replacing
from geosim.trainer.text import on_disk

_Version = tuple[int, int, int] | None


def register_dataset(catalog: Path, dataset: Dataset) -> None:
    """Write a data set's location to the catalog; safe with several processes."""
    entry = _entry(dataset)
    with FileLock(catalog.with_name(f".{catalog.name}.lock")):
        entries = _read_entries(catalog)
        if entries.get(dataset.name) != entry:
            entries[dataset.name] = entry
            with replacing(catalog) as temporary:
                # Not orjson: it refuses folders whose names are not valid UTF-8.
                temporary.write_text(json.dumps(entries, indent=2), encoding="ascii")


def dataset_locations(catalog: Path) -> dict[str, str]:
    """Return the folder or archive of each data set, by name."""
    return {name: _location(entry) for name, entry in _read_entries(catalog).items()}


def conflicting_location(catalog: Path, dataset: Dataset) -> str | None:
    """Return the registered folder or archive of this data set's name if it is another one."""
    entry = _read_entries(catalog).get(dataset.name)
    return None if entry is None or entry == _entry(dataset) else _location(entry)


class ImageReader:
    """Reads the bytes of indexed images; follows changes of the catalog and of archives."""

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._version, self._entries = _version(catalog), _read_entries(catalog)
        self._archives: dict[str, tuple[_Version, Archive]] = {}

    def read(self, path: str) -> bytes:
        """Return the bytes of the image stored as ``path``, or raise `ImageError` without them."""
        version = _version(self._catalog)
        if version != self._version:
            self._version, self._entries = version, _read_entries(self._catalog)
        name, _, relative = path.partition("/")
        entry = self._entries.get(name)
        if entry is None or not _is_safe(relative):
            raise ImageError("not on this machine")
        try:
            if "folder" in entry:
                return Files().read(Record(path, "", str(on_disk(Path(entry["folder"], relative)))))
            return self._archive(entry["archive"]).read(
                Record(path, "", entry["inside"] + relative)
            )
        except GeosimError as error:
            raise ImageError(f"not on this machine any more: {error}") from error

    def _archive(self, location: str) -> Archive:
        """Return an open archive; open it again if the file was replaced."""
        version = _version(Path(location))
        known, archive = self._archives.pop(location, (None, None))
        if archive is None or version is None or known != version:
            archive = Archive(Path(location))
        self._archives[location] = version, archive
        return archive


def _entry(dataset: Dataset) -> dict[str, str]:
    """Return a data set's catalog entry: its folder, or its archive and the prefix inside it."""
    first = dataset.records[0]
    if isinstance(dataset.source, Files):
        depth = first.path.count("/")
        return {"folder": str(Path(first.source).parents[depth - 1])}
    prefix = first.source[: len(first.source) - len(first.path.partition("/")[2])]
    return {"archive": str(dataset.location), "inside": prefix}


def _location(entry: dict[str, str]) -> str:
    return entry.get("folder") or entry["archive"]


def _is_safe(relative: str) -> bool:
    """Return whether an untrusted relative path stays inside its folder on every system."""
    has_plain_parts = all(part not in ("", ".", "..") for part in relative.split("/"))
    return has_plain_parts and not re.search(r"\\|\0|^[A-Za-z]:", relative)


def _version(path: Path) -> _Version:
    """Return a value that changes with every write of a file; None without the file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read_entries(catalog: Path) -> dict[str, dict[str, str]]:
    try:
        entries = json.loads(catalog.read_bytes())
    except (OSError, ValueError):  # missing or damaged: the next ingest writes it
        return {}
    return entries if isinstance(entries, dict) else {}
