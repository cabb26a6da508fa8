"""The constants that decide the outcome of a training or an evaluation, found in its modules.

A model or a run is current only as long as they are unchanged. Nobody has to list a constant: all
numbers that the modules name in capitals count.
"""

from __future__ import annotations

import hashlib
import json
import sys
from types import ModuleType
from typing import Any

DECIDING = (
    "geosim.trainer.backbones.",
    "geosim.trainer.heads.",
    "geosim.trainer.data.split",
    "geosim.trainer.data.views",
    "geosim.trainer.evaluation.",
    "geosim.search.evaluation.study",
    "geosim.search.evaluation.runs",
)
"""Beginnings of the names of modules that are followed where another one uses them."""

NOT_DECIDING = tuple(f"geosim.trainer.backbones.{name}" for name in ("registry", "spec", "weights"))
"""Modules among them without such constants."""

UNRECORDED = {
    "geosim.trainer.heads.fit": "2b6e86d43e9e5a41",
    "geosim.trainer.backbones.tile_resnet": "699d154c3ba38565",
    "geosim.trainer.backbones.tile_fusion": "37239483b1988e17",
    "geosim.trainer.evaluation.overlap": "8398f1207da53b5d",
    "geosim.search.evaluation.study": "8de09203d7100995",
}
"""Digests of the constants when models and runs did not record them yet, by module."""


def changed_recipe(module: str) -> str:
    """Return a hex digest of the constants of `constants_of`; empty if it is in `UNRECORDED`."""
    content = json.dumps(constants_of(module), sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return "" if digest == UNRECORDED.get(module) else digest


def constants_of(module: str) -> dict[str, Any]:
    """Return the numbers that an imported module and those it uses name in capitals."""
    found, seen, pending = {}, set(), [module]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for key, value in vars(sys.modules[name]).items():
            if key.isupper() and _is_number(value):
                found[f"{name}.{key}"] = value
            used = value.__name__ if isinstance(value, ModuleType) else _origin(value)
            if used.startswith(DECIDING) and not used.startswith(NOT_DECIDING):
                pending.append(used)
    return found


def _origin(value: object) -> str:
    return str(getattr(value, "__module__", ""))


def _is_number(value: object) -> bool:
    """Return whether a value is a number or a tuple of numbers, nested or not."""
    if isinstance(value, tuple):
        return all(map(_is_number, value))
    return isinstance(value, int | float) and not isinstance(value, bool)
