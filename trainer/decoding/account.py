"""How pictures were decoded: the versions of the decoder, and what was scaled to 8 bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

PLAIN, CONVERTED = 1, 2
"""Versions of the decoder by the way that a picture takes: 8-bit samples in sRGB or without a
profile, or any others. One is raised with each change of the pixels that come out of it."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a picture was decoded.

    Attributes:
        decoder: `PLAIN` or `CONVERTED`.
        scaled_from: what its samples were, such as ``12 bits in 16``; empty for 8 bits.
    """

    decoder: int = PLAIN
    scaled_from: str = ""


def count_scaled(decodings: Iterable[Decoding]) -> dict[str, int]:
    """Return the number of pictures scaled to 8 bits by what their samples were, most first."""
    return dict(Counter(one.scaled_from for one in decodings if one.scaled_from).most_common())
