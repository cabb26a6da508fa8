"""The file ``<working>/datasets.json``: where this machine keeps the pictures of each data set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from geosim.trainer.files import replacing
from geosim.trainer.text import stored_name

FOLDER, NONE = "folder", "none"
"""Rules for classes: folders name them, or there are none. Other rules are names of facts."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a data set is.

    Attributes:
        path: absolute path of its root folder, or of its archive.
        inside: start of the paths in the archive, up to the root: ``rocks/`` or empty; None for a
            folder.
        level: number of folders between the root and the class folders.
        class_from: `FOLDER`, `NONE` or the name of a fact.
    """

    path: str
    inside: str | None = None
    level: int = 0
    class_from: str = FOLDER

    def __str__(self) -> str:
        return self.path

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Place:
        """Return a stored place; earlier versions stored no level and no rule for classes.

        Raises:
            KeyError: it is none.
        """
        rest = int(stored.get("level", 0)), str(stored.get("class_from", FOLDER))
        if "folder" in stored:
            return cls(str(stored["folder"]), None, *rest)
        return cls(str(stored["archive"]), str(stored["inside"]), *rest)

    def to_dict(self) -> dict[str, Any]:
        """Return the place as it is stored."""
        rest: dict[str, Any] = {"level": self.level}
        if self.class_from != FOLDER:
            rest["class_from"] = self.class_from
        if self.inside is None:
            return {"folder": self.path, **rest}
        return {"archive": self.path, "inside": self.inside, **rest}

    def below(self, location: Path) -> tuple[str, ...] | None:
        """Return the folders from a folder or archive down to the root; None if it is elsewhere.

        Links are followed where the paths as named tell nothing.
        """
        path, archive = Path(self.path), self.inside is not None
        for one, other in ((path, location), (real_path(path), real_path(location))):
            if archive and one == other:
                return tuple(part for part in str(self.inside).split("/") if part)
            if not archive and one.is_relative_to(other):
                return one.relative_to(other).parts
        return None

    def same_as(self, other: Place) -> bool:
        """Return whether both are the same folder or archive, perhaps by different paths."""
        if (self.inside is None) != (other.inside is None):
            return False
        try:
            return self.path == other.path or Path(self.path).samefile(other.path)
        except OSError:
            return False

    @property
    def gone(self) -> bool:
        """Whether there is nothing any more where it was."""
        try:
            Path(self.path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return False


def real_path(path: Path) -> Path:
    """Return a path without links; its missing parts stay as they are."""
    return Path(os.path.realpath(path))


def read_places(catalog: Path) -> dict[str, Place]:
    """Return the places in a catalog by name; none of a missing or damaged one."""
    try:
        entries = json.loads(catalog.read_bytes())
        return {stored_name(name): Place.from_dict(entry) for name, entry in entries.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}  # the next ingest writes it


def register_place(catalog: Path, name: str, place: Place) -> None:
    """Write a data set's place to a catalog; safe with several processes."""
    with _changed(catalog) as places:
        places[name] = place


def register_new_place(catalog: Path, name: str, place: Place) -> None:
    """Write a data set's place to a catalog that has none of this name, or its rule for classes."""

    def is_new(known: Place | None) -> bool:
        return known is None or (known.same_as(place) and known.class_from != place.class_from)

    if is_new(read_places(catalog).get(name)):
        with _changed(catalog) as places:
            if is_new(places.get(name)):
                places[name] = place


def unregister_place(catalog: Path, name: str) -> None:
    """Remove a data set's place from a catalog; do nothing if there is none."""
    if name in read_places(catalog):
        with _changed(catalog) as places:
            places.pop(name, None)


@contextmanager
def _changed(catalog: Path) -> Iterator[dict[str, Place]]:
    """Yield the places of a catalog to change, and write them if they are changed."""
    catalog.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(catalog.with_name(f".{catalog.name}.lock")):
        before = read_places(catalog)
        places = dict(before)
        yield places
        if places != before:
            entries = {name: place.to_dict() for name, place in places.items()}
            with replacing(catalog) as temporary:
                # Not orjson: it refuses folders whose names are not valid UTF-8.
                temporary.write_text(json.dumps(entries, indent=2), encoding="ascii")
