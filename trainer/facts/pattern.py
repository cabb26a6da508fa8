"""Facts in file names: a pattern such as ``{hole}_{box}_{from}_{to}``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from geosim.trainer.data.facts import Layer
from geosim.trainer.data.passed_over import is_image
from geosim.trainer.errors import DatasetError
from geosim.trainer.facts.layer import as_layer, describe_types
from geosim.trainer.facts.matching import without_ending
from geosim.trainer.text import listed, stored_name

_FIELD = re.compile(r"\{([^{}]*)\}")


def name_facts(
    pattern: str, paths: Sequence[str], forced: Mapping[str, str]
) -> tuple[Layer, list[str]]:
    """Return the facts in the names of the pictures ``paths``, and what to tell about them.

    A field ``{name}`` is text without ``/`` and without the characters of the pattern beside it;
    ``*`` is any text without ``/``. The pattern fits the end of a stored path, as many parts as it
    has, without the ending of the file unless it has one. ``forced`` are types of facts.

    Raises:
        DatasetError: the pattern is none, or fits no picture.
    """
    pattern = stored_name(pattern)
    names, expression = _compile(pattern)
    depth, whole = pattern.count("/") + 1, is_image((pattern,))
    fitting: list[str] = []
    cells: list[list[str]] = []
    for path in paths:
        end = "/".join(path.split("/")[-depth:])
        found = expression.fullmatch(end if whole else without_ending(end))
        if found is not None:
            fitting.append(path)
            cells.append([cell.strip() for cell in found.groups()])
    if not fitting:
        raise DatasetError(
            f"--name-pattern {pattern!r} fits none of the pictures, such as {paths[0]}; separators "
            "in it must be those of the names, and only there"
        )
    columns = dict(zip(names, map(list, zip(*cells, strict=True)), strict=True))
    rows = {path: (row,) for row, path in enumerate(fitting)}
    layer, notes = as_layer(columns, rows, forced, fitting.__getitem__, decimal_comma=True)
    told = [
        f"--name-pattern fits {len(fitting):,} of {len(paths):,} names; facts: "
        f"{describe_types(layer.types)}",
        *notes,
    ]
    if others := [path for path in paths if path not in rows]:
        noun = "name" if len(others) == 1 else "names"
        told.append(f"{len(others):,} {noun} that --name-pattern does not fit: {listed(others)}")
    return layer, told


def _compile(pattern: str) -> tuple[list[str], re.Pattern[str]]:
    """Return the fields of a pattern, and the expression with a group for each."""
    literals, names = _FIELD.split(pattern)[::2], _FIELD.split(pattern)[1::2]
    names = [name.strip().replace('"', "'") for name in names]
    twice = [name for name, count in Counter(names).items() if count > 1]
    fault = None
    if not names or not all(names):
        fault = "has a field without a name" if names else "has no field"
    elif any("{" in one or "}" in one for one in literals):
        fault = "has a brace that is not of a field"
    elif twice:
        fault = f"has two fields {twice[0]}"
    elif not all(literals[1:-1]):
        fault = "has two fields with nothing between them"
    if fault:
        raise DatasetError(
            f"--name-pattern {pattern!r} {fault}; expected one such as '{{hole}}_{{box}}'"
        )
    parts = [_literal(literals[0])]
    for before, after in pairwise(literals):
        beside = "".join(re.escape(one) for one in (before[-1:], after[:1]) if one != "*")
        parts += [f"([^/{beside}]+)", _literal(after)]
    return names, re.compile("".join(parts), re.IGNORECASE)


def _literal(text: str) -> str:
    return "[^/]*".join(map(re.escape, text.split("*")))
