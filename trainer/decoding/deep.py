"""PNG and JPEG 2000 files of more than 8 bits a sample, of which Pillow keeps only the high 8."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.decoding.samples import Samples, check_bytes
from geosim.trainer.quiet import quiet

_CODESTREAM = b"\xff\x4f\xff\x51"  # SOC and SIZ of JPEG 2000 (ISO/IEC 15444-1, annex A)
_PRECISION = 42  # bytes from there to the depth of the first component; the next ones 3 apart
_PROFILE = b"colr\x02"  # the box of a JP2 file with an ICC profile
_YCC = b"colr\x01\0\0\0\0\0\x12"  # the box of a JP2 file in sYCC


def read_deep(data: bytes, image: Image.Image) -> Samples | None:
    """Decode a file if it has more than 8 bits a sample; return None if Pillow is to read it.

    ``image`` is the file as Pillow opened it, not loaded.

    Raises:
        ImageError: the samples are too many.
        Exception: the file is damaged; imagecodecs raises many kinds.
    """
    if image.format == "PNG" and data[24:25] == b"\x10":
        bits, codec = 16, "png_decode"
    elif image.format == "JPEG2000" and (bits := _jpeg_2000_bits(data)) > 8 and _YCC not in data:
        codec = "jpeg2k_decode"
    else:
        return None
    import imagecodecs

    check_bytes(image.width * image.height * len(image.getbands()) * (2 if bits <= 16 else 4))
    with quiet("imagecodecs"):
        return _samples(getattr(imagecodecs, codec)(data), bits)


def jp2_profile(data: bytes) -> bytes | None:
    """Return the ICC profile of a JPEG 2000 file, which Pillow does not read."""
    start = data.find(_PROFILE, 0, data.find(_CODESTREAM))
    if start < 4:
        return None
    length = int.from_bytes(data[start - 4 : start], "big")
    return data[start + 7 : start - 4 + length]


def _jpeg_2000_bits(data: bytes) -> int:
    """Return the most bits of a component; 0 if they are signed and unsigned, or unknown."""
    start = data.find(_CODESTREAM)
    if start < 0:
        return 0
    count = int.from_bytes(data[start + _PRECISION - 2 : start + _PRECISION], "big")
    depths = data[start + _PRECISION : start + _PRECISION + 3 * count : 3]
    if len({depth >> 7 for depth in depths}) != 1:
        return 0
    return 1 + max(depth & 0x7F for depth in depths)


def _samples(values: NDArray[Any], bits: int) -> Samples:
    """Split grey or RGB from its opacity."""
    values = values.reshape(*values.shape[:2], -1)
    channels = values.shape[2]
    if channels not in (1, 2, 3, 4) or values.dtype.kind not in "ui":
        raise ValueError(f"{channels} channels of {values.dtype}")
    alpha = None
    if channels in (2, 4):
        alpha, values = values[..., -1].astype(np.uint32), values[..., :-1]
    return Samples(values, "L" if channels < 3 else "RGB", bits, alpha=alpha)
