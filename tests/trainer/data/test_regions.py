"""Large pictures by parts: the same pixels as from the whole, in bounded memory."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from geosim.trainer.data import regions
from geosim.trainer.data.images import decode, open_rgb, prepare
from geosim.trainer.data.regions import MAX_LARGE_PIXELS, Regions
from geosim.trainer.data.views import prepare_views
from geosim.trainer.decoding import tiff_regions
from geosim.trainer.errors import ImageError

HEIGHT, WIDTH = 150, 230
Boxes = [(0, 0, 1, 1), (10, 20, 90, 140), (33, 0, 34, 150), (200, 100, 230, 150)]


def texture(height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> NDArray[np.uint8]:
    """Seeded blobs on a gradient: no two parts look alike."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, channels), dtype=np.uint8)
    blobs = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width].astype(np.int16)
    y, x = np.mgrid[:height, :width]
    slope = (x * 60 // width + y * 60 // height)[..., None]
    return np.clip(blobs * 3 // 4 + slope, 0, 255).astype(np.uint8)


RGB = texture()


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    options.setdefault("photometric", "rgb" if values.ndim == 3 else "minisblack")
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


def wide_gamut() -> bytes:
    """A profile that is not sRGB: L*a*b* would not fit an RGB file, so a swapped one is used."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


DEEP = RGB.astype(np.uint16) * 15 + 7  # 12 bits
FLOATS = RGB.astype(np.float32) * 3 - 100
GREY = RGB[..., 0]
ALPHA = np.dstack([RGB, np.roll(GREY, 40, axis=1)])
TAGS = {"orientation": [(274, 3, 1, 6, True)], "profile": [(34675, 7, None, wide_gamut(), True)]}

PICTURES: dict[str, bytes] = {
    "tiles": tiff(RGB, tile=(64, 48)),
    "tiles-deflate-predictor": tiff(RGB, tile=(64, 48), compression="deflate", predictor=True),
    "tiles-jpeg": tiff(RGB, tile=(64, 48), compression="jpeg"),
    "tiles-jpeg-subsampled": tiff(
        RGB, tile=(64, 64), compression="jpeg", photometric="ycbcr", subsampling=(2, 2)
    ),
    "strips": tiff(RGB, rowsperstrip=7),
    "strips-lzw": tiff(RGB, rowsperstrip=16, compression="lzw", predictor=True),
    "one-strip-deflate": tiff(RGB, rowsperstrip=HEIGHT, compression="deflate"),
    "one-strip": tiff(RGB, rowsperstrip=HEIGHT),
    "big": tiff(RGB, bigtiff=True, byteorder=">", tile=(64, 48)),
    "planes": tiff(np.moveaxis(RGB, 2, 0), planarconfig="separate", tile=(64, 48)),
    "planes-in-strips": tiff(
        np.moveaxis(DEEP, 2, 0), planarconfig="separate", rowsperstrip=20, byteorder=">"
    ),
    "deep": tiff(DEEP, tile=(64, 48), compression="zstd"),
    "deep-strips": tiff(DEEP, rowsperstrip=9, byteorder=">"),
    "deep-white-is-zero": tiff(DEEP[..., 0], photometric="miniswhite", rowsperstrip=9),
    "no-data": tiff(FLOATS, tile=(64, 48), extratags=[(42113, 2, 0, "-100", True)]),
    "floats": tiff(FLOATS, rowsperstrip=11, compression="deflate", predictor=True),
    "signed": tiff(FLOATS.astype(np.int16), tile=(64, 48)),
    "opacity": tiff(ALPHA, tile=(64, 48), extrasamples=["unassalpha"]),
    "palette": tiff(
        GREY, photometric="palette", colormap=np.stack([np.arange(256) * 257] * 3).astype("u2")
    ),
    "bilevel": tiff(GREY > 128, rowsperstrip=8, compression="packbits"),
    "turned": tiff(RGB, tile=(64, 48), extratags=TAGS["orientation"]),
    "profile": tiff(RGB, tile=(64, 48), extratags=TAGS["profile"]),
    "png": png(Image.fromarray(RGB)),
    "png-grey-deep": png(Image.fromarray(DEEP[..., 0])),
    "png-opacity": png(Image.fromarray(ALPHA)),
    "png-palette": png(Image.fromarray(RGB).quantize(16)),
    "png-bilevel": png(Image.fromarray(GREY).convert("1")),
    "png-profile": png(Image.fromarray(RGB), icc_profile=wide_gamut()),
}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits as small as the pictures are, so that everything is done in several pieces."""
    monkeypatch.setattr(regions, "BLOCK_PIXELS", 2000)
    monkeypatch.setattr(regions, "PART_PIXELS", 20_000)
    monkeypatch.setattr(tiff_regions, "SEGMENT_BYTES", 50_000)
    monkeypatch.setattr(tiff_regions, "CACHE_BYTES", 20_000)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", PICTURES)
def test_a_part_has_the_pixels_of_the_whole(name: str) -> None:
    whole = open_rgb(PICTURES[name])
    with Regions(PICTURES[name]) as picture:
        assert picture.size == whole.size
        assert picture.decoding == decode(PICTURES[name], hint=None).decoding
        for box in Boxes:
            if box[2] <= whole.width and box[3] <= whole.height:
                np.testing.assert_array_equal(picture.read(box), whole.crop(box), str(box))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_parts_are_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", quality=95, exif=exif)
    whole = open_rgb(buffer.getvalue())
    boxes = [(x, y, x + 40, y + 30) for y in (0, 60, 110) for x in (0, 25, 100)]
    with Regions(buffer.getvalue()) as picture:
        assert picture.size == whole.size
        found = dict(picture.parts(boxes))
        assert found.keys() == set(boxes)
        for box in boxes:
            np.testing.assert_array_equal(found[box], whole.crop(box))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["tiles-deflate-predictor", "deep-strips", "turned", "png"])
def test_a_large_picture_is_embedded_as_the_whole_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = prepare_views(PICTURES[name], 24, 5)
    whole = prepare(PICTURES[name], 24)
    monkeypatch.setattr(regions, "MAX_PIXELS", 10_000)
    found = prepare_views(PICTURES[name], 24, 5)
    assert (found.width, found.height, found.decoding) == (
        expected.width,
        expected.height,
        expected.decoding,
    )
    difference = np.abs(found.pixels.astype(int) - expected.pixels)
    assert difference.mean() < 2.5
    assert np.abs(prepare(PICTURES[name], 24).pixels.astype(int) - whole.pixels).mean() < 2.5


def test_a_level_of_the_pyramid_is_read_for_less() -> None:
    reduced = np.full((HEIGHT // 2, WIDTH // 2, 3), 200, np.uint8)  # tells where pixels come from
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(RGB, subifds=1, tile=(64, 64), photometric="rgb")
        writer.write(reduced, subfiletype=1, tile=(64, 64), photometric="rgb")
    with Regions(buffer.getvalue()) as picture:
        assert np.asarray(picture.read(side=20)).tolist() == [[[200] * 3] * 115] * 75
        np.testing.assert_array_equal(picture.read(), RGB)


def test_sparse_tiles_are_filled(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    tifffile.imwrite(path, black, tile=(64, 48), compression="deflate", photometric="rgb")
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = list(file.pages.first.databytecounts)
        file.pages.first.tags[325].overwrite([0, *counts[1:]])
    np.testing.assert_array_equal(open_rgb(path.read_bytes()), black)
    with Regions(path) as picture:
        np.testing.assert_array_equal(picture.read(), black)


@pytest.mark.parametrize("name", ["tiles-deflate-predictor", "strips-lzw", "one-strip", "png"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_large_picture_that_is_cut_short_is_told(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "MAX_PIXELS", 10_000)
    data = PICTURES[name][: int(share * len(PICTURES[name]))]
    with pytest.raises(ImageError, match=r"^this (TIFF|PNG) is .*damaged") as caught:
        prepare(data, 16)
    assert "\n" not in str(caught.value)


def test_what_would_have_to_be_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "MAX_PIXELS", 10_000)
    monkeypatch.setattr(regions, "_LEAST_JPEG", 1)
    progressive, cmyk = io.BytesIO(), io.BytesIO()
    Image.fromarray(RGB).save(progressive, "JPEG", progressive=True)
    Image.fromarray(RGB).convert("CMYK").save(cmyk, "JPEG")
    interlaced = bytearray(PICTURES["png"])
    interlaced[28] = 1
    interlaced[29:33] = struct.pack(">I", zlib.crc32(interlaced[12:29]))
    for data, why in (
        (progressive.getvalue(), "progressive"),
        (cmyk.getvalue(), "CMYK"),
        (bytes(interlaced), "interlaced"),
    ):
        with pytest.raises(ImageError, match=f"{why}.*") as caught:
            prepare(data, 16)
        assert "save it" in str(caught.value)
    monkeypatch.setattr(tiff_regions, "SEGMENT_BYTES", 10_000)
    with pytest.raises(ImageError, match="save it in tiles"):
        prepare(tiff(ALPHA, rowsperstrip=HEIGHT, compression="deflate", extrasamples=[2]), 16)


def test_the_limit_is_told_by_the_header() -> None:
    header = struct.pack(">II5B", 70_000, 70_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(20)
    with pytest.raises(ImageError, match=f"^70000 x 70000 pixels; at most {MAX_LARGE_PIXELS:,} "):
        prepare(data, 16)


MEASURE = """
import re, sys
from pathlib import Path
from geosim.trainer.data.views import prepare_views
from geosim.trainer.data.sources import Files, Record
found = prepare_views(Files().read(Record("", "", sys.argv[1])), 224, 7)
# Not getrusage: its peak is at least that of the process that started this one.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(found.width, found.height, int(peak) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("layout", ["tiles", "strips", "one-strip", "deep", "png", "jpeg"])
def test_four_hundred_megapixels_take_less_than_a_gigabyte(layout: str, tmp_path: Path) -> None:
    side, path = 20_000, tmp_path / f"scan.{layout if layout in ('png', 'jpeg') else 'tif'}"
    small = texture(side // 8, side // 8)
    band = np.kron(small[:32], np.ones((8, 8, 1), np.uint8))  # 256 rows
    if layout in ("png", "jpeg"):
        import pyvips

        image = pyvips.Image.new_from_array(small).resize(8, kernel="nearest")
        image.cast("uchar").write_to_file(str(path))
    else:
        options: dict[str, Any] = {"shape": (side, side, 3), "dtype": "uint8", "photometric": "rgb"}
        options |= {"compression": "deflate", "compressionargs": {"level": 1}}
        if layout in ("strips", "one-strip"):
            height = 64 if layout == "strips" else side
            tifffile.imwrite(path, np.resize(band, (side, side, 3)), rowsperstrip=height, **options)
        else:
            band = np.pad(band, ((0, 0), (0, 224), (0, 0)))
            if layout == "deep":
                band, options["dtype"] = band.astype(np.uint16) * 15, "uint16"
            tiles = [zlib.compress(band[:, x : x + 256].tobytes(), 1) for x in range(0, side, 256)]
            tifffile.imwrite(path, iter(tiles * len(tiles)), tile=(256, 256), **options)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    width, height, megabytes = map(int, done.stdout.split())
    assert (width, height) == (side, side)
    assert megabytes < 1000
