"""PNG, JPEG 2000 and HEIC files of more than 8 bits a sample."""

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray

from geosim.trainer.data.images import open_rgb, prepare
from geosim.trainer.errors import ImageError

Y, X = np.mgrid[:60, :80]
RGB = np.stack([20 + 2 * X, 30 + 3 * Y, 235 - X - Y], axis=-1).astype(np.uint16)


def difference(data: bytes, expected: NDArray[Any]) -> int:
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    found = np.asarray(open_rgb(data), dtype=np.int16)
    return int(np.abs(found - expected.astype(np.int16)).max())


def png(values: NDArray[np.uint16]) -> bytes:
    return bytes(imagecodecs.png_encode(values))


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with a chunk before its pixels."""
    at, checked = data.index(b"IDAT") - 4, name + body
    chunk = struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize("picture", [RGB[..., 0], RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_png_of_16_bits_may_use_fewer(bits: int, picture: NDArray[np.uint16]) -> None:
    data = png(picture << (bits - 8))
    assert difference(data, picture) <= 1
    assert prepare(data, 8).decoding.scaled_from.startswith(f"{bits} bits")


@pytest.mark.parametrize("white", [4095, 65535])
def test_the_opacity_of_a_deep_png_is_laid_over_white(white: int) -> None:
    colours = RGB << 4 if white == 4095 else RGB << 8
    opacity = np.where(X < 40, white, 0).astype(np.uint16)
    expected = np.where(X[..., None] < 40, RGB, 255)
    assert difference(png(np.dstack([colours, opacity])), expected) <= 1
    assert difference(png(np.dstack([colours[..., :1], opacity])), expected[..., 0]) <= 1


def test_a_transparent_colour_of_a_deep_png_shows_white() -> None:
    grey = RGB[..., 0] << 8
    data = with_chunk(png(grey), b"tRNS", struct.pack(">H", int(grey[0, 0])))
    assert difference(data, np.where(grey == grey[0, 0], 255, RGB[..., 0])) <= 1


def test_a_deep_png_is_not_refused_for_what_stands_beside_its_pixels() -> None:
    data = with_chunk(png(RGB << 8), b"tEXt", b"Comment\0hello")
    damaged = bytearray(data)
    damaged[data.index(b"hello")] ^= 1
    for one in (bytes(damaged), data[:-12], b"\n" + data):
        assert difference(one, RGB) <= 1


def test_a_deep_png_that_is_cut_short_is_refused() -> None:
    data = png(np.random.default_rng(0).integers(0, 65536, (64, 64, 3)).astype(np.uint16))
    for kept in (len(data) // 2, len(data) - 100, 40):
        with pytest.raises(ImageError, match="copy it again"):
            prepare(data[:kept], 8)


@pytest.mark.parametrize("picture", [RGB[..., 0], RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("container", ["j2k", "jp2"])
@pytest.mark.parametrize(("used", "declared"), [(10, 10), (12, 12), (12, 16), (10, 16), (16, 16)])
def test_a_jpeg_2000_is_scaled_by_its_depth(
    used: int, declared: int, container: str, picture: NDArray[np.uint16]
) -> None:
    data = imagecodecs.jpeg2k_encode(
        picture << (used - 8), level=0, bitspersample=declared, codecformat=container
    )
    assert difference(data, picture) <= 1
    assert prepare(data, 8).decoding.scaled_from.startswith(f"{used} bits")
    if container == "j2k":
        assert difference(data[:-2], picture) <= 1  # without its end mark


def test_a_dark_jpeg_2000_of_12_bits_stays_dark() -> None:
    data = imagecodecs.jpeg2k_encode(RGB, level=0, bitspersample=12)
    assert difference(data, np.rint(RGB / 16)) <= 1


def test_a_heic_of_10_bits_is_scaled_and_said_so() -> None:
    deep = pillow_heif.from_bytes("RGB;16", (80, 60), (RGB << 8).tobytes())
    buffer = io.BytesIO()
    deep.save(buffer, quality=95, chroma=444)
    assert difference(buffer.getvalue(), RGB) <= 6
    assert prepare(buffer.getvalue(), 8).decoding.scaled_from == "10 bits"


def test_a_damaged_deep_png_is_refused_without_other_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = bytearray(png(RGB << 8))
    data[28] = 7  # the interlace method, and the checksum of the header
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(ImageError, match="damaged"):
        prepare(bytes(data), 8)
    assert caplog.records == []
