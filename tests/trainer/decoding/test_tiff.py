"""TIFF files of every depth, layout, colour space and compression; and those that are refused."""

import io
import logging
import struct
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.data.images import open_rgb, prepare, size_of
from geosim.trainer.data.regions import MAX_LARGE_PIXELS
from geosim.trainer.errors import ImageError

HEIGHT, WIDTH = 60, 80


def rocks() -> NDArray[np.uint8]:
    """A colour picture, smooth enough for JPEG, that looks different in each orientation."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([20 + 2 * x, 30 + 3 * y, 235 - x - y], axis=-1).astype(np.uint8)


RGB = rocks()
GREY = RGB[..., 0]


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    if "volumetric" not in options:
        options.setdefault("photometric", "rgb" if values.ndim == 3 else "minisblack")
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def decode(data: bytes) -> NDArray[np.int16]:
    return np.asarray(open_rgb(data), dtype=np.int16)


def difference(data: bytes, expected: NDArray[Any]) -> int:
    """Largest difference from a picture, RGB or grey."""
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    found = decode(data)
    assert found.shape == expected.shape
    return int(np.abs(found - expected).max())


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        prepare(data, 8)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("picture", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_camera_s_depth_in_16_bits_does_not_darken(bits: int, picture: NDArray[Any]) -> None:
    deep = picture.astype(np.uint16) << (bits - 8)
    assert difference(tiff(deep), picture) <= 1
    assert f"{bits} bits" in prepare(tiff(deep), 8).decoding.scaled_from


@pytest.mark.parametrize("bits", [2, 4, 8, 10, 12, 14, 16, 32])
def test_packed_samples_are_scaled_by_their_depth(bits: int) -> None:
    deep = np.rint(GREY / 255 * (2**bits - 1)).astype(np.uint32)
    stored = deep.astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
    packed = {} if bits in (8, 16, 32) else {"bitspersample": bits}
    assert difference(tiff(stored, **packed), GREY) <= (1 if bits >= 8 else 255 // 2**bits + 1)


def test_a_dark_picture_of_packed_samples_stays_dark() -> None:
    assert difference(tiff(GREY.astype(np.uint16), bitspersample=12), np.rint(GREY / 16)) <= 1


def test_the_colours_of_a_picture_have_one_scale() -> None:
    red, rest = RGB[..., 0].astype(np.uint16) << 4, RGB[..., 1:].astype(np.uint16)
    deep = np.dstack([red, rest])  # 12 bits in red, 8 in the others
    expected = np.dstack([RGB[..., 0], RGB[..., 1] // 16, RGB[..., 2] // 16])
    assert difference(tiff(deep), expected) <= 1


def test_a_declared_highest_value_keeps_pictures_of_one_camera_comparable() -> None:
    dark = GREY.astype(np.uint16)  # at most 178 of 4095
    declared = [(281, "H", 1, 4095, True)]
    assert difference(tiff(dark, extratags=declared), dark // 16) <= 1
    unknown = [(281, "H", 1, 65535, True)]  # what the standard says where nothing is declared
    assert difference(tiff(dark, extratags=unknown), dark) <= 1


def test_more_than_the_declared_highest_value_counts() -> None:
    deep = GREY.astype(np.uint16) << 8
    assert difference(tiff(deep, extratags=[(281, "H", 1, 4095, True)]), GREY) <= 1


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(GREY.astype(np.int16) * 16, id="signed without a negative value"),
        pytest.param(GREY.astype(np.uint32) << 24, id="32 bits"),
        pytest.param(GREY.astype(np.uint32), id="8 bits in 32"),
        pytest.param(GREY / np.float32(255), id="float"),
        pytest.param((GREY / 255).astype(np.float16), id="half float"),
        pytest.param(GREY / 255, id="double"),
    ],
)
def test_what_has_a_known_range_is_scaled_by_it(values: NDArray[Any]) -> None:
    assert difference(tiff(values), GREY) <= 1


STRETCHED = (GREY.astype(float) - GREY.min()) / np.ptp(GREY) * 255


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(GREY.astype(np.int16) * 100 - 9000, id="signed"),
        pytest.param(GREY.astype(np.int8) - 100, id="signed bytes"),
        pytest.param(GREY.astype(np.float32) * 7, id="float"),
        pytest.param(GREY.astype(np.float64) * 1e-3 + 4.5e6, id="float far from zero"),
    ],
)
def test_what_has_no_known_range_is_stretched_and_said_so(values: NDArray[Any]) -> None:
    values = values.astype(values.dtype)
    assert difference(tiff(values), STRETCHED) <= 3
    assert prepare(tiff(values), 8).decoding.scaled_from.endswith("stretched to its own range")


@pytest.mark.parametrize("no_data", [-9999, -32768, np.nan, np.inf, -np.inf, -3.4028235e38, 1e30])
@pytest.mark.parametrize("factor", [1 / 255, 16])
def test_a_border_without_data_stretches_nothing(factor: float, no_data: float) -> None:
    values = GREY.astype(np.float32) * np.float32(factor)
    inside = values[10:].copy()
    values[:10] = no_data
    found = decode(tiff(values))
    np.testing.assert_array_equal(found[10:], decode(tiff(inside)))
    assert (found[:10] == (255 if no_data == np.inf else 0)).all()


def test_the_no_data_tag_of_gdal_is_heeded() -> None:
    deep = GREY.astype(np.uint16) << 4  # 12 bits
    deep[:10] = 65535
    tag = [(42113, "s", 0, "65535", True)]
    expected = GREY.copy()
    expected[:10] = 0
    assert difference(tiff(deep, extratags=tag), expected) <= 1
    signed = GREY.astype(np.int16) * 16
    signed[:10] = -1
    assert difference(tiff(signed, extratags=[(42113, "s", 0, "-1", True)]), expected) <= 1


def test_one_wild_value_does_not_decide_the_range() -> None:
    values = GREY.astype(np.float32) * 7
    wild = values.copy()
    wild[0, 0] = 1e9
    assert np.abs(decode(tiff(wild))[1:] - decode(tiff(values))[1:]).max() <= 2


@pytest.mark.parametrize("depth", [8, 16])
def test_white_is_zero(depth: int) -> None:
    stored = (255 - GREY).astype(f"u{depth // 8}") << (depth - 8)
    assert difference(tiff(stored, photometric="miniswhite"), GREY) <= 1


def test_one_bit_pictures_of_both_polarities() -> None:
    bits = GREY > 100
    assert difference(tiff(bits), bits * 255) == 0
    assert difference(tiff(bits, photometric="miniswhite"), ~bits * 255) == 0


def test_a_picture_without_a_stated_colour_space_is_no_negative() -> None:
    for picture in (GREY, RGB, GREY.astype(np.uint16) << 8):
        expected = picture if picture.dtype == np.uint8 else GREY
        assert difference(without_tag(tiff(picture), 262), expected) <= 1
    fax, bits = io.BytesIO(), GREY > 100
    Image.fromarray(bits).save(fax, "TIFF", compression="group4", tiffinfo={262: 0})
    assert difference(fax.getvalue(), bits * 255) == 0
    assert difference(without_tag(fax.getvalue(), 262), bits * 255) == 0


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_or_16_bits_is_looked_up(scale: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    data = tiff(GREY, photometric="palette", colormap=colours * scale)
    assert difference(data, colours.T[GREY]) == 0


def test_cmyk_of_8_and_16_bits() -> None:
    ink = np.dstack([255 - RGB, np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert difference(tiff(ink, photometric="separated"), RGB) <= 1
    assert difference(tiff(ink.astype(np.uint16) << 8, photometric="separated"), RGB) <= 1


def test_lab_is_converted() -> None:
    grey = np.zeros((4, 4, 3), np.uint8)
    grey[..., 0] = 128  # L* 50.2, which is 120 in sRGB
    assert difference(tiff(grey, photometric="cielab"), np.full((4, 4), 120, np.uint8)) <= 1


def test_ycbcr_becomes_rgb() -> None:
    from PIL import Image

    stored = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    assert difference(tiff(stored, photometric="ycbcr"), RGB) <= 3


@pytest.mark.parametrize("depth", [8, 16])
def test_opacity_is_laid_over_white(depth: int) -> None:
    opacity = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
    expected = 255 - (255 - RGB.astype(float)) * (opacity[..., None] / 255)

    def stored(colours: NDArray[Any]) -> NDArray[Any]:
        values = np.dstack([np.rint(colours), opacity]).astype(f"u{depth // 8}")
        return values * (257 if depth == 16 else 1)

    straight = tiff(stored(RGB), extrasamples=["unassalpha"])
    assert difference(straight, expected) <= 2
    multiplied = tiff(stored(RGB * (opacity[..., None] / 255)), extrasamples=["assocalpha"])
    assert np.abs(decode(multiplied) - expected).mean() <= 1.5
    ignored = tiff(stored(RGB), extrasamples=["unspecified"])
    assert difference(ignored, RGB) <= 1


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"rowsperstrip": 7}, {"bigtiff": True}])
@pytest.mark.parametrize(
    "compression", [None, "lzw", "deflate", "packbits", "zstd", "lzma", "jpeg2000", "lerc", "png"]
)
def test_compressions_and_layouts(
    compression: str | None, layout: dict[str, Any], planes: str
) -> None:
    deep = RGB.astype(np.uint16) << 4
    deep = deep if planes == "contig" else np.moveaxis(deep, 2, 0)
    data = tiff(deep, compression=compression, planarconfig=planes, **layout)
    assert difference(data, RGB) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_predictors_and_byte_orders(order: Any) -> None:
    deep = RGB.astype(np.uint16) << 8
    data = tiff(deep, compression="deflate", predictor=True, byteorder=order)
    assert difference(data, RGB) <= 1
    floats = RGB / np.float32(255)
    data = tiff(floats, compression="deflate", predictor=True, byteorder=order)
    assert difference(data, RGB) == 0


@pytest.mark.parametrize("compression", ["jpeg", "webp"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"rowsperstrip": 16}])
def test_lossy_compressions_keep_the_picture(compression: str, layout: dict[str, Any]) -> None:
    data = tiff(RGB, compression=compression, **layout)  # JPEG: YCbCr with reduced colour
    assert np.abs(decode(data) - RGB).mean() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(orientation: int) -> None:
    deep = RGB.astype(np.uint16) << 4
    upright = [
        RGB,
        RGB[:, ::-1],
        RGB[::-1, ::-1],
        RGB[::-1],
        RGB.swapaxes(0, 1),
        np.rot90(RGB, -1),
        RGB[::-1, ::-1].swapaxes(0, 1),
        np.rot90(RGB),
    ][orientation - 1]
    data = tiff(deep, extratags=[(274, "H", 1, orientation, True)])
    assert difference(data, upright) <= 1
    prepared = prepare(data, 8)
    assert (prepared.height, prepared.width) == upright.shape[:2]


def pages(*pictures: tuple[NDArray[Any], dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for values, options in pictures:
            writer.write(values, contiguous=False, **options)
    return buffer.getvalue()


def test_the_largest_full_page_counts() -> None:
    thumbnail = (RGB[::4, ::4], {"photometric": "rgb", "subfiletype": 1})
    plain = (RGB[::4, ::4], {"photometric": "rgb"})
    mask = (np.tile(GREY, (2, 2)) > 99, {"photometric": "mask", "subfiletype": 4})
    full = (RGB.astype(np.uint16) << 4, {"photometric": "rgb"})
    second = ((255 - RGB).astype(np.uint16) << 4, {"photometric": "rgb"})
    for others in ([thumbnail, full], [plain, full], [mask, full], [full, second], [full, plain]):
        assert difference(pages(*others), RGB) <= 1


def test_a_picture_in_a_sub_directory_counts() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        small, full = RGB[::4, ::4], RGB
        writer.write(small, photometric="rgb", subifds=1, subfiletype=1)
        writer.write(full, photometric="rgb", subfiletype=0)
    assert difference(buffer.getvalue(), RGB) == 0


def test_a_pyramid_gives_its_full_level() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(RGB, photometric="rgb", subifds=2, tile=(16, 16))
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, tile=(16, 16))
        writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, tile=(16, 16))
    assert difference(buffer.getvalue(), RGB) == 0


@pytest.mark.parametrize(
    ("values", "options", "why"),
    [
        (GREY.astype(np.complex64), {}, "complex numbers"),
        (np.full((4, 4), np.nan, np.float32), {}, "none of its pixels has a value.*; remove it"),
        (np.full((4, 4), 7, np.uint16), {"extratags": [(42113, "s", 0, "7", True)]}, "no data"),
        (GREY, {"photometric": "cfa"}, "a raw photograph; convert it"),
        (np.dstack([RGB] * 2), {"photometric": "minisblack"}, "6 bands.*; save one as grey or"),
        (GREY.astype(np.uint32), {"bitspersample": 24}, "of 24 bits per sample.*; save it as"),
        (RGB, {"compression": "jpegxl"}, "compressed as JPEGXL.*; save it as"),
        (np.zeros((16, 16, 16), np.uint8), {"volumetric": True, "tile": (16,) * 3}, "a volume of"),
        (
            np.zeros((4, 4, 3), np.float32),
            {"photometric": "cielab"},
            r"L\*a\*b\*.*; save it as RGB",
        ),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(
    values: NDArray[Any], options: dict[str, Any], why: str
) -> None:
    import re

    if options.get("photometric") == "minisblack":
        options = {**options, "planarconfig": "contig"}
    assert re.search(why, refusal(tiff(values, **options)))


def without_tag(data: bytes, code: int) -> bytes:
    """Give a tag of the first directory of a little-endian TIFF a code that means nothing."""
    changed = bytearray(data)
    start = int(struct.unpack_from("<I", data, 4)[0])
    (count,) = struct.unpack_from("<H", data, start)
    codes = {
        struct.unpack_from("<H", data, at)[0]: at
        for at in range(start + 2, start + 2 + 12 * count, 12)
    }
    struct.pack_into("<H", changed, codes[code], code + 65_000)
    return bytes(changed)


def set_tag(data: bytes, code: int, value: int) -> bytes:
    """Change the value of a tag of the first directory of a little-endian TIFF."""
    changed = bytearray(data)
    start = int(struct.unpack_from("<I", data, 4)[0])
    (count,) = struct.unpack_from("<H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at)[0] == code:
            struct.pack_into("<HII", changed, at + 2, 4, 1, value)
            return bytes(changed)
    raise KeyError(code)


PLAIN = tiff(RGB)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (256, 2**31),  # columns
        (257, 2**31),  # rows
        (273, 2**31),  # where the pixels are
        (279, 2**31),  # how many bytes they have
        (277, 60_000),  # samples per pixel
        (258, 4097),  # bits per sample
        (259, 4711),  # compression
        (262, 4711),  # colour space
    ],
)
@pytest.mark.parametrize("compression", [None, "deflate", "jpeg", "jpeg2000"])
def test_absurd_tags_are_refused_at_once(compression: str | None, code: int, value: int) -> None:
    data = tiff(RGB, compression=compression)
    assert refusal(set_tag(data, code, value))


def test_a_large_picture_is_refused_by_its_tags() -> None:
    text = refusal(set_tag(set_tag(PLAIN, 256, 70_000), 257, 70_000))
    assert text.startswith(f"70000 x 70000 pixels; at most {MAX_LARGE_PIXELS:,} are read, so make")
    deep = set_tag(set_tag(tiff(RGB.astype(np.float64)), 256, 10_000), 257, 10_000)
    assert "damaged" in refusal(deep)


def test_a_jpeg_in_a_tiff_may_not_be_larger_than_its_strip() -> None:
    data = bytearray(tiff(RGB, compression="jpeg"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 6500, 6500)
    assert "damaged" in refusal(bytes(data))
    data[at : at + 4] = struct.pack(">HH", 60, 800)
    assert "damaged" in refusal(bytes(data))


def test_chains_of_pages_with_cycles_end() -> None:
    data = bytearray(PLAIN)
    start = int(struct.unpack_from("<I", data, 4)[0])
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    assert difference(bytes(data), RGB) == 0
    struct.pack_into("<I", data, start + 2 + 12 * count, 2**32 - 2)  # beyond the end
    assert difference(bytes(data), RGB) == 0


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "jpeg", "jpeg2000", "lerc"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}])
def test_missing_pixels_are_refused(compression: str | None, layout: dict[str, Any]) -> None:
    from PIL import Image

    noise = np.asarray(Image.effect_noise((WIDTH, HEIGHT), 60).convert("RGB"))
    data = tiff(noise, compression=compression, **layout)
    for kept in (len(data) - 40, len(data) * 3 // 4, len(data) // 2):
        assert "copy it again" in refusal(data[:kept])


def test_sizes_are_known_without_decoding() -> None:
    assert size_of(PLAIN) == (WIDTH, HEIGHT)
    assert size_of(set_tag(PLAIN, 256, 50_000)) == (50_000, HEIGHT)
    assert size_of(PLAIN[:6]) is None


def test_a_damaged_tiff_leaves_the_caller_s_logging_and_warnings_alone() -> None:
    logger = logging.getLogger("tifffile")
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    before = (logger.level, list(logger.filters), list(warnings.filters))
    try:
        data = set_tag(tiff(RGB, extratags=[(700, "H", 1, 1, True)]), 700, 2**31)
        assert difference(data, RGB) == 0
        assert not heard
        logger.warning("of the caller")
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in heard] == ["of the caller"]
    assert (logger.level, list(logger.filters), list(warnings.filters)) == before


def test_only_a_tiff_loads_its_decoder() -> None:
    code = (
        "import sys; from geosim.trainer.data.images import prepare\n"
        "prepare(sys.stdin.buffer.read(), 8)\n"
        "print([name for name in ('tifffile', 'imagecodecs') if name in sys.modules])"
    )
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG")
    for data, loaded in ((buffer.getvalue(), "[]"), (PLAIN, "['tifffile', 'imagecodecs']")):
        done = subprocess.run(
            [sys.executable, "-c", code], input=data, capture_output=True, check=True, timeout=60
        )
        assert done.stdout.decode().strip() == loaded
        assert not done.stderr
