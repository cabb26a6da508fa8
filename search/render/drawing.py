"""Contact sheets as images: each query beside its hits. Owns the layout; opens no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from geosim.search.crop import CropBox
from geosim.search.fields import shown as shown_value
from geosim.search.render.fonts import drawable, runs
from geosim.search.types import Hit
from geosim.trainer.errors import QueryError
from geosim.trainer.text import NO_CLASS, printable

Point = tuple[float, float]
PAPER, WHITE, LINE, BACKDROP = "#f0f1f3", "#ffffff", "#d6d9de", "#e2e5e9"
SLATE, SLATE_TEXT, INK, MUTED = "#222b38", "#a5b0bf", "#1c2128", "#6c7480"
# Green and orange of the Okabe-Ito palette, darkened until white text on them is readable. A sign
# accompanies the orange, so that no information is carried by colour alone.
SAME_CLASS, OTHER_CLASS, UNKNOWN_CLASS = "#00805e", "#c85000", "#969da7"

COLUMNS = 5
"""Hits per line."""

# Layout in pixels. Every sheet is OUTER_MARGIN + CARD + OUTER_MARGIN wide.
PICTURE, QUERY_PICTURE, FRAME = 176, 216, 3
FIELD = 17  # a line of a field in a caption
CAPTION, GAP, PADDING, OUTER_MARGIN, FOOTER = 68, 18, 22, 20, 30
PANEL = QUERY_PICTURE + 2 * PADDING
CARD = PANEL + PADDING + COLUMNS * (PICTURE + GAP) - GAP + PADDING

SHAPING = bool(features.check("raqm") and features.check("fribidi"))
"""Whether Pillow lays out scripts that are written from right to left, or joins letters."""

SUPERSAMPLING = 4
"""Factor at which round shapes are drawn before they are reduced, so that edges are smooth."""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A query with its class, None if unknown and empty without one, and its hits, best first.

    Pictures are upright, of any size and mode; None if they are not on this machine. ``crop`` is
    the part of the query's picture that was searched by; None for the whole.
    """

    query: str
    label: str | None
    picture: Image.Image | None
    hits: Sequence[tuple[Hit, Image.Image | None]]
    crop: CropBox | None = None


def contact_sheet(rows: Sequence[SheetRow]) -> Image.Image:
    """Draw every query with all its hits as an RGB image; raise `QueryError` without a row."""
    if not rows:
        raise QueryError("received no query to draw; a contact sheet needs at least one")
    lines = [-(-len(row.hits) // COLUMNS) for row in rows]
    least = QUERY_PICTURE + CAPTION + 30
    heights = [
        2 * PADDING + max(n * _hit_height(row) - GAP, least)
        for n, row in zip(lines, rows, strict=True)
    ]
    size = (CARD + 2 * OUTER_MARGIN, sum(heights) + OUTER_MARGIN * (len(rows) + 1) + FOOTER)
    sheet, top = Image.new("RGB", size, PAPER), OUTER_MARGIN
    for row, height in zip(rows, heights, strict=True):
        _draw_row(sheet, row, top, height)
        top += height + OUTER_MARGIN
    _draw_legend(sheet, top - 4)
    return sheet


def _hit_height(row: SheetRow) -> int:
    """Return the height of a hit with its caption and the gap below."""
    shown = max((len(hit.shown) for hit, _ in row.hits), default=0)
    return PICTURE + CAPTION + FIELD * shown + GAP


def _draw_row(sheet: Image.Image, row: SheetRow, top: int, height: int) -> None:
    """Draw a card with the dark panel of the query, and the hits line by line."""
    mask = _rounded_mask(CARD, height, 12)
    sheet.paste(LINE, (OUTER_MARGIN, top), mask)
    sheet.paste(WHITE, (OUTER_MARGIN + 1, top + 1), _rounded_mask(CARD - 2, height - 2, 11))
    sheet.paste(SLATE, (OUTER_MARGIN, top), mask.crop((0, 0, PANEL, height)))

    left, y = OUTER_MARGIN + PADDING, top + PADDING
    _draw_text(sheet, (left, y - 4), "QUERY", 13, SLATE_TEXT)
    labels = [hit.label for hit, _ in row.hits if hit.label]
    if row.label and labels:
        share = f"{labels.count(row.label)} of {len(labels)}"
        at = (left + QUERY_PICTURE, y - 4)
        _draw_text(sheet, at, f"{share} same class", 13, SLATE_TEXT, "ra")
    _draw_picture(sheet, row.picture, (left, y + 20), QUERY_PICTURE, SLATE_TEXT, row.crop)
    y += 20 + QUERY_PICTURE + 12
    if row.label is not None:
        colour = WHITE if row.label else SLATE_TEXT
        _draw_name(sheet, (left, y), row.label or NO_CLASS, 18, QUERY_PICTURE, colour)
        y += 26
    _draw_name(sheet, (left, y), row.query, 13, QUERY_PICTURE, SLATE_TEXT)

    left, y = OUTER_MARGIN + PANEL + PADDING, top + PADDING
    if not row.hits:
        _draw_text(sheet, (left, y), "no hits", 18, MUTED)
    for i, (hit, picture) in enumerate(row.hits):
        line, column = divmod(i, COLUMNS)
        at = (left + column * (PICTURE + GAP), y + line * _hit_height(row))
        frame = UNKNOWN_CLASS
        if row.label and hit.label:
            frame = SAME_CLASS if hit.label == row.label else OTHER_CLASS
        _draw_picture(sheet, picture, at, PICTURE, frame, hit.box)
        _draw_caption(sheet, hit, (at[0], at[1] + PICTURE + 7), frame)
        if frame == OTHER_CLASS:
            _draw_unequal_sign(sheet, (at[0] + PICTURE - 30, at[1] + 8), 22)


def _draw_caption(sheet: Image.Image, hit: Hit, at: tuple[int, int], frame: str) -> None:
    """Draw rank, score, class and path of a hit, and the fields to show."""
    x, y = at
    label_colour = MUTED if frame == UNKNOWN_CLASS else frame
    _draw_text(sheet, (x, y), str(hit.rank), 17, INK)
    if not isnan(hit.score):  # as where images are listed without a query
        _draw_text(sheet, (x + PICTURE, y), f"{hit.score:.4f}", 17, INK, "ra")
    if hit.identical:
        badge = x + int(_font(17).getlength(str(hit.rank))) + 8
        sheet.paste(INK, (badge, y + 1), _rounded_mask(62, 18, 9))
        _draw_text(sheet, (badge + 31, y + 10), "identical", 12, WHITE, "mm")
    _draw_name(sheet, (x, y + 23), hit.label or NO_CLASS, 15, PICTURE, label_colour)
    _draw_name(sheet, (x, y + 43), hit.path, 12, PICTURE, MUTED)
    for line, (name, value) in enumerate(hit.shown.items()):
        text = f"{printable(name)}: {shown_value(value)}"
        _draw_name(sheet, (x, y + 61 + FIELD * line), text, 12, PICTURE, INK)


def _draw_legend(sheet: Image.Image, top: int) -> None:
    """Explain frames, sign and score below the last row."""
    x = OUTER_MARGIN + 4
    sheet.paste(SAME_CLASS, (x, top + 2), _rounded_mask(16, 16, 4))
    sheet.paste(PAPER, (x + 3, top + 5), _rounded_mask(10, 10, 2))
    _draw_text(sheet, (x + 24, top), "class of the query", 14, MUTED)
    _draw_unequal_sign(sheet, (x + 165, top + 1), 18)
    _draw_text(sheet, (x + 191, top), "another class", 14, MUTED)
    note = "score: cosine similarity, 1 is the same direction"
    _draw_text(sheet, (sheet.width - OUTER_MARGIN - 4, top), note, 14, MUTED, "ra")


def _draw_picture(
    sheet: Image.Image,
    picture: Image.Image | None,
    at: tuple[int, int],
    side: int,
    frame: str,
    crop: CropBox | None = None,
) -> None:
    """Draw a picture, whole and in proportion, or a note that it is missing, in a square frame."""
    inner = side - 2 * FRAME
    tile = Image.new("RGB", (inner, inner), BACKDROP)
    if picture is None:
        _draw_text(tile, (inner / 2, inner / 2), "picture not\non this machine", 14, MUTED, "mm")
    else:
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        # Not ImageOps.pad: it loses a picture that is hundreds of times as long as wide.
        scale = inner / max(picture.size)
        width, height = (max(1, round(scale * length)) for length in picture.size)
        fitted = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        if crop is not None:
            _draw_box(fitted, crop)
        tile.paste(fitted, ((inner - width) // 2, (inner - height) // 2))
    sheet.paste(frame, at, _rounded_mask(side, side, 8))
    sheet.paste(tile, (at[0] + FRAME, at[1] + FRAME), _rounded_mask(inner, inner, 6))


def _draw_box(picture: Image.Image, crop: CropBox) -> None:
    """Outline a part of a picture, which may be reduced, in black and white."""
    across = picture.width / crop.picture_width
    down = picture.height / crop.picture_height
    left, top = round(crop.x * across), round(crop.y * down)
    right = max(left, round((crop.x + crop.width) * across) - 1)
    bottom = max(top, round((crop.y + crop.height) * down) - 1)
    draw = ImageDraw.Draw(picture)
    for inset, colour in enumerate((INK, WHITE, WHITE, INK)):
        if right - left >= 2 * inset and bottom - top >= 2 * inset:
            box = (left + inset, top + inset, right - inset, bottom - inset)
            draw.rectangle(box, outline=colour)


def _draw_unequal_sign(sheet: Image.Image, at: tuple[int, int], side: int) -> None:
    """Draw the sign of another class."""
    sheet.paste(WHITE, (at[0] - 1, at[1] - 1), _rounded_mask(side + 2, side + 2, side // 2 + 1))
    sheet.paste(OTHER_CLASS, at, _rounded_mask(side, side, side // 2))
    _draw_text(sheet, (at[0] + side / 2, at[1] + side / 2), "≠", side, WHITE, "mm")


def _rounded_mask(width: int, height: int, radius: int) -> Image.Image:
    """Return a filled rectangle with smooth round corners as a mask, mode L."""
    ends = Image.new("L", (SUPERSAMPLING * width, SUPERSAMPLING * 2 * radius))
    box = (0, 0, ends.width - 1, ends.height - 1)
    ImageDraw.Draw(ends).rounded_rectangle(box, SUPERSAMPLING * radius, 255)
    ends = ends.reduce(SUPERSAMPLING)
    mask = Image.new("L", (width, height), 255)
    mask.paste(ends.crop((0, 0, width, radius)), (0, 0))
    mask.paste(ends.crop((0, radius, width, 2 * radius)), (0, height - radius))
    return mask


@lru_cache(maxsize=64)
def _font(size: int, file: Path | None = None) -> ImageFont.FreeTypeFont:
    """Return the font of a file; without one Pillow's own, which has only ASCII."""
    if file is not None:
        return ImageFont.truetype(file, size)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise QueryError("this Pillow draws no fonts (FreeType is missing); install it from PyPI")
    return font


def _draw_text(
    image: Image.Image, at: Point, text: str, size: int, colour: str, anchor: str = "la"
) -> None:
    """Draw a text in one font; ``anchor`` is Pillow's name of its point that is at ``at``."""
    ((_, font),) = _fonts(text, size)
    ImageDraw.Draw(image).text(at, text, colour, font, anchor=anchor, align="center")


def _draw_name(
    image: Image.Image, at: Point, name: str, size: int, width: int, colour: str
) -> None:
    """Draw a name, at most ``width`` pixels wide, in fonts that have its characters."""
    draw = ImageDraw.Draw(image)
    fonts = _fonts(_shorten(name, size, width), size)
    x, baseline = at[0], at[1] + fonts[0][1].getmetrics()[0]
    for part, font in fonts:
        # A path reads from left to right, whatever the script of its parts is.
        direction = "ltr" if font.layout_engine == ImageFont.Layout.RAQM else None
        draw.text((x, baseline), part, colour, font, anchor="ls", direction=direction)
        x += font.getlength(part)


def _fonts(text: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """Return the parts of a text with a font for each."""
    if text.replace("…", "").isascii():
        return [(text, _font(size))]
    return [(part, _font(size, file)) for part, file in runs(text)]


def _shorten(text: str, size: int, width: int) -> str:
    """Return ``text`` at most ``width`` pixels wide, with escapes for what no font has.

    Leading folders of a path are cut first, then the middle of what remains.
    """
    text = drawable(text, shaping=SHAPING)

    def fits(shown: str) -> bool:
        # No character is narrower than a pixel; measuring a very long text is slow.
        if len(shown) > width:
            return False
        return sum(font.getlength(part) for part, font in _fonts(shown, size)) <= width

    parts = text.split("/")
    choices = [text, *(f"…/{'/'.join(parts[start:])}" for start in range(1, len(parts)))]
    last, most = choices[-1], min(len(choices[-1]), width) // 2
    choices += [f"{last[:kept]}…{last[-kept:]}" for kept in range(most, 0, -1)]
    return next(filter(fits, choices))
