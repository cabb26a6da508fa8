"""Reads the images of a collection from where ``<working>/datasets.json`` says they are.

The collection's own record (`ingest/schema.py`, `Origin`) is of the machine that made it; machines
that share it may use different folders.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath

from geosim.trainer.data.places import Place, read_places
from geosim.trainer.data.sources import Archive, Files, Record
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.errors import GeosimError, ImageError
from geosim.trainer.text import on_disk, stored_name

_Version = tuple[int, int, int] | None


class ImageReader:
    """Reads the bytes of indexed images; follows changes of the catalog and of archives."""

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._version, self._places = _version(catalog), read_places(catalog)
        self._archives: dict[str, tuple[_Version, Archive]] = {}

    def read(self, path: str) -> Encoded:
        """Return the file of the image stored as ``path``, or raise `ImageError` without it."""
        version = _version(self._catalog)
        if version != self._version:
            self._version, self._places = version, read_places(self._catalog)
        name, _, relative = path.partition("/")
        place = self._places.get(stored_name(name))
        if place is None or not _is_safe(relative):
            raise ImageError("not on this machine")
        try:
            return self._read(place, Record(path, "", relative))
        except GeosimError as error:
            raise ImageError(f"not on this machine any more: {error}") from error

    def _read(self, place: Place, record: Record) -> Encoded:
        if place.inside is None:
            path = on_disk(Path(place.path, record.source))
            return Files().read(replace(record, source=str(path)))
        record = replace(record, source=place.inside + record.source)
        return self._archive(place.path).read(record)

    def _archive(self, location: str) -> Archive:
        """Return an open archive; open it again if the file was replaced."""
        version = _version(Path(location))
        known, archive = self._archives.pop(location, (None, None))
        if archive is None or version is None or known != version:
            archive = Archive(Path(location))
        self._archives[location] = version, archive
        return archive


def _is_safe(relative: str) -> bool:
    """Return whether an untrusted relative path stays inside its folder on this system."""
    path = PurePath(relative)
    as_written = path.as_posix() == relative  # not so of "a//b", and of "a\\b" on Windows
    return as_written and path.parts != () and not path.anchor and ".." not in path.parts


def _version(path: Path) -> _Version:
    """Return a value that changes with every write of a file; None without the file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
