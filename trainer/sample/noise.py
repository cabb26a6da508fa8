"""Building blocks of textures: colour, light, noise and cells on square numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def pick_palette(rng: np.random.Generator, *palettes: Sequence[int]) -> Array:
    """Return a random palette of ``0xRRGGBB`` colours with slightly varied brightness.

    The result is ``(colours, 3) float32``, about 0 to 1.
    """
    colours = palettes[int(rng.integers(len(palettes)))]
    palette = np.array([[c >> 16, c >> 8 & 255, c & 255] for c in colours], np.float32) / 255
    shifted: Array = palette * rng.normal(1, 0.06, (len(palette), 1)).astype(np.float32)
    return shifted


def mix(low: Array, high: Array, share: Array) -> Array:
    """Blend two colours or images by ``share (n, n)``, clipped to 0 to 1: ``(n, n, 3)``."""
    blend: Array = low + (high - low) * np.clip(share, 0, 1)[..., None]
    return blend


def illuminate(image: Array, light: Array) -> Array:
    """Return ``image (n, n, 3)`` times ``light (n, n)``."""
    illuminated: Array = image * light[..., None]
    return illuminated


def smoothstep(values: Array, low: float, high: float) -> Array:
    """Return 0 below ``low``, 1 above ``high`` and a smooth ramp between, shape kept."""
    t = np.clip((values - low) / (high - low), 0, 1)
    ramp: Array = t * t * (3 - 2 * t)
    return ramp


def plane(rng: np.random.Generator, n: int, across: float) -> tuple[Array, Array]:
    """Return rotated and shifted coordinates, ``across`` units wide: two ``(n, n) float32``."""
    line = (np.arange(n, dtype=np.float32) / n - 0.5) * across
    angle, x0, y0 = rng.uniform(0, 2 * np.pi), rng.uniform(0, 50), rng.uniform(0, 50)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = line[None, :], line[:, None]
    return cos * x + sin * y + np.float32(x0), cos * y - sin * x + np.float32(y0)


@lru_cache(maxsize=8)
def frequencies(n: int) -> Array:
    """Return the radial frequencies of ``numpy.fft.rfft2``, cycles per image: ``(n, n // 2 + 1)``.

    The zero frequency is 1, so that a negative power of the table is finite.
    """
    down, right = np.fft.fftfreq(n, 1 / n), np.fft.rfftfreq(n, 1 / n)
    table: Array = np.hypot(down[:, None], right[None, :]).astype(np.float32)
    table[0, 0] = 1
    return table


def clouds(rng: np.random.Generator, n: int, slope: float, coarsest: float = 1) -> Array:
    """Return noise whose amplitude falls with frequency ** -slope: ``(n, n)``, mean 0, std 1.

    Slope 0 is white noise, 2 smooth. Below ``coarsest`` cycles per image there are none.
    """
    f = frequencies(n)
    amplitude = np.where(f < coarsest, np.float32(0), f ** np.float32(-slope))
    amplitude[0, 0] = 0
    waves = rng.standard_normal((*f.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise: Array = np.fft.irfft2(amplitude * waves, s=(n, n)).astype(np.float32)
    noise /= noise.std()
    return noise


def layers(rng: np.random.Generator, v: Array) -> Array:
    """Return layers of uneven width along ``v``, about one per unit: shape of ``v``, 0 to 1."""
    knots = np.cumsum(rng.uniform(0.3, 1.7, 256))
    layers: Array = np.interp(v % knots[-1], knots, rng.uniform(0, 1, 256)).astype(np.float32)
    return layers


def cells(
    rng: np.random.Generator, u: Array, v: Array, jitter: float = 0.95
) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return the Voronoi cells of a jittered unit grid, at coordinates ``u`` and ``v (n, n)``.

    The distance to the nearest and to the second nearest centre, ``(n, n) float32``, and the cell's
    number, 0 to 4095. ``jitter`` 0 is a square grid, 1 puts a centre anywhere in its square.
    """
    x, y = (0.5 + rng.uniform(-0.5, 0.5, (2, 64, 64)) * jitter).astype(np.float32)
    numbers = np.arange(64 * 64).reshape(64, 64)
    column, row = np.floor(u), np.floor(v)
    du, dv = u - column, v - row
    square = (row.astype(np.intp) & 63) * 64 + (column.astype(np.intp) & 63)
    first = np.full(u.shape, np.inf, np.float32)
    second, owner = first.copy(), np.zeros(u.shape, np.intp)
    for right in (-1, 0, 1):
        for down in (-1, 0, 1):
            centre_x, centre_y, number = (
                np.roll(table, (-down, -right), (0, 1)).ravel() for table in (x, y, numbers)
            )
            across = du - (centre_x + np.float32(right))[square]
            along = dv - (centre_y + np.float32(down))[square]
            distance = across * across + along * along
            nearer = distance < first
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
            np.copyto(owner, number[square], where=nearer)
    return np.sqrt(first), np.sqrt(second), owner


def relief(rng: np.random.Generator, height: Array, strength: float) -> Array:
    """Return the light on a surface, 1 where it is flat: ``(n, n) float32``, 0.3 to 1.9.

    ``height (n, n)`` is in units of a grain; ``strength`` is the contrast.
    """
    angle = rng.uniform(0, 2 * np.pi)
    down, right = np.gradient(height)
    slope = (np.cos(angle) * right + np.sin(angle) * down) * height.shape[0] / 40
    light: Array = np.clip(1 + strength * slope, 0.3, 1.9).astype(np.float32)
    return light
