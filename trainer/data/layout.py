"""How the paths below DATA become stored paths and classes.

The stored paths of a data set begin with its name, which is that of DATA, and one level of folders
names the classes. A new data set's level is found as follows, from the top:

- A level of several folders is that of the classes.
- A level of one folder is, if most pictures below it lie in it directly; otherwise the next one is
  looked at.
- A level whose folders are all named like parts of a data set (train, test, ...), years or dates is
  none where there is another one, below or else above it.

Folders below a class belong to it. Pictures above the classes do not count. A single folder with
the name of DATA, as in an archive of a folder, is DATA itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from geosim.trainer.data.places import Place

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
    """

    name: str
    inside: Parts = ()
    level: int = 0

    @property
    def depth(self) -> int:
        """Number of folders between DATA and the class folders."""
        return len(self.inside) + self.level

    def covers(self, parts: Parts) -> bool:
        """Return whether a path below DATA is below the root."""
        return parts[: len(self.inside)] == self.inside

    def label(self, parts: Parts) -> str | None:
        """Return the class of a path below DATA; None if it is in no class folder."""
        return parts[self.depth] if self.covers(parts) and len(parts) > self.depth + 1 else None


def is_partition(name: str) -> bool:
    """Return whether a folder is named like a part of a data set, a year or a date."""
    return _PARTITION.fullmatch(name) is not None


def new_layout(name: str, images: Collection[Parts]) -> Layout:
    """Return the layout of a new data set; ``images`` are paths below DATA."""
    level = _class_level(images)
    top = {parts[0] for parts in images if len(parts) > 1}
    if level and top == {name}:
        return Layout(name, (name,), level - 1)
    return Layout(name, (), level)


def known_layout(
    location: Path, images: Collection[Parts], fresh: Layout, places: Mapping[str, Place]
) -> Layout | None:
    """Return the layout of a data set that is known to be at or below ``location``.

    ``places`` are those of the known data sets, by name. One below ``location`` must hold all
    ``images`` that are in a class folder by the layout ``fresh``.
    """
    found = []
    for name, place in places.items():
        inside = place.below(location)
        if inside is not None:
            known = Layout(name, inside, place.level)
            if all(known.covers(parts) for parts in images if fresh.label(parts) is not None):
                found.append(known)
    return min(found, key=lambda one: len(one.inside), default=None)


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
