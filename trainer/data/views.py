"""Views of a picture: a fixed, numbered sequence of crops, turns and changes of its light.

View 0 is the whole picture as `prepare` squeezes it, and view 1 its mirror image. `CROPS` are next:
squares from a large part of the picture down to native scale, one pixel of the network's input per
pixel of the picture. All others are crops of random size, place and turn under other light; what
is random depends on the file's bytes and the number of the view alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from random import Random
from zlib import crc32

import numpy as np
from PIL import Image

from geosim.trainer.data.images import Prepared, decode_small, prepare
from geosim.trainer.data.regions import Regions, is_large
from geosim.trainer.data.upright import Decoded
from geosim.trainer.decoding.encoded import Encoded, open_encoded
from geosim.trainer.recipe import constants_of

VERSION = 1
"""Raised with each change of the views' pixels that no other number here tells of."""

MIRRORED = 1
"""Number of the view that is the mirror image of view 0."""

CROP_SIDE = 0.6
"""Side of the largest crop of `CROPS`, as a share of the picture's shorter side."""

CROPS = ((0.5, 0.5, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.5), (1.0, 0.0, 0.5), (0.0, 1.0, 1.0))
"""Square crops, from view 2: place from left to right and from top to bottom, each 0 to 1, and
scale, from 0, `CROP_SIDE`, to 1, native scale. Of a picture whose `CROP_SIDE` has no more pixels
than the input of the network, all have that side."""

SMALLEST = 0.45
"""Shorter side of the smallest random crop of a small picture, as a share of the picture's. A crop
of a large one goes down to native scale. Crops help even where they are enlarged: pictures of 160
and 224 pixels have no others."""

ASPECT = 0.3
"""Largest logarithm of a random crop's ratio of sides."""

BRIGHTNESS, TEMPERATURE, CONTRAST = 0.25, 0.12, 0.2
"""Largest logarithms of the gain of all channels, of red against green (and of green against blue),
and of the distance from the mean."""

TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)
"""The eight turns and mirror images of a square."""

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the original


def views_digest() -> str:
    """Return a hex digest that changes with the pixels of the views after the first."""
    content = json.dumps(constants_of(__name__), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def prepare_views(data: Encoded, size: int, count: int) -> Prepared:
    """Decode an image to its first ``count`` views, ``(count, size, size, 3) uint8`` RGB.

    View 0 has the pixels of `prepare`. A view does not depend on ``count``. Each is resized
    (bilinear, antialiased) from a decoding of the picture that has at least its pixels.

    Raises:
        ImageError: the bytes are not an image, or it is damaged or too large.
    """
    if count == 1:
        one = prepare(data, size)
        return Prepared(one.pixels[None], one.width, one.height, one.decoding)

    with ExitStack() as stack:
        if is_large(data):
            regions = stack.enter_context(Regions(data))
            coarse = Decoded(regions.read(side=2 * size), regions.size, regions.decoding)

            def fine(box: Box) -> Image.Image:
                left, top = math.floor(box[0]), math.floor(box[1])
                right, bottom = math.ceil(box[2]), math.ceil(box[3])
                part = regions.read((left, top, right, bottom), side=size)
                whole = (right - left, bottom - top)
                inside = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
                return _resized(inside, Decoded(part, whole, regions.decoding), size)
        else:
            coarse = decode_small(data, hint=2 * size)
            at_full_size = cache(lambda: decode_small(data, hint=None))

            def fine(box: Box) -> Image.Image:
                return _resized(box, at_full_size(), size)

        return _views(coarse, size, count, lambda: _checksum(data), fine)


def views_of(picture: Decoded, size: int, count: int) -> Prepared:
    """Return the views of a picture as those of a PNG of it, as Pillow writes it by default."""

    def seed() -> int:
        buffer = io.BytesIO()
        picture.image.save(buffer, "PNG")
        return crc32(buffer.getvalue())

    return _views(picture, size, count, seed, lambda box: _resized(box, picture, size))


def _views(
    coarse: Decoded,
    size: int,
    count: int,
    seed: Callable[[], int],
    fine: Callable[[Box], Image.Image],
) -> Prepared:
    """Return the views of a decoding; ``fine`` takes a part of the picture at its full size."""
    whole = coarse.image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    pixels[0] = np.asarray(whole)
    if count > MIRRORED:
        pixels[MIRRORED] = np.asarray(whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    fixed = MIRRORED + 1 + len(CROPS)
    start = seed() << 32 if count > fixed else 0
    for number in range(MIRRORED + 1, count):
        random = Random(start + number)  # unlike numpy's, the same in every version
        box = _box(number, coarse.size, size, random)
        reduced = coarse.image.size != coarse.size and _pixels_of(box, coarse) < size
        view = fine(box) if reduced else _resized(box, coarse, size)
        if number >= fixed:
            view = _lit(_turned(view, random), random)
        pixels[number] = np.asarray(view)
    return Prepared(pixels, *coarse.size, coarse.decoding)


def _resized(box: Box, decoded: Decoded, size: int) -> Image.Image:
    part = _scaled(box, decoded)
    return decoded.image.resize((size, size), Image.Resampling.BILINEAR, box=part)


def _checksum(data: Encoded) -> int:
    checksum = 0
    with open_encoded(data) as file:
        while block := file.read(2**20):
            checksum = crc32(block, checksum)
    return checksum


def _box(number: int, picture: tuple[int, int], size: int, random: Random) -> Box:
    """Return the part of the picture that a view shows."""
    width, height = picture
    shorter = min(picture)
    fixed = number - MIRRORED - 1
    if fixed < len(CROPS):
        x, y, scale = CROPS[fixed]
        largest = CROP_SIDE * shorter
        side = largest * (min(size, largest) / largest) ** scale
        left = (width - largest) * x + (largest - side) / 2
        top = (height - largest) * y + (largest - side) / 2
        return left, top, left + side, top + side
    least = min(size, SMALLEST * shorter)
    side = least * (shorter / least) ** random.random()
    ratio = math.exp(_within(ASPECT, random))
    across, down = min(width, side * max(1, ratio)), min(height, side * max(1, 1 / ratio))
    left, top = (width - across) * random.random(), (height - down) * random.random()
    return left, top, left + across, top + down


def _pixels_of(box: Box, decoded: Decoded) -> float:
    """Return the pixels along the shorter side of a box in a decoding."""
    left, top, right, bottom = _scaled(box, decoded)
    return min(right - left, bottom - top)


def _scaled(box: Box, decoded: Decoded) -> Box:
    """Return a box in the pixels of a decoding, which may be smaller than the original."""
    (width, height), (whole_width, whole_height) = decoded.image.size, decoded.size
    across, down = width / whole_width, height / whole_height
    left, top, right, bottom = box
    return left * across, top * down, min(right * across, width), min(bottom * down, height)


def _turned(view: Image.Image, random: Random) -> Image.Image:
    turn = TURNS[int(random.random() * len(TURNS))]
    return view if turn is None else view.transpose(turn)


def _lit(view: Image.Image, random: Random) -> Image.Image:
    """Change brightness, colour temperature and contrast."""
    gain, warmth = (math.exp(_within(most, random)) for most in (BRIGHTNESS, TEMPERATURE))
    contrast, mean = math.exp(_within(CONTRAST, random)), float(np.asarray(view).mean())
    levels = (np.arange(256, dtype=np.float64) - mean) * contrast + mean
    tables = [levels * gain * warmth, levels * gain, levels * gain / warmth]
    return view.point(np.rint(np.clip(tables, 0, 255)).astype(int).ravel().tolist())


def _within(most: float, random: Random) -> float:
    return most * (2 * random.random() - 1)
