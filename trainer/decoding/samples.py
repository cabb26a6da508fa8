"""Samples of any depth, sign and polarity to an 8-bit image: one scale for a whole picture.

Integers are scaled by their depth, never by contrast, so that two pictures of one camera stay
comparable. Cameras of 10, 12 or 14 bits write 16-bit files: their depth is the smallest of `DEPTHS`
that holds all values. Floats from 0 to 1 are taken as that. Other floats, and integers with
negative values, have no defined range: they are stretched over their own, without no-data values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.errors import ImageError

DEPTHS = (8, 10, 12, 14, 16, 24, 32, 64)
"""Bits per sample of sensors and of file formats, between which a picture's depth is chosen."""

CONTAINERS = (16, 32, 64)
"""Bits per sample that may hold fewer; a file that says 10 or 12 means it."""

OUTLIERS = 0.001
"""Share of the values at each end that do not decide the range of a stretched picture."""

NO_DATA = (-9999.0, -99999.0, -32767.0, -32768.0)
"""Values that stand for no data by custom, where they lie apart below all others."""

NO_DATA_FLOAT = 1e20
"""Least magnitude of the floats that stand for no data; netCDF's is 9.97e36, GDAL's 3.4e38."""

MAX_SAMPLE_BYTES = 2**30
"""Largest picture that is decoded, in bytes of its samples: 16-bit RGB of 178,956,970 pixels."""

SAMPLED_SIDE = 1024
"""Rows and columns at most that the range of a stretched picture is measured on."""

_BLOCK = 2**20  # samples converted at once


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The samples of a picture as a file stores them.

    Attributes:
        values: ``(h, w, c)``, any integer, boolean or float dtype, for the modes L (c = 1), RGB or
            LAB (3) and CMYK (4).
        mode: of the 8-bit image.
        bits: of each sample, if they are integers.
        alpha: ``(h, w)``, opacity, of the same dtype; None if all is opaque.
        premultiplied: whether the values are multiplied by it.
        inverted: whether zero is white.
        lowest, highest: of the values that the file declares; None if unknown.
        no_data: value that stands for no data; None if there is none.
    """

    values: NDArray[Any]
    mode: str
    bits: int
    alpha: NDArray[Any] | None = None
    premultiplied: bool = False
    inverted: bool = False
    lowest: float | None = None
    highest: float | None = None
    no_data: float | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """How the samples of a picture become 8 bits.

    Attributes:
        low, high: values of black and of white.
        opaque: value of full opacity.
        scaled_from: what the samples are; empty if they have no more than 8 bits.
    """

    low: float
    high: float
    opaque: float
    scaled_from: str


@dataclass(frozen=True, slots=True)
class Scaled:
    """An 8-bit image, and what it was scaled from; empty if it had no more than 8 bits."""

    image: Image.Image
    scaled_from: str


class TooManySamplesError(ImageError):
    """A picture cannot be decoded as a whole."""


def check_bytes(size: int) -> None:
    """Raise `TooManySamplesError` if the samples of a picture take more than `MAX_SAMPLE_BYTES`."""
    if size > MAX_SAMPLE_BYTES:
        raise TooManySamplesError(
            f"{size:,} bytes of samples; at most {MAX_SAMPLE_BYTES:,} are decoded, so make it "
            "smaller"
        )


def to_8_bits(samples: Samples, scale: Scale | None = None) -> Scaled:
    """Scale samples to an 8-bit image; values without data become 0.

    ``scale`` is that of the whole picture where the samples are a part of it.

    Raises:
        ImageError: the values are complex numbers, or none is a number.
    """
    scale = scale or scale_of(samples)
    values, kind = samples.values, samples.values.dtype.kind
    no_data = None if is_byte(samples) else samples.no_data
    colours = _scale(values, scale.low, scale.high)
    if samples.inverted:
        np.subtract(255, colours, out=colours)
    if kind == "f" or no_data is not None:
        colours[np.broadcast_to(_missing(values, no_data), colours.shape)] = 0
    height, width = colours.shape[:2]
    image = Image.frombytes(samples.mode, (width, height), colours.tobytes())
    if samples.alpha is not None:
        image = _with_alpha(image, samples, scale.opaque)
    return Scaled(image, scale.scaled_from)


def is_byte(samples: Samples) -> bool:
    """Return whether samples are unsigned and of 8 bits at most, so that their scale is known."""
    kind = samples.values.dtype.kind
    return kind == "b" or (kind == "u" and samples.bits <= 8)


def scale_of(samples: Samples) -> Scale:
    """Return the scale of a picture from all its samples; raise the errors of `to_8_bits`."""
    return _scale_by(samples, _extremes, _most_opaque(samples))


def scale_of_parts(size: tuple[int, int], parts: Iterable[tuple[int, int, Samples]]) -> Scale:
    """Return the scale of a picture of ``size``, width and height, that comes in parts.

    Each has its left and upper edge beside it. The scale is that of the whole picture.
    """
    across, down = (-(-side // SAMPLED_SIDE) for side in size)
    grid: Samples | None = None
    extremes: list[tuple[float, float]] = []
    opacity: float | None = None
    for left, top, part in parts:
        values = part.values
        if grid is None:
            shape = (-(-size[1] // down), -(-size[0] // across), values.shape[2])
            grid = replace(part, values=np.zeros(shape, values.dtype), alpha=None)
        rows = values[-top % down :: down, -left % across :: across]
        row, column = -(-top // down), -(-left // across)
        grid.values[row : row + rows.shape[0], column : column + rows.shape[1]] = rows
        if values.dtype.kind in "ui" and (found := _extremes(part)) is not None:
            extremes.append(found)
        if (most := _most_opaque(part)) is not None:
            opacity = most if opacity is None else max(opacity, most)
        if is_byte(part) and (part.bits == 8 or part.alpha is None):
            break
    if grid is None:
        raise ValueError("a picture without parts")

    def of_all(_: Samples) -> tuple[float, float] | None:
        return (min(map(min, extremes)), max(map(max, extremes))) if extremes else None

    return _scale_by(grid, of_all, opacity)


def _scale_by(
    samples: Samples,
    extremes: Callable[[Samples], tuple[float, float] | None],
    opacity: float | None,
) -> Scale:
    """Return a scale; ``opacity`` is the highest of an opacity of integers."""
    kind = samples.values.dtype.kind
    if kind not in "buif":
        raise ImageError("its values are complex numbers, no brightness; save their magnitude")
    if is_byte(samples):
        low, high, scaled_from = 0.0, float(2**samples.bits - 1), ""
    else:
        low, high, scaled_from = _range(samples, extremes)
    opaque = 1.0 if kind == "f" else high
    if opacity is not None and opacity > opaque:
        opaque = float(2 ** next(depth for depth in DEPTHS if opacity < 2**depth) - 1)
    return Scale(low, high, opaque, scaled_from)


def _most_opaque(samples: Samples) -> float | None:
    """Return the highest opacity, if it is of integers."""
    alpha = samples.alpha
    return None if alpha is None or alpha.dtype.kind == "f" else float(alpha.max())


def _range(
    samples: Samples, extremes: Callable[[Samples], tuple[float, float] | None]
) -> tuple[float, float, str]:
    """Return the values of black and of white, and what the samples are."""
    values, stored = samples.values, samples.bits
    signed = values.dtype.kind == "i"
    if values.dtype.kind != "f":
        if (found := extremes(samples)) is None:
            raise _nothing()
        least, most = found
        if least >= 0:
            if samples.highest is not None and samples.highest < 2 ** (stored - signed) - 1:
                most = max(most, samples.highest)  # the highest of all is the default: unknown
            used = stored
            if stored in CONTAINERS:
                used = min(stored, next(depth for depth in DEPTHS if most < 2**depth))
            of = f"{used} bits" if used == stored else f"{used} bits in {stored}"
            return 0.0, float(2**used - 1), of
    low, high = _own_range(samples)
    if not signed and low >= -OUTLIERS and high <= 1 + OUTLIERS:
        return 0.0, 1.0, "floating point"
    what = f"signed {stored} bits" if signed else "floating point"
    return low, high, f"{what} stretched to its own range"


def _extremes(samples: Samples) -> tuple[float, float] | None:
    """Return the lowest and the highest of integers without no-data values; None without any."""
    values = samples.values
    if samples.no_data is not None:
        values = values[~_missing(values, samples.no_data)[..., 0]]
    return (float(values.min()), float(values.max())) if values.size else None


def _own_range(samples: Samples) -> tuple[float, float]:
    """Return the lowest and highest value without no-data values and `OUTLIERS`."""
    lowest, highest = samples.lowest, samples.highest
    if lowest is not None and highest is not None and -NO_DATA_FLOAT < lowest < highest:
        return lowest, highest
    height, width = samples.values.shape[:2]
    part = samples.values[:: -(-height // SAMPLED_SIDE), :: -(-width // SAMPLED_SIDE)]
    inside = part[~_missing(part, samples.no_data) & np.isfinite(part)].astype(np.float64)
    least = float(inside.min(initial=0.0))
    if least in NO_DATA and (rest := inside[inside > least]).size and rest.min() > least + 1:
        inside = rest
    if not inside.size:
        raise _nothing()
    low = float(np.quantile(inside, OUTLIERS, method="lower"))
    return low, float(np.quantile(inside, 1 - OUTLIERS, method="higher"))


def _missing(values: NDArray[Any], no_data: float | None) -> NDArray[np.bool_]:
    """Return where values are no data, ``(h, w, c)`` or ``(h, w, 1)``."""
    missing = np.zeros((*values.shape[:2], 1), dtype=bool)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # half floats do not reach it
            missing = ~(np.abs(values) < NO_DATA_FLOAT) & (values != np.inf)  # NaN is not equal
    if no_data is not None:
        missing = missing | (values == no_data).all(axis=2, keepdims=True)
    return missing


def _scale(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``low`` to 0 and ``high`` to 255, clipped and rounded; NaN to 0."""
    if values.dtype == np.uint8 and high == 255:
        return np.array(values)
    if values.dtype == np.uint16 and values.size > 2**16:
        table = _scale(np.arange(2**16, dtype=np.uint32), low, high)
        return np.take(table, values)
    scaled = np.empty(values.shape, np.uint8)
    step = (high - low) / 255 or 1.0
    rows = max(1, _BLOCK // max(1, values[0].size))
    for start in range(0, len(values), rows):
        with np.errstate(invalid="ignore", over="ignore"):
            levels = (values[start : start + rows].astype(np.float64) - low) / step
        np.nan_to_num(levels, copy=False, nan=0.0)
        scaled[start : start + rows] = np.rint(np.clip(levels, 0, 255, out=levels), out=levels)
    return scaled


def _with_alpha(image: Image.Image, samples: Samples, opaque: float) -> Image.Image:
    """Return an L or RGB image with its opacity, which may use more of its bits than the colour."""
    layered = image.convert("RGB")
    layered.putalpha(Image.fromarray(_scale(np.asarray(samples.alpha), 0.0, opaque)))
    if samples.premultiplied:
        layered = Image.frombytes("RGBa", layered.size, layered.tobytes()).convert("RGBA")
    return layered


def _nothing() -> ImageError:
    return ImageError("none of its pixels has a value, all are NaN or no data; remove it")
