"""A large PNG or JPEG by its rows, with the rules by which it is decoded as a whole."""

from __future__ import annotations

from contextlib import AbstractContextManager

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from geosim.trainer.data.upright import orientation_of
from geosim.trainer.decoding.encoded import Encoded, head_of, open_encoded
from geosim.trainer.decoding.samples import Samples
from geosim.trainer.decoding.tiff import Tiff
from geosim.trainer.decoding.vips_rows import Box, VipsRows
from geosim.trainer.errors import ImageError

PNG = b"\x89PNG\r\n\x1a\n"

_PNG_GAIN = 8 * 1100
"""Pixels of one bit that a byte of Deflate decodes to at most, with some to spare."""


class PictureRows(AbstractContextManager["PictureRows"]):
    """An open picture, as `Regions` reads it.

    Attributes:
        sizes: width and height, as of one level.
        segment: width and height of what is decoded at once.
    """

    def __init__(self, data: Encoded) -> None:
        """Open a picture; raise `ImageError` or the decoder's own where that cannot be done."""
        png = head_of(data, 8) == PNG
        with open_encoded(data) as file, (PngImageFile if png else JpegImageFile)(file) as image:
            stored = len(data) if isinstance(data, bytes) else data.stat().st_size
            if png and image.width * image.height > _PNG_GAIN * stored:
                raise ValueError("truncated")
            if any(image.info.get(one) for one in ("interlace", "progressive")):
                raise ImageError(
                    f"a large {image.format} that is stored for gradual display, which would have "
                    "to be held as a whole; save it without (not interlaced, not progressive)"
                )
            if image.mode == "CMYK":
                raise ImageError("a large JPEG in CMYK; save it as RGB, or as TIFF")
            self._profile, self._orientation = image.info.get("icc_profile"), orientation_of(image)
        self._rows = VipsRows(data)
        self.sizes, self.segment = [self._rows.size], (self._rows.size[0], 1)

    def read(self, box: Box, level: int = 0) -> Tiff:  # noqa: ARG002 - there is one level
        """Return a part, in stored pixels."""
        values = self._rows.read(box)
        alpha = None
        if values.shape[2] in (2, 4):
            alpha, values = values[..., -1], values[..., :-1]
        mode = "L" if values.shape[2] == 1 else "RGB"
        samples = Samples(values, mode, 8 * values.dtype.itemsize, alpha=alpha)
        return Tiff(samples, self._orientation, self._profile)

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._rows.__exit__()
