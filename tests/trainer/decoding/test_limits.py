"""Files of a few kilobytes that take minutes to decode are refused; similar ones are not."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.images import open_rgb, prepare, size_of
from geosim.trainer.decoding.limits import MAX_EXIF_SEGMENTS, MAX_SCANS, MAX_SEGMENTS
from geosim.trainer.errors import ImageError
from geosim.trainer.facts.exif import exif_facts
from tests.mutants.bombs import bombs_in_tiff
from tests.mutants.seeds import sound_files

END = b"\xff\xd9"


def jpeg(**options: Any) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_segments(data: bytes, segment: bytes, count: int) -> bytes:
    return data[:2] + segment * count + data[2:]


def with_scans(count: int) -> bytes:
    data = jpeg(progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * (count - data.count(b"\xff\xda")) + END


EXIF, COMMENT, FILL = b"\xff\xe1\0\x0aExif\0\0ab", b"\xff\xfe\0\x04ab", b"\xff"


@pytest.mark.parametrize(
    "data",
    [
        with_scans(MAX_SCANS + 1),
        b"\n" + with_scans(MAX_SCANS + 1),
        with_segments(jpeg(), EXIF, MAX_EXIF_SEGMENTS + 1),
        with_segments(jpeg(), COMMENT, MAX_SEGMENTS + 1),
        with_segments(jpeg(), FILL, MAX_SEGMENTS + 1),
    ],
    ids=["scans", "scans after a line", "Exif", "comments", "fill"],
)
def test_a_jpeg_of_too_many_pieces_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^a JPEG of more than .*; save it again$"):
        prepare(data, 8)


@pytest.mark.parametrize("segment", [EXIF, COMMENT, FILL], ids=["Exif", "comments", "fill"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_large_jpeg_of_too_many_pieces_is_not_even_opened(
    segment: bytes, in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_segments(jpeg(), segment, 2**21 // len(segment))
    path = tmp_path / "class" / "large.jpg"
    path.parent.mkdir()
    path.write_bytes(data)
    opened = []

    def open_it(image: JpegImageFile) -> None:
        opened.append(image)

    monkeypatch.setattr(JpegImageFile, "_open", open_it)
    given = data if in_memory else path
    with pytest.raises(ImageError, match=r"^a JPEG of more than"):
        prepare(given, 8)
    assert size_of(given) is None
    folder = open_dataset(tmp_path)
    layer, _ = exif_facts(folder)
    assert not layer.rows
    assert not opened, "Pillow copies all it has for each segment"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_jpeg_of_many_pieces_is_decoded() -> None:
    sound = open_rgb(jpeg()).tobytes()
    film = bytes(range(256)) * 100 + b"\xff\xda" * 10_000  # as phones append it
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2_002) + b"\xff\xda" * 1000
    for data in (
        jpeg() + film,
        with_segments(jpeg(), thumbnail, 10),
        with_segments(jpeg(restart_marker_blocks=1), COMMENT, 3000),
        with_segments(jpeg(), EXIF, 50),
    ):
        assert open_rgb(data).tobytes() == sound
    assert open_rgb(with_scans(MAX_SCANS)).size == (48, 48)


def test_a_tiff_takes_as_much_work_as_it_has_pixels() -> None:
    """Neither strips that share their bytes nor scans inside of a strip multiply it."""
    known = bombs_in_tiff()
    with pytest.raises(ImageError, match="damaged"):
        prepare(known["overlaps.tif"], 8)
    with pytest.raises(ImageError, match="scans"):
        prepare(known["scans.tif"], 8)


def test_a_heic_whose_items_have_no_name_in_ascii_does_not_end_the_process() -> None:
    sound = sound_files()["heif-0.heic"]
    start = sound.index(b"Exif")
    assert sound[start - 12 : start - 8] == b"infe"
    with pytest.raises(ImageError, match=r"^this HEIC or AVIF has a damaged list"):
        prepare(sound[:start] + b"\xc5" + sound[start + 1 :], 8)


def run_length_encoded(width: int, height: int, *, header: bytes = b"BM" + bytes(12)) -> bytes:
    """Return a BMP of rows that are one pixel and a line end each."""
    if header:
        header = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 0, 0)
    return header + info + bytes(1024) + b"\1\1\0\0" * height + b"\0\1"


def test_a_large_run_length_encoded_bmp_is_refused() -> None:
    for header in (b"BM", b""):
        with pytest.raises(ImageError, match=r"^this BMP is run-length encoded .*; .*save it as"):
            prepare(run_length_encoded(5000, 4000, header=header), 8)
    assert prepare(run_length_encoded(300, 200), 8).width == 300
