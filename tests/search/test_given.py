"""A picture in memory gives the vector of its file; what is none is refused with the reason."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from geosim.search.searcher import Searcher
from geosim.trainer.errors import GeosimError, QueryError
from tests.trainer.decoding.profiles import PROPHOTO, rgb_profile

Y, X = np.mgrid[:60, :80]
RGB = np.stack([20 + 2 * X, 30 + 3 * Y, 235 - X - Y], axis=-1).astype(np.uint8)
DEEP = RGB.astype(np.uint16) << 4


def vector(searcher: Searcher, query: Any) -> NDArray[np.float32]:
    found = searcher.resolve(query).vector
    assert found is not None
    return found


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A photograph that is decoded at a fraction of its size, on its side, in ProPhoto."""
    exif = Image.Exif()
    exif[274] = 6
    large = Image.fromarray(RGB).resize((1600, 1200))
    large.save(tmp_path / "a.jpg", quality=95, exif=exif, icc_profile=rgb_profile(PROPHOTO))
    return tmp_path / "a.jpg"


def test_every_way_to_give_a_file_gives_its_vector(searcher: Searcher, path: Path) -> None:
    expected, data = vector(searcher, path), path.read_bytes()
    for given in (str(path), data, bytearray(data), memoryview(data), io.BytesIO(data)):
        np.testing.assert_array_equal(vector(searcher, given), expected)
    with path.open("rb") as file:
        file.read(100)
        np.testing.assert_array_equal(vector(searcher, file), expected)
    with Image.open(path) as image:
        np.testing.assert_array_equal(vector(searcher, image), expected)
        image.load()
        assert vector(searcher, image) @ expected > 0.999, "not at a fraction of its size"
        assert vector(searcher, image.copy()) @ expected > 0.999


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RGB),
        Image.fromarray(RGB).convert("L"),
        Image.fromarray(RGB).convert("1"),
        Image.fromarray(RGB).quantize(16),
        Image.fromarray(np.dstack([RGB, RGB[..., 0]])),
        Image.fromarray(RGB).convert("LA"),
        Image.fromarray(RGB).convert("CMYK"),
        Image.fromarray(DEEP[..., 0]),
        Image.fromarray(DEEP[..., 0].astype(np.int32)),
        Image.fromarray(RGB[..., 0] / np.float32(255)),
        Image.fromarray(RGB[..., 0] * np.float32(7)),
    ],
    ids=lambda image: image.mode,
)
def test_a_pillow_image_of_any_mode_gives_the_vector_of_its_file(
    searcher: Searcher, image: Image.Image
) -> None:
    expected = vector(searcher, encode(image, "TIFF"))
    np.testing.assert_array_equal(vector(searcher, image), expected)


def test_a_loaded_image_keeps_its_profile_and_orientation(searcher: Searcher) -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = encode(Image.fromarray(RGB), exif=exif, icc_profile=rgb_profile(PROPHOTO))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        np.testing.assert_array_equal(vector(searcher, image), vector(searcher, data))


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(RGB, id="uint8"),
        pytest.param(RGB[..., 0], id="grey"),
        pytest.param(RGB[..., :1], id="one channel"),
        pytest.param(np.dstack([RGB, RGB[..., 0]]), id="opacity"),
        pytest.param(DEEP, id="uint16"),
        pytest.param(RGB.astype(np.int64), id="int64"),
        pytest.param(RGB / np.float32(255), id="float32"),
        pytest.param(RGB / 255, id="float64"),
        pytest.param(RGB[::2, ::-1], id="a view"),
        pytest.param(DEEP.astype(">u2"), id="big-endian"),
    ],
)
def test_an_array_gives_the_vector_of_its_file(searcher: Searcher, pixels: NDArray[Any]) -> None:
    before = pixels.copy()
    stored = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    stored = stored.astype(np.uint8) if pixels.dtype == np.int64 else stored
    np.testing.assert_array_equal(
        vector(searcher, pixels), vector(searcher, tiff(np.ascontiguousarray(stored)))
    )
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (np.zeros((2, 2, 2, 2), np.uint8), r"shape \(height, width\).*received \(2, 2, 2, 2\)"),
        (np.zeros((4, 4, 2), np.uint8), r"1, 3 or 4 channels, received \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"received \(0, 4, 3\)"),
        (np.array(7), r"received \(\)"),
        (np.full((4, 4), np.nan), "floats of a picture are 0 to 1, received nan"),
        (np.full((4, 4), 200.0), "are 0 to 1, received 200 to 200; .*divide"),
        (np.full((4, 4), -1), "integers of a picture are 0 or more, received -1"),
        (np.zeros((4, 4), bool), "integers or floats, received bool; convert"),
        (np.zeros((4, 4), object), "received object"),
        (np.zeros((4, 4), complex), "received complex128"),
        (np.zeros(32, object), "an embedding is an array"),
        (np.zeros(31), r"received \(31,\)"),
        (io.StringIO("text"), r"opened as text; open it for bytes: open\(path, 'rb'\)"),
        (None, "received NoneType; give the path"),
        ([1, 2], "received list"),
        (7, "received int"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(
    searcher: Searcher, query: Any, why: str
) -> None:
    with pytest.raises(QueryError, match=why) as caught:
        searcher.resolve(query)
    assert "\n" not in str(caught.value)


def closed_file(path: Path) -> Any:
    with path.open("rb") as file:
        return file


def closed_image(path: Path) -> Any:
    with Image.open(path) as image:
        return image


def cut_short(path: Path) -> Any:
    return Image.open(io.BytesIO(path.read_bytes()[:3000]))


def written(_: Path) -> Any:
    return io.BufferedWriter(io.BytesIO())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (closed_file, "a closed file; give it while it is open"),
        (closed_image, "a Pillow image that cannot be loaded.*; open it anew"),
        (cut_short, "this JPEG is cut short or damaged"),
        (lambda _: Image.new("RGB", (0, 5)), "0 x 5 pixels; a picture has at least one"),
        (lambda _: Image.fromarray(np.full((2, 2), np.nan, np.float32)), "none of its pixels"),
        (lambda _: io.BytesIO(), "the file is empty"),
        (written, "the open file cannot be read"),
    ],
)
def test_files_and_images_that_cannot_be_read(
    searcher: Searcher, path: Path, make: Callable[[Path], Any], why: str
) -> None:
    with pytest.raises(GeosimError, match=why):
        searcher.resolve(make(path))
