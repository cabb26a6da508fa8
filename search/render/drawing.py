"""The parts a contact sheet is drawn with: colours, framed pictures, lines of text.

Knows nothing of queries and hits: see `search/render/sheet.py`.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LAST_SHOWN = "\u052f"
"""End of the Latin, Greek and Cyrillic blocks, which DejaVu Sans covers."""

FRAME = 3
"""Width of a picture's frame in pixels."""

Colour = tuple[int, int, int]
PAPER: Colour = (240, 241, 243)
WHITE: Colour = (255, 255, 255)
LINE: Colour = (214, 217, 222)
SLATE: Colour = (34, 43, 56)
SLATE_TEXT: Colour = (165, 176, 191)
INK: Colour = (28, 33, 40)
MUTED: Colour = (108, 116, 128)
BACKDROP: Colour = (226, 229, 233)
# Green and orange of the Okabe-Ito palette, darkened until white text on them is readable; the
# orange also carries a sign, so that no verdict rests on colour alone.
SAME: Colour = (0, 128, 94)
OTHER: Colour = (200, 80, 0)
NEUTRAL: Colour = (150, 157, 167)


def framed_picture(
    sheet: Image.Image, picture: Image.Image | None, at: tuple[int, int], side: int, frame: Colour
) -> None:
    """Draw a picture, or a note that there is none, in a square frame with round corners."""
    inner = side - 2 * FRAME
    tile = Image.new("RGB", (inner, inner), BACKDROP)
    if picture is None:
        draw = ImageDraw.Draw(tile)
        for line, text in enumerate(("picture not", "on this machine")):
            x = (inner - text_width(text, 14)) / 2
            write(draw, (x, inner / 2 - 18 + 18 * line), text, 14, MUTED)
    else:
        fitted = _fitted(picture, inner)
        tile.paste(fitted, ((inner - fitted.width) // 2, (inner - fitted.height) // 2))
    sheet.paste(frame, at, rounded_mask(side, side, 8))
    sheet.paste(tile, (at[0] + FRAME, at[1] + FRAME), rounded_mask(inner, inner, 6))


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    """Return the whole picture, in proportion, as RGB with its longer side ``side`` pixels."""
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.new("RGB", layer.size, WHITE)
        picture.paste(layer, mask=layer.getchannel("A"))
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def unequal_sign(sheet: Image.Image, at: tuple[int, int], side: int) -> None:
    """Draw the sign of another class, a white "not equal" on a disc; the font has no such glyph."""
    big = side * 4
    disc = Image.new("RGB", (big, big), OTHER)
    draw = ImageDraw.Draw(disc)
    for y in (0.40, 0.60):
        draw.line((0.27 * big, y * big, 0.73 * big, y * big), WHITE, big // 10)
    draw.line((0.38 * big, 0.76 * big, 0.62 * big, 0.24 * big), WHITE, big // 10)
    sheet.paste(WHITE, (at[0] - 1, at[1] - 1), rounded_mask(side + 2, side + 2, side // 2 + 1))
    sheet.paste(disc.resize((side, side)), at, rounded_mask(side, side, side // 2))


def rounded_mask(width: int, height: int, radius: int) -> Image.Image:
    """Return a mask, mode L: a filled rectangle with smooth round corners."""
    big = Image.new("L", (8 * radius, 8 * radius))
    ImageDraw.Draw(big).ellipse((0, 0, 8 * radius - 1, 8 * radius - 1), 255)
    disc = big.resize((2 * radius, 2 * radius), Image.Resampling.BOX)
    mask = Image.new("L", (width, height), 255)
    for x, right in ((0, 0), (width - radius, radius)):
        for y, down in ((0, 0), (height - radius, radius)):
            mask.paste(disc.crop((right, down, right + radius, down + radius)), (x, y))
    return mask


@lru_cache(maxsize=32)
def _font(size: int, *, ascii_only: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font that comes with a library, so that a sheet looks the same on every machine.

    Pillow's own knows ASCII alone; Matplotlib's DejaVu Sans knows most European scripts.
    """
    package = find_spec("matplotlib")
    if ascii_only or package is None or package.origin is None:
        return ImageFont.load_default(size)
    folder = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / "DejaVuSans.ttf", size)


def _font_for(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return _font(size, ascii_only=text.replace("…", "").isascii())


def text_width(text: str, size: int) -> float:
    """Return the width of one line of text in pixels."""
    return _font_for(text, size).getlength(text)


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: Colour,
    *,
    right: bool = False,
) -> None:
    """Write one line with its top left, or top right, corner at ``at``."""
    draw.text(at, text, colour, _font_for(text, size), anchor="ra" if right else "la")


def shortened(text: str, size: int, width: int) -> str:
    """Return ``text`` as the fonts can show it, shortened until it is at most ``width`` wide.

    Leading folders of a path go first, then the middle of what is left. Control characters, and
    scripts beyond those of `LAST_SHOWN`, become ``?``.
    """
    plain = unicodedata.normalize("NFC", text)
    plain = "".join(c if c.isprintable() and c <= LAST_SHOWN else "?" for c in plain)
    shown = plain
    # Text of more characters than pixels is not worth measuring: a path may have hundreds of parts.
    while "/" in plain and (len(shown) > width or text_width(shown, size) > width):
        plain = plain.partition("/")[2]
        shown = f"…/{plain}"
    keep = min(len(shown), width) // 2  # no character is narrower than a pixel
    whole = shown
    while text_width(shown, size) > width:
        shown = f"{whole[:keep]}…{whole[-keep:]}"
        keep -= 1
    return shown
