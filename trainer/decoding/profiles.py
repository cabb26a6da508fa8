"""ICC profiles: an image's colours to sRGB, so that a picture looks the same in any colour space.

A profile that is damaged, or of another colour space than the pixels, is ignored, as browsers do.
Gamma and primaries that a PNG states without a profile (gAMA, cHRM, cICP) are not applied: many
writers state wrong ones.
"""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 2**23
"""Largest profile that is applied; those of printers have up to 3 MB."""

TOLERANCE = 2
"""Levels of 255 that a profile may change any colour by and still counts as sRGB: its vendors'
versions differ by as much."""

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Colour space of a profile by Pillow's mode."""

_STEPS = (0, 32, 64, 96, 128, 160, 192, 224, 255)  # of each channel, where profiles are compared


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Convert an image of mode L, RGB or CMYK from its ICC profile to sRGB, mode RGB.

    Returns None where there is nothing to do: without a profile that can be used, or with one that
    is sRGB or its grey.
    """
    if not profile or len(profile) > MAX_PROFILE_BYTES or image.mode not in _SPACES:
        return None
    transform = _transform(profile, image.mode)
    return None if transform is None else transform.apply(image)


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert CIE L*a*b* (D50), mode LAB, to sRGB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform to sRGB; None if the profile cannot be used, or changes nothing."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Threads share the transform: without its cache of one pixel.
            ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,
        )
        if mode == "CMYK":
            return transform
        probe = _probe(mode)
        before = np.asarray(probe.convert("RGB"), dtype=np.int16)
        after = np.asarray(transform.apply(probe), dtype=np.int16)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if np.abs(after - before).max() <= TOLERANCE else transform


def _probe(mode: str) -> Image.Image:
    """Return an image of the colours that profiles are compared on."""
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    colours = bytes(level for colour in product(_STEPS, repeat=3) for level in colour)
    return Image.frombytes("RGB", (len(_STEPS) ** 3, 1), colours)
