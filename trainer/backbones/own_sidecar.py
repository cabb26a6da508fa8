"""The sidecar of a network file: a .json file that names its preprocessing and its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from geosim.trainer.errors import ModelError

EXAMPLE = (
    '{"size": 224, "channels": "RGB", "mean": [0.485, 0.456, 0.406], '
    '"std": [0.229, 0.224, 0.225], "pooling": "cls"}'
)
"""A sidecar to copy, of a vision transformer with the usual statistics of ImageNet."""

SIZES = (16, 1024)
"""Smallest and largest input side in pixels."""

LARGEST_FILE = 2**16
"""Bytes of the largest sidecar that is read."""

POOLINGS = ("none", "mean", "cls")
"""How features become one vector: they are one, the mean over tokens or a map, the first token."""


OPTIONAL = (
    '"range": [0, 255] (values of black and white, [0, 1] if left out)',
    '"layout": "NCHW" or "NHWC"',
    '"output": its name',
)
"""Keys that the example lacks, for ``--help``."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a network takes and gives.

    A pixel 0..255 becomes ``(low + pixel / 255 * (high - low) - mean) / std``.
    """

    size: int  # side of the square picture in pixels
    channels: str  # RGB or BGR
    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # in the order of `channels`
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str | None = None  # NCHW or NHWC; None to find it from the network
    output: str | None = None  # name; None for the only one
    pooling: str = "none"  # one of `POOLINGS`


def read_sidecar(network: Path) -> Sidecar:
    """Read the .json file beside a network file.

    Raises:
        ModelError: it is missing, or its content is not as expected.
    """
    path = network.with_suffix(".json")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"it is larger than {LARGEST_FILE:,} bytes")
        return _parse(orjson.loads(content.removeprefix(b"\xef\xbb\xbf")))
    except FileNotFoundError as error:
        raise ModelError(
            f"{network} needs a file {path.name} beside it that says how the network takes "
            f"pictures, such as {EXAMPLE}"
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path}: {error}; an example is {EXAMPLE}") from error


def _parse(content: object) -> Sidecar:
    """Return the sidecar; raise ValueError with a reason."""
    if not isinstance(content, dict):
        raise ValueError("expected a JSON object")
    if unknown := sorted(content.keys() - _CHECKS.keys()):
        raise ValueError(f"unknown {', '.join(unknown)}; expected {', '.join(_CHECKS)}")
    if missing := [key for key in ("size", "channels") if key not in content]:
        raise ValueError(f"{' and '.join(missing)} missing")
    if ("mean" in content) != ("std" in content):
        raise ValueError("expected mean and std together")
    if not content.keys() & {"mean", "range"}:
        raise ValueError("expected mean and std, or range, the values of black and white")
    facts: dict[str, Any] = {}
    for key, value in content.items():
        expected, fits = _CHECKS[key]
        if not fits(value):
            raise ValueError(f"{key} is {_shown(value)}, expected {expected}")
        facts[key] = tuple(map(float, value)) if isinstance(value, list) else value
    low, high = facts.pop("range", (0.0, 1.0))
    return Sidecar(low=low, high=high, **facts)


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}..."


def _one_of(*values: str) -> tuple[str, Callable[[Any], bool]]:
    return " or ".join(values), lambda value: value in values


def _numbers(value: object, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
        and all(math.isfinite(one) and abs(one) < 1e6 for one in value)
    )


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "size": (
        f"a whole number of pixels, {SIZES[0]} to {SIZES[1]}",
        lambda value: type(value) is int and SIZES[0] <= value <= SIZES[1],
    ),
    "channels": _one_of("RGB", "BGR"),
    "range": (
        "two numbers, the values of black and white",
        lambda value: _numbers(value, 2) and value[0] < value[1],
    ),
    "mean": ("three numbers", lambda value: _numbers(value, 3)),
    "std": ("three positive numbers", lambda value: _numbers(value, 3) and min(value) > 0),
    "layout": _one_of("NCHW", "NHWC"),
    "output": ("the name of an output", lambda value: isinstance(value, str)),
    "pooling": _one_of(*POOLINGS),
}
"""What is expected of each key, and the check of it."""
