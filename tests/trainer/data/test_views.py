"""The views of a picture: which part of it each shows, and that they are always the same."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geosim.trainer.data import views
from geosim.trainer.data.images import prepare
from geosim.trainer.data.views import CROPS, SMALLEST, prepare_views, views_digest
from geosim.trainer.errors import ImageError

FIXED = 2 + len(CROPS)
SIZE = 32


def places(width: int, height: int) -> Image.Image:
    """Red tells the place from left to right, green the one from top to bottom; blue is even."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 99)], axis=-1).round().astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def extent(view: np.ndarray) -> tuple[float, float]:
    """Shares of the width and of the height of `places` that a view without turn shows."""
    across = float(view[:, -1, 0].mean()) - float(view[:, 0, 0].mean())
    down = float(view[-1, :, 1].mean()) - float(view[0, :, 1].mean())
    scale = 255 * (len(view) - 1) / len(view)
    return across / scale, down / scale


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random views as they lie, in the light of the picture, and square."""
    for name in ("BRIGHTNESS", "TEMPERATURE", "CONTRAST", "ASPECT"):
        monkeypatch.setattr(views, name, 0.0)
    monkeypatch.setattr(views, "TURNS", (None,))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(40, 30), (500, 700), (1, 1), (1, 300)])
def test_the_first_view_is_the_prepared_picture_and_no_view_depends_on_the_count(
    kind: str, size: tuple[int, int]
) -> None:
    data = encoded(places(*size), kind)
    one, many = prepare(data, SIZE), prepare_views(data, SIZE, 12)
    assert many.pixels.shape == (12, SIZE, SIZE, 3)
    assert many.pixels.dtype == np.uint8
    assert (many.width, many.height, many.decoding) == (one.width, one.height, one.decoding)
    np.testing.assert_array_equal(many.pixels[0], one.pixels)
    np.testing.assert_array_equal(many.pixels[1], one.pixels[:, ::-1])
    for count in (1, 2, 5, FIXED, 11):
        some = prepare_views(data, SIZE, count)
        np.testing.assert_array_equal(some.pixels, many.pixels[:count])
        assert (some.width, some.height) == (one.width, one.height)


def test_the_views_are_golden() -> None:
    """A change of the code that changes pixels needs another `VERSION`."""
    y, x = np.mgrid[:90, :120]
    image = Image.fromarray(np.stack([x * 2, y * 2, (x * y) % 256], axis=-1).astype(np.uint8))
    pixels = prepare_views(encoded(image, "BMP"), SIZE, 16).pixels
    found = [int(view.sum()) for view in pixels]
    assert found == pytest.approx(GOLDEN, abs=SIZE * SIZE // 8), views.VERSION


GOLDEN = [
    *(338960, 338960, 342554, 240640, 448425, 374341, 311552, 399078, 301233, 364582, 327101),
    *(248136, 384281, 259252, 309063, 446383),
]
"""Sums of the pixels of the first views, of a picture in BMP."""


def test_other_content_has_other_random_views_and_the_same_fixed_ones() -> None:
    image = places(90, 70)
    first, other = (
        prepare_views(encoded(image, compress_level=level), SIZE, 14).pixels for level in (1, 9)
    )
    np.testing.assert_array_equal(first[:FIXED], other[:FIXED])
    assert all((one != two).any() for one, two in zip(first[FIXED:], other[FIXED:], strict=True))


def test_a_small_picture_has_crops_of_one_scale() -> None:
    pixels = prepare_views(encoded(places(60, 40)), SIZE, FIXED).pixels
    for view in pixels[2:]:  # 60 % of the shorter side, with its aspect
        assert extent(view) == pytest.approx((0.4, 0.6), abs=0.04)
    centre, top_left, bottom_right, top_right, bottom_left = pixels[2:].mean(axis=(1, 2))
    assert centre[:2] == pytest.approx([127, 127], abs=4)
    assert (top_left[0] < 90, top_right[0] > 165) == (True, True)
    assert (top_left[1] < 90, bottom_left[1] > 165) == (True, True)
    assert (bottom_right[:2] > 165).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_picture_is_seen_whole_in_part_and_at_native_scale(kind: str, plain: None) -> None:
    side = 20 * SIZE
    rough = np.asarray(places(side, side), np.int16)
    rough = rough + np.indices(rough.shape).sum(axis=0)[..., :1] % 2 * 40 - 20  # a pixel's checks
    image = Image.fromarray(np.clip(rough, 0, 255).astype(np.uint8))
    pixels = prepare_views(encoded(image, kind, quality=95), SIZE, 60).pixels
    shares = np.array([np.mean(extent(view)) for view in pixels])
    contrast = np.array([np.abs(np.diff(view[..., 0].astype(int))).mean() for view in pixels])
    native = SIZE / side
    assert shares[2:FIXED].max() > 0.5
    assert (np.abs(shares[2:FIXED] - native) < 0.1).sum() == 2
    assert contrast[3] > 3 * contrast[0], "texture of single pixels is there"
    random = shares[FIXED:]
    assert random.min() > native - 0.06
    assert random.max() > 0.7
    assert 0.12 < np.median(random) < 0.4, "as many in each octave"


def test_a_random_crop_of_a_small_picture_is_no_smaller_than_a_share_of_it(plain: None) -> None:
    pixels = prepare_views(encoded(places(50, 50)), SIZE, 60).pixels[FIXED:]
    shares = np.array([np.mean(extent(view)) for view in pixels])
    assert SMALLEST - 0.03 < shares.min() < 0.55
    assert shares.max() > 0.9


def test_random_views_are_turned_and_lit() -> None:
    pixels = prepare_views(encoded(places(64, 64)), SIZE, 60).pixels[FIXED:].astype(int)
    falls = set()
    for view in pixels:
        for channel in (0, 1):
            across = (view[:, -1, channel] - view[:, 0, channel]).mean()
            down = (view[-1, :, channel] - view[0, :, channel]).mean()
            falls.add((channel, abs(across) > abs(down), across + down > 0))
    assert len(falls) == 8, "red and green each fall to all four sides"
    blue = pixels[..., 2].mean(axis=(1, 2))
    assert blue.min() < 85
    assert blue.max() > 115


def test_a_file_that_is_no_picture_is_refused() -> None:
    for count in (1, 3):
        with pytest.raises(ImageError, match="the file is empty"):
            prepare_views(b"", SIZE, count)


def test_each_number_of_the_table_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before, names = views_digest(), ("VERSION", "CROPS", "CROP_SIDE", "SMALLEST", "CONTRAST")
    for name in names:
        with monkeypatch.context() as context:
            context.setattr(views, name, (getattr(views, name), 1))
            assert views_digest() != before, name
    assert views_digest() == before
    assert len(hashlib.sha256(before.encode()).hexdigest()) == 64
