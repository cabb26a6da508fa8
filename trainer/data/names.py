"""Stored names of the files of a data set: one spelling each, told where two names share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

SAME_NAME = (
    "its path differs from that of another picture only in how Unicode writes the letters; rename "
    "or remove one of them"
)

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a data set.

    ``former`` is the same object as ``parts`` where no name is spelled anew; no other file has
    these parts then, unless it is spelled anew.

    Attributes:
        parts: stored names of its folders and of itself, below the data set's location.
        former: the same as earlier versions stored them.
        where: path in the file system, or of the entry in the archive.
    """

    parts: Parts
    former: Parts
    where: str


def ending_of(name: str) -> str:
    """Return the suffix of a file name in lower case, as `pathlib` finds it; empty for none."""
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def unify(found: Iterable[Found]) -> tuple[list[Found], list[Found]]:
    """Return the files with one per path, and the others, which have the path of one of them.

    A file that has its stored name on disk comes first.
    """
    found = list(found)
    if all(one.former is one.parts for one in found):
        return found, []  # no name is spelled anew, so that no two are alike
    files: dict[Parts, Found] = {}
    others = []
    for one in found:
        other = files.setdefault(one.parts, one)
        if other is one:
            continue
        first, second = sorted((one, other), key=lambda f: (f.former != f.parts, f.former))
        files[one.parts] = first
        others.append(second)
    return list(files.values()), others


def merged_classes(files: Iterable[Found], depth: int) -> list[str]:
    """Return a line for each class whose folder has two names; ``depth`` is that of the root."""
    folders: dict[str, set[str]] = defaultdict(set)
    for one in files:
        if len(one.parts) > depth + 1:
            folders[one.parts[depth]].add(one.former[depth])
    return [
        f"class {label} joins {len(names)} folders, whose names differ only in how Unicode writes "
        "the letters"
        for label, names in sorted(folders.items())
        if len(names) > 1
    ]
