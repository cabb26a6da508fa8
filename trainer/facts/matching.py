"""Finds the pictures that the rows of a table name: by file name, path or pattern."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import cached_property
from pathlib import PurePosixPath
from re import Pattern
from re import compile as compile_pattern

from geosim.trainer.data.passed_over import is_image
from geosim.trainer.errors import DatasetError

_WILD = "*?["


class Names:
    """The pictures of a data set by their names.

    A name is the end of a stored path, one or more whole parts of it, with or without the ending of
    the file. Case counts only where two pictures differ in nothing else.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        """Take the stored paths of the pictures."""
        self._paths = paths
        self._whole = dict(zip(paths, paths, strict=True))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The pictures of each file name."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self._paths:
            found[_folded(path.rpartition("/")[2])].append(path)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """The pictures of each file name without its ending."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, paths in self._by_name.items():
            found[name.rpartition(".")[0]] += paths
        return found

    def find(self, name: str) -> list[str]:
        """Return the pictures that have a name; several where it does not tell them apart."""
        if path := self._whole.get(name):
            return [path]
        name = _clean(name)
        folded = _folded(name)
        last = folded.rpartition("/")[2]
        found = [one for one in self._by_name.get(last, ()) if _ends(_folded(one), folded)]
        if not found:
            stems = self._by_stem.get(last, ())
            found = [one for one in stems if _ends(_folded(one).rpartition(".")[0], folded)]
        for exact in (
            [one for one in found if one == name],
            [one for one in found if _ends(one, name)],
        ):
            if exact:
                return exact
        return found

    def matches(self, pattern: str) -> list[str]:
        """Return the pictures that a shell pattern fits, of names or of paths' ends."""
        clean = _folded(_clean(pattern))
        depth = clean.count("/") + 1
        whole = compile_pattern(translate(clean))
        return [path for path in self._paths if _fits(whole, _folded(path), depth)]

    @property
    def example(self) -> str:
        """A stored path."""
        return self._paths[0]


def is_pattern(cell: str) -> bool:
    """Return whether a cell is a pattern rather than a name."""
    return any(mark in cell for mark in _WILD)


def share_named(cells: Iterable[str], names: Names) -> float:
    """Return the share of cells, those without any left out, that name pictures."""
    given = [cell for cell in cells if cell]
    named = sum(
        bool(names.find(cell) or (is_pattern(cell) and names.matches(cell))) for cell in given
    )
    return named / len(given) if given else 0.0


def match_rows(
    cells: Sequence[str], lines: Sequence[int], names: Names, table: str
) -> tuple[dict[str, tuple[int, ...]], list[int]]:
    """Return the rows of each picture, that with its name before patterns, and rows without any.

    Raises:
        DatasetError: two rows name one picture, or one row has the name of several.
    """
    rows: dict[str, tuple[int, ...]] = {}
    patterns: list[tuple[int, list[str]]] = []
    without = []
    for row, cell in enumerate(cells):
        found = names.find(cell) if cell else []
        if len(found) > 1:
            raise DatasetError(
                f"line {lines[row]} of {table}: {cell!r} is the name of {len(found):,} pictures, "
                f"{found[0]} and {found[1]}; write paths as these"
            )
        if found and found[0] in rows:
            earlier = lines[rows[found[0]][0]]
            raise DatasetError(
                f"lines {earlier} and {lines[row]} of {table} are both of {found[0]}; remove one"
            )
        if found:
            rows[found[0]] = (row,)
        elif is_pattern(cell) and (fitting := names.matches(cell)):
            patterns.append((row, fitting))
        else:
            without.append(row)
    for row, fitting in patterns:
        for path in fitting:
            rows[path] = (*rows.get(path, ()), row)
    return rows, without


def without_ending(path: str) -> str:
    """Return a path without the ending of a picture."""
    return path.rpartition(".")[0] if is_image((path,)) else path


def _clean(name: str) -> str:
    """Return a name as a POSIX path without what says that it begins here."""
    if "\\" not in name and {"", "."}.isdisjoint(name.split("/")):
        return name
    return PurePosixPath(name.replace("\\", "/")).as_posix().lstrip("/")


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name}")


def _fits(pattern: Pattern[str], path: str, depth: int) -> bool:
    end = "/".join(path.split("/")[-depth:])
    return bool(pattern.match(end) or pattern.match(without_ending(end)))
