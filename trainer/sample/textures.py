"""Procedural rock textures, one function per class.

The classes differ in structure; orientation, scale, colour and light vary within each class. The
textures are no model of real rocks.

A texture is a function of a random generator and a width ``n`` that returns ``(n, n, 3) float32``,
about 0 to 1. `draw` renders it at twice the final width, applies light, averages and quantises it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.sample.noise import (
    Array,
    cells,
    clouds,
    illuminate,
    layers,
    mix,
    pick_palette,
    plane,
    relief,
    smoothstep,
)

Texture = Callable[[np.random.Generator, int], Array]

OVERSAMPLING = 2
"""Drawn pixels per final pixel and axis, for smooth edges."""


def _granite(rng: np.random.Generator, n: int) -> Array:
    """Interlocking grains of feldspar, quartz and mica, without direction."""
    feldspar, plagioclase, quartz, mica = pick_palette(
        rng,
        (0xC99C8C, 0xDDD2C8, 0x9A948F, 0x2B2827),
        (0xD9D5CE, 0xC3C3C0, 0x8B8D8F, 0x242528),
        (0xA87568, 0xC9B3A2, 0x77706C, 0x231F1F),
        (0x77797C, 0xA5A6A6, 0x55585C, 0x17181A),
    )
    u, v = plane(rng, n, rng.uniform(8, 15))
    ragged = 0.07 * clouds(rng, n, 1.5, 5)
    near, far, cell = cells(rng, u + ragged, v - ragged)
    mineral = rng.choice(4, 4096, p=[0.42, 0.24, 0.26, 0.08])
    tone = rng.normal(1, 0.10, 4096).astype(np.float32)
    table = np.stack([feldspar, plagioclase, quartz, mica])[mineral] * tone[:, None]
    shine = 0.06 * np.sin(6 * (u + v) + rng.uniform(0, 6, 4096).astype(np.float32)[cell])
    image: Array = table[cell] * (0.86 + 0.14 * smoothstep(far - near, 0, 0.10) + shine)[..., None]
    flake_near, flake_far, flake = cells(rng, 1.9 * u + 2 * ragged, 1.9 * v + ragged)
    flakes = (rng.uniform(0, 1, 4096) < rng.uniform(0.06, 0.15))[flake]
    image = mix(image, mica, flakes * smoothstep(flake_far - flake_near, 0.02, 0.15))
    return illuminate(image, 1 + 0.05 * clouds(rng, n, 0.6, 8))


def _gneiss(rng: np.random.Generator, n: int) -> Array:
    """Light and dark bands, gently to tightly folded, grains drawn out along them."""
    dark, light, warm = pick_palette(
        rng,
        (0x2F3134, 0xD3CFC8, 0xA8A39C),
        (0x4A403B, 0xDDBFA9, 0xB98B74),
        (0x55585A, 0xB9BCBC, 0x8E9292),
        (0x262829, 0x9B938A, 0x6E655D),
    )
    u, v = plane(rng, n, rng.uniform(9, 15))
    v = v + rng.uniform(0.2, 1.5) * np.sin(u * rng.uniform(0.2, 0.6)) + 0.6 * clouds(rng, n, 2.3)
    band = layers(rng, v)
    near, _, cell = cells(rng, 1.1 * u, 3.4 * v)
    grain = rng.normal(0, 1, 4096).astype(np.float32)[cell]
    image = mix(dark, light, smoothstep(band + 0.10 * grain, 0.32, 0.62))
    image = mix(image, warm, 0.6 * smoothstep(layers(rng, 1.3 * v), 0.6, 0.8))
    return illuminate(image, 1 + 0.07 * grain - 0.10 * near + 0.05 * clouds(rng, n, 0.5, 6))


def _schist(rng: np.random.Generator, n: int) -> Array:
    """Thin wavy sheets of mica that glitter; no broad bands."""
    dark, light, shine = pick_palette(
        rng,
        (0x4C5052, 0x9EA3A4, 0xF2F4F2),
        (0x3F4A41, 0x8B9A88, 0xE6EFDF),
        (0x5A4A38, 0xAE9673, 0xF6E6BE),
        (0x6F6B6B, 0xC2BDB8, 0xFFFFFF),
    )
    u, v = plane(rng, n, rng.uniform(13, 20))
    v = v + rng.uniform(0.15, 0.5) * np.sin(u * rng.uniform(0.6, 1.4) + 0.8 * clouds(rng, n, 2))
    v = v + 0.6 * clouds(rng, n, 2)
    near, far, sheet = cells(rng, 0.22 * u, 1.8 * v)
    tone = rng.uniform(0, 1, 4096).astype(np.float32)
    height = 0.3 * tone[sheet] + 0.4 * smoothstep(far - near, 0, 0.4)
    image = mix(dark, light, 0.65 * tone[sheet] + 0.35 * layers(rng, 2 * v))
    image = image * (0.84 + 0.16 * smoothstep(far - near, 0, 0.35))[..., None]
    _, _, flake = cells(rng, 1.3 * u, 4.0 * v)
    glitter = rng.uniform(0, 1, 4096).astype(np.float32)[flake]
    image = image * (0.9 + 0.2 * glitter)[..., None]
    image = mix(image, shine, 0.8 * smoothstep(glitter, 0.92, 0.99))
    return illuminate(image, relief(rng, height, 0.22))


def _marble(rng: np.random.Generator, n: int) -> Array:
    """A smooth, clouded ground crossed by fine turbulent veins."""
    ground, cloud, vein = pick_palette(
        rng,
        (0xEDEBE6, 0xD3D3D1, 0x76797D),
        (0xE6D3C6, 0xD2B4A4, 0x8B5F51),
        (0xB9BDBE, 0x9DA3A6, 0xECEDEA),
        (0xC9CFC2, 0xA5B09F, 0x4F5F52),
        (0x34363A, 0x232528, 0xD8D6D0),
    )
    u, v = plane(rng, n, rng.uniform(1.2, 2.4))
    image = mix(ground, cloud, 0.5 + 0.4 * clouds(rng, n, 1.8))
    for width, strength in ((0.07, 0.95), (0.04, 0.8), (0.03, 0.6)):
        path = u * rng.uniform(-0.4, 0.4) + v + rng.uniform(0.2, 0.4) * clouds(rng, n, 1.8)
        ridge = np.abs((path * rng.uniform(0.7, 1.5) + rng.uniform(0, 1)) % 1 - 0.5)
        thickness = width * (0.55 + 0.45 * np.clip(clouds(rng, n, 2), -1, 2))
        share = np.exp(-ridge / np.maximum(thickness, 0.008))
        image = mix(image, vein, strength * share)
    return illuminate(image, 1 + 0.018 * clouds(rng, n, 0.2, 10))


def _sandstone(rng: np.random.Generator, n: int) -> Array:
    """Fine, even sand grains with faint bedding, sometimes stained by iron."""
    base, second, stain = pick_palette(
        rng,
        (0xC9A878, 0xDCC59C, 0x9B6A3C),
        (0xA9664A, 0xC48566, 0x7A3F2E),
        (0xA9A59B, 0xC4C0B6, 0x7F7464),
        (0x7D6A5A, 0x97836F, 0x54443A),
        (0xCFC5B0, 0xDDD5C5, 0xB0936A),
    )
    u, v = plane(rng, n, rng.uniform(40, 56))
    bed = v / rng.uniform(4, 8) + 0.25 * clouds(rng, n, 2.2) + u * rng.uniform(-0.02, 0.02)
    image = mix(base, second, layers(rng, bed) * 1.3 - 0.15)
    image = mix(image, stain, rng.uniform(0, 0.6) * smoothstep(layers(rng, 0.7 * bed), 0.6, 0.9))
    near, _, grain = cells(rng, u, v)
    tone = rng.normal(1, 0.11, 4096).astype(np.float32)[grain] - 0.16 * near
    tone = np.where((rng.uniform(0, 1, 4096) < 0.025)[grain], 0.55 * tone, tone)
    return illuminate(image, (tone + 0.06) * relief(rng, -near, 0.05))


def _basalt(rng: np.random.Generator, n: int) -> Array:
    """A dense fine groundmass with gas bubbles, some of them filled."""
    ground, speck, filling = pick_palette(
        rng,
        (0x3A3B3E, 0x5B5D60, 0xD9D6CC),
        (0x4B413B, 0x6C5E55, 0xC9C3B0),
        (0x6D4A40, 0x8A6456, 0xD6C6B4),
        (0x74777A, 0x93969A, 0xE4E4DE),
        (0x9A938A, 0xB4ADA4, 0xEFEAE0),
    )
    image = mix(ground, speck, 0.35 + 0.33 * clouds(rng, n, 0.35, 12))
    height = 0.05 * clouds(rng, n, 0.8, 6)
    filled = rng.uniform(0, 1) < 0.35
    across = rng.uniform(5, 8)
    for scale in (1.0, 2.3):
        u, v = plane(rng, n, across * scale)
        wobble = 0.07 * clouds(rng, n, 2.6, 4)
        near, _, bubble = cells(rng, (u + wobble) * rng.uniform(0.75, 1), v - wobble, 0.55)
        radius = (0.44 * rng.uniform(0, 1, 4096)).astype(np.float32)[bubble]
        inside = smoothstep(radius - near, 0, 0.10) * (radius > 0.12)
        amygdule = (rng.uniform(0, 1, 4096) < (0.45 if filled else 0.0))[bubble]
        image = mix(image, np.where(amygdule[..., None], filling, 0.30 * ground), 0.9 * inside)
        height = height - 0.55 / scale * inside * ~amygdule
    return illuminate(image, relief(rng, height, 0.35))


def _conglomerate(rng: np.random.Generator, n: int) -> Array:
    """Rounded pebbles of many rocks and two sizes in a sandy matrix."""
    palette = pick_palette(
        rng,
        (0x8A7560, 0xB79A7A, 0x6F6259, 0xD2C4AE, 0x9A5E46, 0x7F8583),
        (0x77746F, 0x9C9A96, 0x5A5C60, 0xC9C6C0, 0x8A7F73, 0x3F4246),
        (0x8D5A48, 0xB07A62, 0x6B4A42, 0xD3B7A3, 0x9C8B80, 0x5B3B34),
    )
    u, v = plane(rng, n, rng.uniform(3.2, 5.5))
    wobble = 0.06 * clouds(rng, n, 2.6, 3)
    u, v = u + wobble, v - wobble
    _, _, sand = cells(rng, 9 * u, 9 * v)
    image = palette[0] * rng.normal(0.85, 0.16, (4096, 1)).astype(np.float32)[sand]
    height = 0.03 * clouds(rng, n, 0.6, 8)
    for scale, share in ((2.4, 0.85), (1.0, 0.9)):
        near, far, stone = cells(rng, u * scale * rng.uniform(0.7, 1), v * scale, 0.75)
        radius = rng.uniform(0.30, 0.52, 4096).astype(np.float32)[stone]
        gap = 0.6 * (far - near) - 0.02
        dome = radius - near - 0.5 * np.clip(0.15 - gap, 0, None)
        dome = np.minimum(dome, gap)
        inside = smoothstep(dome, 0, 0.05) * (rng.uniform(0, 1, 4096) < share)[stone]
        body = palette[rng.integers(1, len(palette), 4096)][stone]
        body = body * rng.normal(1, 0.10, (4096, 1)).astype(np.float32)[stone]
        veined = 0.3 * (layers(rng, 7 * v + 3 * u) - 0.5) * (rng.uniform(0, 1, 4096) < 0.25)[stone]
        body = body * (1 + veined + 0.06 * clouds(rng, n, 0.7, 8))[..., None]
        image = mix(image * (1 - 0.45 * smoothstep(dome, -0.12, 0.02))[..., None], body, inside)
        top = np.sqrt(np.clip(dome, 0, 0.3) / 0.3) / scale
        height = np.where(inside > 0.5, top, height)
    return illuminate(image, relief(rng, height, 0.30))


def _oolite(rng: np.random.Generator, n: int) -> Array:
    """Packed round grains with concentric coats in a clear cement."""
    coat, core, cement = pick_palette(
        rng,
        (0xD8C8A6, 0x9C8560, 0xEFE7D6),
        (0xB4B2AC, 0x75736E, 0xDEDDD8),
        (0x9A5F45, 0x5E3527, 0xD0A98C),
        (0xE7E1D2, 0xB5AA93, 0x8F8777),
        (0x6A6661, 0x413E3B, 0xA9A49C),
    )
    u, v = plane(rng, n, rng.uniform(9, 15))
    v = v * 1.1
    wobble = 0.05 * clouds(rng, n, 1.8, 3)
    near, far, grain = cells(rng, u + wobble, v - wobble, 0.5)
    radius = rng.uniform(0.42, 0.62, 4096).astype(np.float32)[grain]
    edge = np.minimum(radius - near, 0.7 * (far - near))
    inside = smoothstep(edge, 0.01, 0.06)
    rings = 0.5 + 0.5 * np.cos(near * 42 + rng.uniform(0, 6, 4096).astype(np.float32)[grain])
    nucleus = rng.uniform(0.02, 0.24, 4096).astype(np.float32)[grain]
    tone = rng.normal(1, 0.10, 4096).astype(np.float32)[grain]
    body = mix(coat, core, 0.30 * rings + 0.75 * smoothstep(nucleus - near, -0.05, 0.05))
    image = mix(cement, body * tone[..., None], inside)
    image = mix(image, 0.6 * core, 0.35 * inside * smoothstep(edge, 0.14, 0.06))
    height = np.sqrt(np.clip(edge, 0, 0.5))
    return illuminate(image, relief(rng, height, 0.10) * (1 + 0.03 * clouds(rng, n, 0.5, 6)))


TEXTURES: dict[str, Texture] = {
    "basalt": _basalt,
    "conglomerate": _conglomerate,
    "gneiss": _gneiss,
    "granite": _granite,
    "marble": _marble,
    "oolite": _oolite,
    "sandstone": _sandstone,
    "schist": _schist,
}
"""Texture by class. The position of a class seeds its generator: add new classes at the end."""

SAMPLE_CLASSES = tuple(TEXTURES)
"""The classes of a sample, in folder order."""


def draw(label: str, index: int, *, size: int = 112, seed: int = 0) -> NDArray[np.uint8]:
    """Draw picture ``index`` of a class: ``(size, size, 3) uint8``, sRGB.

    Equal arguments give equal pixels.
    """
    rng = np.random.default_rng([seed, SAMPLE_CLASSES.index(label), index])
    wide = size * OVERSAMPLING
    image = TEXTURES[label](rng, wide)
    u, v = plane(rng, wide, 1)
    light = 1 + rng.uniform(0, 0.25) * ((u - u.mean()) + 0.5 * (v - v.mean()) ** 2)
    warmth = rng.normal(0, 0.035)
    tint = rng.uniform(0.78, 1.06) * np.array([1 + warmth, 1, 1 - warmth])
    image = np.clip(image * (light[..., None] * tint.astype(np.float32)), 0, 1)
    image = image ** np.float32(rng.uniform(0.85, 1.2))
    image = image.reshape(size, OVERSAMPLING, size, OVERSAMPLING, 3).mean(axis=(1, 3))
    image = image + 0.008 * rng.standard_normal(image.shape, dtype=np.float32)
    pixels: NDArray[np.uint8] = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return pixels
