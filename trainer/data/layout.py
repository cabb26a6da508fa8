"""How the paths below DATA become stored paths and classes.

The stored paths of a data set begin with its name, which is that of DATA, and one level of folders
names the classes. Pictures above that level have no class, such as those directly in the data set's
root. The level of a new data set is found as follows, from the top:

- A level of several folders is that of the classes.
- A level of one folder is, if most pictures below it lie in it directly; otherwise the next one is
  looked at.
- A level whose folders are all named like parts of a data set (train, test, ...), years or dates is
  none where there is another one, below or else above it.

Folders below a class belong to it. Pictures above the classes do not count. Another rule than
folders may be kept for a data set: no classes, or those of a fact (`trainer/facts/collect.py`).

An archive of a folder is that folder: a single folder at the top, unless it is named like a part,
is the root and names the data set. So is one in a folder of the same name, as unpacked archives
are. One that holds the pictures themselves is the root only if it has the name of the archive or
folder, and a class otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from geosim.trainer.data.places import FOLDER, Place
from geosim.trainer.text import stored_name

Parts = tuple[str, ...]

_PARTITION = re.compile(
    r"(train|test|val|valid|validat|dev|eval|evaluat|hold[-_ ]?out)(ing|ion)?"
    r"([-_ ]?(set|data|split))?"
    r"|(set|split|fold|part)?[-_ ]?(train|test|val)"
    r"|(fold|split)[-_ ]?\d+"
    r"|(19|20)\d\d([-_. ]?(0?[1-9]|1[0-2])([-_. ]?(0?[1-9]|[12]\d|3[01]))?)?"
    r"|(0?[1-9]|[12]\d|3[01])[-_. ](0?[1-9]|1[0-2])[-_. ](19|20)\d\d",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the paths below DATA are read.

    Attributes:
        name: of the data set, the first part of every stored path.
        inside: folders between DATA and the data set's root, left out of stored paths.
        level: number of folders between the root and the class folders.
        class_from: the rule for classes (`trainer/data/places.py`).
    """

    name: str
    inside: Parts = ()
    level: int = 0
    class_from: str = FOLDER

    @property
    def depth(self) -> int:
        """Number of folders between DATA and the class folders."""
        return len(self.inside) + self.level

    def covers(self, parts: Parts) -> bool:
        """Return whether a path below DATA is below the root."""
        return parts[: len(self.inside)] == self.inside

    def path(self, parts: Parts) -> str:
        """Return the stored path of a path below DATA."""
        return "/".join((self.name, *parts[len(self.inside) if self.covers(parts) else 0 :]))

    def label(self, parts: Parts) -> str:
        """Return the class that a folder gives to a path below DATA; empty for none."""
        depth = len(self.inside) + self.level
        by_folder = self.class_from == FOLDER and len(parts) > depth + 1
        return parts[depth] if by_folder and self.covers(parts) else ""


def is_partition(name: str) -> bool:
    """Return whether a folder is named like a part of a data set, a year or a date."""
    return _PARTITION.fullmatch(name) is not None


def new_layout(name: str, images: Collection[Parts], *, packed: bool = False) -> Layout:
    """Return the layout of a new data set with the paths ``images``; ``packed`` in an archive."""
    level = _class_level(images)
    below = [parts for parts in images if len(parts) > 1]
    top = {parts[0] for parts in below}
    if len(top) == 1:
        (folder,) = top
        if level and (folder == name or (packed and not is_partition(folder))):
            return Layout(folder, (folder,), level - 1)
        if folder == name and len(below) == len(images):
            return Layout(folder, (folder,), _class_level([parts[1:] for parts in below]))
    return Layout(name, (), level)


def known_layout(
    location: Path, images: Collection[Parts], fresh: Layout, places: Mapping[str, Place]
) -> Layout | None:
    """Return the layout of a data set that is known to be at or below ``location``.

    ``places`` are those of the known data sets, by name. One below ``location`` must hold all
    ``images`` that are in a class folder by the layout ``fresh``, or all without such folders.
    """
    found = []
    held: Collection[Parts] | None = None
    for name, place in places.items():
        inside = place.below(location)
        if inside is not None:
            known = Layout(name, stored_parts(inside), place.level, place.class_from)
            if known.inside and held is None:
                held = [parts for parts in images if fresh.label(parts)] or images
            if not known.inside or all(map(known.covers, held or ())):
                found.append(known)
    return min(found, key=lambda one: len(one.inside), default=None)


Decide = Callable[[Path, Collection[Parts]], Layout]
"""Returns the layout of the data set at a location, whose images have these paths below it."""


def decide_anew(location: Path, images: Collection[Parts]) -> Layout:
    """Return the layout of a data set that is not known yet."""
    name = stored_name(file_name(location))
    return new_layout(name, images, packed=location.is_file())


def decide_by(places: Mapping[str, Place]) -> Decide:
    """Return a function that keeps the layout of a data set in ``places``, by name.

    A data set that was moved keeps the level of its classes and the rule for them.
    """

    def decide(location: Path, images: Collection[Parts]) -> Layout:
        fresh = decide_anew(location, images)
        known = known_layout(location, images, fresh, places)
        if known is None and fresh.name in places and places[fresh.name].gone:
            place = places[fresh.name]
            return replace(fresh, level=place.level, class_from=place.class_from)
        return known or fresh

    return decide


def stored_parts(parts: Parts) -> Parts:
    """Return the stored names of the parts of a path: the same object if they are the same."""
    return parts if all(map(str.isascii, parts)) else tuple(map(stored_name, parts))


def file_name(location: Path) -> str:
    """Return the name that a folder or archive gives its data set, before it is spelled anew."""
    return location.name if location.is_dir() else location.stem


def _class_level(images: Collection[Parts]) -> int:
    """Return the number of folders above the class folders."""
    level, chosen = 0, None
    while True:
        inside = [parts for parts in images if len(parts) > level + 1]
        deeper = sum(len(parts) > level + 2 for parts in inside)
        names = {parts[level] for parts in inside}
        partition = all(map(is_partition, names))
        if names and not partition:
            chosen = level
        if 2 * deeper <= len(inside) or (len(names) > 1 and not partition):
            break
        level += 1
    return level if chosen is None else chosen
