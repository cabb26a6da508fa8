"""Upright pictures in sRGB: from what a file stores, in 8 bits, to what every network sees."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ExifTags, Image

from geosim.trainer.decoding.account import CONVERTED, PLAIN, Decoding
from geosim.trainer.decoding.profiles import lab_to_srgb, to_srgb

EXIF_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that undoes each EXIF orientation (CIPA DC-008, tag 274); 5 to 8 swap the sides."""

BACKGROUND = (255, 255, 255)
"""RGB behind transparent pixels: white."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """An image as a file holds it, in 8 bits."""

    image: Image.Image  # of any mode
    size: tuple[int, int]  # of the original
    orientation: int
    profile: bytes | None  # ICC
    scaled_from: str = ""
    plain: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """An upright RGB image in sRGB."""

    image: Image.Image
    size: tuple[int, int]  # of the original
    decoding: Decoding


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) where it is absent or unreadable."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the pixels are good even where the metadata is damaged
        return 1


def finish(stored: Stored) -> Decoded:
    """Turn an image upright and convert it to sRGB; put transparency over `BACKGROUND`."""
    image, size = stored.image, stored.size
    if (transpose := EXIF_TRANSPOSE.get(stored.orientation)) is not None:
        image = image.transpose(transpose)
        size = size[::-1] if stored.orientation >= 5 else size
    opacity = None
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        opacity = layered.getchannel("A")
        image = image.convert("L") if image.mode in ("L", "LA") else layered.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "LAB":
        image = lab_to_srgb(image)
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    converted = to_srgb(image, stored.profile)
    rgb = image.convert("RGB") if converted is None else converted
    if opacity is not None:
        rgb.putalpha(opacity)
        layered = Image.new("RGBA", rgb.size, (*BACKGROUND, 255))
        layered.alpha_composite(rgb)
        rgb = layered.convert("RGB")
    rgb.info = {}  # no writer is to store a profile, a comment or an orientation again
    decoder = PLAIN if stored.plain and converted is None else CONVERTED
    return Decoded(rgb, size, Decoding(decoder, stored.scaled_from))
