"""Every format and pixel mode, upright and as RGB; and what is refused, with one-line reasons."""

import io
import re
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from geosim.trainer.data import images
from geosim.trainer.data.images import (
    ENDINGS,
    FORMATS,
    open_rgb,
    prepare,
)
from geosim.trainer.data.reasons import FORMAT_NAMES
from geosim.trainer.data.regions import MAX_LARGE_PIXELS
from geosim.trainer.decoding.encoded import MAX_PIXELS
from geosim.trainer.errors import ImageError

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

LOSSLESS_HEIF = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if kind == "HEIF":  # its writer stays out of Pillow, where it would replace the reader
        stored = pillow_heif.from_bytes(image.mode, image.size, image.tobytes())
        stored.save(buffer, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def colours(data: bytes) -> list[tuple[int, ...]]:
    """The decoded pixels, row by row."""
    image = open_rgb(data)
    assert image.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()]


def quarters(width: int = 64, height: int = 32) -> Image.Image:
    """Red and green above blue and grey: no two of its eight orientations look alike."""
    image = Image.new("RGB", (width, height))
    half, middle = width // 2, height // 2
    for colour, corner in ((RED, (0, 0)), (GREEN, (half, 0)), (BLUE, (0, middle))):
        image.paste(colour, (*corner, corner[0] + half, corner[1] + middle))
    image.paste(GREY, (half, middle, width, height))
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, snapped to the nearest of `quarters`."""
    known = np.array([RED, GREEN, BLUE, GREY])
    found = []
    for y in (image.height // 4, 3 * image.height // 4):
        for x in (image.width // 4, 3 * image.width // 4):
            distance = np.abs(known - np.array(image.getpixel((x, y)))).sum(axis=1)
            assert distance.min() < 30
            found.append(tuple(known[distance.argmin()].tolist()))
    return found


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be ``width`` x ``height`` RGB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "DIB", "TIFF", "GIF", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    image = quarters()
    assert colours(encode(image, kind)) == [tuple(p) for p in np.asarray(image).reshape(-1, 3)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("WEBP", {"quality": 95}),
        ("MPO", {}),
        ("HEIF", {}),
        ("AVIF", {}),
    ],
)
def test_lossy_formats_keep_the_picture(kind: str, options: dict[str, Any]) -> None:
    decoded = open_rgb(encode(quarters(), kind, **options))
    assert decoded.size == (64, 32)
    assert corners(decoded) == [RED, GREEN, BLUE, GREY]


def test_a_webp_without_loss_keeps_every_pixel() -> None:
    image = quarters()
    expected = [tuple(p) for p in np.asarray(image).reshape(-1, 3)]
    assert colours(encode(image, "WEBP", lossless=True)) == expected


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("HEIF", {}),
        ("AVIF", {}),
    ],
)
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        # Derived by hand from the EXIF standard: what is stored top left belongs ...
        (1, [RED, GREEN, BLUE, GREY]),  # top left
        (2, [GREEN, RED, GREY, BLUE]),  # top right, mirrored
        (3, [GREY, BLUE, GREEN, RED]),  # bottom right
        (4, [BLUE, GREY, RED, GREEN]),  # bottom left, mirrored
        (5, [RED, BLUE, GREEN, GREY]),  # rows are columns
        (6, [BLUE, RED, GREY, GREEN]),  # turned clockwise
        (7, [GREY, GREEN, BLUE, RED]),  # turned and mirrored
        (8, [GREEN, GREY, RED, BLUE]),  # turned anticlockwise
    ],
)
def test_exif_orientation_is_applied(
    orientation: int, expected: list[tuple[int, ...]], kind: str, options: dict[str, Any]
) -> None:
    stored = quarters()
    exif = stored.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encode(stored, kind, exif=exif.tobytes(), **options)
    image, prepared = open_rgb(data), prepare(data, 16)
    size = (32, 64) if orientation >= 5 else (64, 32)
    assert image.size == size
    assert corners(image) == expected
    assert (prepared.width, prepared.height) == size
    assert corners(Image.fromarray(prepared.pixels)) == expected


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    prepared = prepare(encode(quarters(), "PNG", exif=exif), 16)
    assert (prepared.width, prepared.height) == (64, 32)


def test_damaged_metadata_is_no_reason_to_refuse_a_picture() -> None:
    data = encode(quarters(), "PNG", exif=b"Exif\0\0this is no EXIF")
    assert corners(open_rgb(data)) == [RED, GREEN, BLUE, GREY]


def test_a_png_is_not_refused_for_what_stands_beside_its_pixels() -> None:
    huge, comment = PngInfo(), PngInfo()
    huge.add_text("history", "x" * (2 << 20), zip=True)
    huge.add_itxt("XML:com.adobe.xmp", "x" * (2 << 20), zip=True)
    comment.add_text("Comment", "hello")
    changed = bytearray(encode(quarters(), "PNG", pnginfo=comment))
    changed[changed.index(b"tEXt") + 4] ^= 1
    stored = quarters()
    stored.getexif()[ExifTags.Base.Orientation] = 3
    for data in (
        encode(stored.rotate(180), "PNG", pnginfo=huge, exif=stored.getexif()),
        encode(quarters(), "PNG", icc_profile=bytes(2 << 20)),
        bytes(changed),
    ):
        assert corners(open_rgb(data)) == [RED, GREEN, BLUE, GREY]


@pytest.mark.parametrize("segment", [b"\xff\xe2ICC_PROFILE\0", b"\xff\xe0JFIF", b"\xff\xeeAdobe"])
def test_a_jpeg_is_not_refused_for_a_damaged_segment(segment: bytes) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    data = encode(quarters(), "JPEG", quality=95, exif=exif)
    marker, body = segment[:2], segment[2:]
    damaged = data[:2] + marker + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert corners(open_rgb(damaged)) == [GREY, BLUE, GREEN, RED]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_empty_line_before_a_picture_does_no_harm(kind: str) -> None:
    assert corners(open_rgb(b"\r\n" + encode(quarters(), kind))) == [RED, GREEN, BLUE, GREY]


@pytest.mark.parametrize(
    ("kind", "options", "mark"),
    [
        ("JPEG", {}, 2),
        ("JPEG", {"progressive": True}, 2),
        ("JPEG", {"quality": 95, "subsampling": 0, "restart_marker_rows": 1}, 2),
        ("PNG", {}, 20),  # IEND and the two checksums of the pixels
        ("GIF", {}, 1),
        ("JPEG2000", {}, 2),
    ],
)
def test_a_missing_end_mark_does_no_harm_and_a_missing_pixel_does(
    kind: str, options: dict[str, Any], mark: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind, **options)
    for missing in {1, mark}:
        assert open_rgb(data[:-missing]) == open_rgb(data)
    for missing in (mark + 4, mark + 5, mark + 6, mark + 20, len(data) // 2):
        with pytest.raises(ImageError):
            prepare(data[:-missing], 8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8(kind: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    # One level in 8 bits is 257 in 16; the rest is rounded.
    expected = [(level,) * 3 for level in (0, 0, 1, 1, 128, 255)]
    assert colours(encode(Image.fromarray(deep), kind)) == expected


def test_floats_that_are_no_numbers_leave_the_others_alone() -> None:
    values = np.array([[0.0, np.nan, np.inf, -np.inf, 1.0, 2.0]], np.float32)
    expected = [(level,) * 3 for level in (0, 0, 255, 0, 128, 255)]
    assert colours(encode(Image.fromarray(values), "TIFF")) == expected


@pytest.mark.parametrize(("kind", "tolerance"), [("TIFF", 0), ("JPEG", 2)])
def test_cmyk_becomes_rgb(kind: str, tolerance: int) -> None:
    magenta = Image.new("CMYK", (16, 16), (0, 255, 0, 0))
    difference = np.array(colours(encode(magenta, kind))) - np.array([255, 0, 255])
    assert np.abs(difference).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_8_bit_grey_becomes_rgb(kind: str) -> None:
    grey = Image.fromarray(np.array([[0, 77, 255]], np.uint8))
    assert colours(encode(grey, kind)) == [BLACK, (77, 77, 77), WHITE]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_becomes_black_and_white(kind: str) -> None:
    bits = Image.fromarray(np.array([[True, False, True]]))
    assert colours(encode(bits, kind)) == [WHITE, BLACK, WHITE]


def palette() -> Image.Image:
    """One red and one green pixel."""
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    return image


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_palette_is_looked_up(kind: str) -> None:
    assert colours(encode(palette(), kind)) == [RED, GREEN]


@pytest.mark.parametrize(
    ("transparency", "expected"),
    [
        pytest.param(1, [RED, WHITE], id="one colour is transparent"),
        pytest.param(b"\x80\xff", [(255, 127, 127), GREEN], id="half a colour"),
    ],
)
def test_a_transparent_palette_shows_white(
    transparency: int | bytes, expected: list[tuple[int, ...]]
) -> None:
    assert colours(encode(palette(), "PNG", transparency=transparency)) == expected


def test_a_transparent_gif_shows_white() -> None:
    assert colours(encode(palette(), "GIF", transparency=1)) == [RED, WHITE]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_over_white(kind: str) -> None:
    image = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((255, 128, 0)):
        image.putpixel((x, 0), (0, 0, 255, alpha))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert colours(encode(image, kind, **options)) == [BLUE, (127, 127, 255), WHITE]


def test_grey_with_alpha_is_laid_over_white() -> None:
    image = Image.new("LA", (3, 1))
    for x, alpha in enumerate((255, 128, 0)):
        image.putpixel((x, 0), (0, alpha))
    assert colours(encode(image, "PNG")) == [BLACK, (127, 127, 127), WHITE]


@pytest.mark.parametrize(
    ("image", "transparent"), [(Image.new("RGB", (1, 1), RED), RED), (Image.new("L", (1, 1), 9), 9)]
)
def test_a_colour_that_stands_for_transparent_shows_white(
    image: Image.Image, transparent: Any
) -> None:
    assert colours(encode(image, "PNG", transparency=transparent)) == [WHITE]


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP"])
def test_the_first_frame_counts(kind: str) -> None:
    first, second = Image.new("RGB", (2, 2), BLUE), Image.new("RGB", (2, 2), RED)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(first, kind, save_all=True, append_images=[second], **options)
    assert colours(data) == [BLUE] * 4


def test_a_big_jpeg_decoded_at_reduced_size_looks_the_same() -> None:
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    big = np.stack([np.tile(ramp, (1200, 1)), np.tile(ramp[:1200, None], 1600)], axis=-1)
    image = Image.fromarray(np.dstack([big, big[..., 0] // 2]))
    data = encode(image, "JPEG", quality=95)
    assert open_rgb(data, hint=128).size == (200, 150)  # an eighth
    prepared = prepare(data, 64)
    assert (prepared.width, prepared.height) == (1600, 1200)
    whole = np.asarray(open_rgb(data).resize((64, 64), Image.Resampling.BILINEAR))
    difference = np.abs(prepared.pixels.astype(int) - whole)
    assert difference.max() <= 3
    assert difference.mean() < 1


def test_the_whole_picture_is_squeezed_to_a_square() -> None:
    prepared = prepare(encode(quarters(200, 40), "PNG"), 20)
    assert prepared.pixels.shape == (20, 20, 3)
    assert prepared.pixels.dtype == np.uint8
    assert (prepared.width, prepared.height) == (200, 40)
    assert corners(Image.fromarray(prepared.pixels)) == [RED, GREEN, BLUE, GREY]


@pytest.mark.parametrize(("limit", "together"), [(1200, True), (1199, False)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_large_pictures_are_decoded_one_at_a_time(
    kind: str, limit: int, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    met, finish = threading.Barrier(2), images.finish
    found = []

    def wait_for_the_other(stored: Any) -> Any:
        try:
            met.wait(60 if together else 0.3)
            found.append(True)
        except threading.BrokenBarrierError:
            found.append(False)
        return finish(stored)

    monkeypatch.setattr(images, "finish", wait_for_the_other)
    monkeypatch.setattr(images, "LARGE_PIXELS", limit)
    data = [encode(Image.new("RGB", (40, 30), colour), kind) for colour in (RED, BLUE)]
    with ThreadPoolExecutor(2) as pool:
        decoded = list(pool.map(open_rgb, data))
    assert found == [together] * 2
    assert [image.getpixel((0, 0)) for image in decoded] == [RED, BLUE]


def test_a_small_picture_is_enlarged() -> None:
    assert (
        prepare(encode(Image.new("RGB", (1, 1), BLUE), "PNG"), 8).pixels.tolist()
        == [[list(BLUE)] * 8] * 8
    )


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG2000", "HEIF", "AVIF"]
)
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match=r"^this .* damaged.*; copy it again") as caught:
        prepare(data[: len(data) // 2], 8)
    assert "\n" not in str(caught.value)


def reason_to_refuse(data: bytes) -> str | None:
    try:
        prepare(data, 8)
    except ImageError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG2000", "HEIF", "AVIF"]
)
def test_every_cut_and_every_changed_byte_is_a_picture_or_an_image_error(kind: str) -> None:
    data = encode(quarters(16, 16), kind)
    generator = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        damaged[int(generator.integers(len(data)))] = int(generator.integers(256))
        for content in (bytes(damaged), data[: int(generator.integers(len(data)))]):
            reason = reason_to_refuse(content)
            assert reason is None or re.match(
                f"(this|not a) .*; |.*({MAX_PIXELS:,}|{MAX_LARGE_PIXELS:,})", reason
            )


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ImageError, match="the file is empty"):
        prepare(b"", 8)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"These are notes about rocks.\n", " but text; replace or remove it"),
        ("Größe: 3 m\n".encode(), " but text; replace or remove it"),
        (b"\x00\x01\x02\x03", "; replace or remove it"),
        (b"P6 1 1 255 abc", " but a PNM file; export it"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", " but a PostScript file; export"),
        (b"\n<!doctype html><p>404", " but a web page; download the picture"),
        (b"<?xml version='1.0'?>\n<svg/>", " but an SVG drawing; export it"),
        (b"II*\0\x10\0\0\0CR\2\0", " but a raw photograph; convert it"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", " but a video; save its frames"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=f"^not a {FORMAT_NAMES} picture{what}"):
        prepare(data, 8)


@pytest.mark.parametrize(
    ("start", "kind"), [(b"\xff\xd8", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"II*\0", "TIFF")]
)
def test_the_start_of_a_picture_is_called_damaged(start: bytes, kind: str) -> None:
    with pytest.raises(ImageError, match=f"^this {kind} is .*damaged.*; copy it again"):
        prepare(start, 8)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(ImageError, match=f"at most {MAX_LARGE_PIXELS:,} are read"):
        prepare(png_header(70_000, 70_000), 8)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_large_but_allowed_is_decoded() -> None:
    image = Image.new("1", (10_000, 9_000), 1)
    prepared = prepare(encode(image, "PNG"), 4)
    assert (prepared.width, prepared.height) == (10_000, 9_000)
    assert prepared.pixels.min() == 255


def test_every_ending_of_a_format_that_is_read_counts() -> None:
    kinds = Image.registered_extensions()
    read = {ending for ending, kind in kinds.items() if kind in {*FORMATS, "MPO"}}
    assert read | {".jfi", ".jif", ".btf", ".gtif"} == ENDINGS
    phones = {".jfif", ".jpe", ".dib", ".apng", ".j2k", ".jp2", ".heic", ".hif", ".avif", ".mpo"}
    assert phones <= ENDINGS


def test_the_first_picture_of_a_process_may_have_any_format_and_any_thread() -> None:
    # Pillow loads its decoders on demand; a fresh process must not depend on who comes first.
    script = (
        "import sys, threading; from geosim.trainer.data.images import open_rgb\n"
        "data = sys.stdin.buffer.read()\n"
        "seen = []\n"
        "threads = [threading.Thread(target=lambda: seen.append(open_rgb(data).getpixel((0, 0))))"
        " for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; print(seen)\n"
    )
    for kind in ("PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "HEIF"):
        options: dict[str, Any] = {"WEBP": {"lossless": True}, "HEIF": LOSSLESS_HEIF}.get(kind, {})
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=encode(quarters(), kind, **options),
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().strip() == str([RED] * 4), kind
