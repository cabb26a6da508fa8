"""Contact sheets: each query beside its hits, drawn with Pillow.

Owns layout, type and the picture file. Does not search, open image files or read the store: the
caller brings pictures that are already decoded and turned upright.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geosim.search.render.drawing import (
    INK,
    LINE,
    MUTED,
    NEUTRAL,
    OTHER,
    PAPER,
    SAME,
    SLATE,
    SLATE_TEXT,
    WHITE,
    Colour,
    framed_picture,
    rounded_mask,
    shortened,
    text_width,
    unequal_sign,
    write,
)
from geosim.trainer.errors import QueryError
from geosim.trainer.files import replacing
from PIL import Image, ImageDraw

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Endings a sheet can be saved under, and Pillow's name of each format."""

COLUMNS = 5
"""Hits per line: with the query beside them, the sheet fits a README at full width."""

# Layout, in pixels. One sheet is MARGIN + CARD + MARGIN wide, whatever it shows.
PICTURE = 176
QUERY_PICTURE = 216
CAPTION = 68
GAP = 18
PAD = 22
MARGIN = 20
PANEL = QUERY_PICTURE + 2 * PAD
CARD = PANEL + PAD + COLUMNS * (PICTURE + GAP) - GAP + PAD
FOOTER = 30


@dataclass(frozen=True, slots=True)
class SheetQuery:
    """The left side of a row.

    Attributes:
        picture: any size and mode, upright; None where it is not on this machine.
        path: what the user asked for, any text.
        label: class name, or None if it is unknown.
    """

    picture: Image.Image | None
    path: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class SheetHit:
    """One answer of a row.

    Attributes:
        picture: any size and mode, upright; None where it is not on this machine.
        rank: 1 is the best.
        score: cosine, -1 to 1.
        label: class name.
        path: stored path.
        same_class: whether the query has this class; None if the query's class is unknown.
        identical: whether the file has the very bytes of the query.
    """

    picture: Image.Image | None
    rank: int
    score: float
    label: str
    path: str
    same_class: bool | None = None
    identical: bool = False

    @property
    def colour(self) -> Colour:
        """Colour of the frame and of the class name."""
        return {True: SAME, False: OTHER, None: NEUTRAL}[self.same_class]


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A query and all of its hits, in the order in which they are drawn."""

    query: SheetQuery
    hits: Sequence[SheetHit]


def contact_sheet(rows: Sequence[SheetRow]) -> Image.Image:
    """Draw every query with every one of its hits: an RGB image, rows under each other.

    Small pictures are enlarged, large ones reduced; each is shown whole and in proportion.

    Raises:
        QueryError: there is no row.
    """
    if not rows:
        raise QueryError("received no query to draw; a contact sheet needs at least one")
    heights = [_card_height(row) for row in rows]
    size = (CARD + 2 * MARGIN, sum(heights) + MARGIN * (len(rows) + 1) + FOOTER)
    sheet = Image.new("RGB", size, PAPER)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        _draw_card(sheet, row, top, height)
        top += height + MARGIN
    _draw_legend(sheet, top - 4)
    return sheet


def save_sheet(rows: Sequence[SheetRow], path: Path) -> Path:
    """Draw a contact sheet and write it to ``path``, whose ending chooses the format.

    The file is written beside ``path`` and then renamed, so nobody sees half a sheet.

    Raises:
        QueryError: there is no row, the ending is none of `FORMATS`, the folder is missing, or the
            file cannot be written.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise QueryError(
            f"a sheet cannot be saved as {path.name}: the ending is {path.suffix or 'missing'!r}; "
            f"expected one of {', '.join(FORMATS)}"
        )
    if not path.parent.is_dir():
        raise QueryError(f"the folder {path.parent} of the sheet does not exist; create it first")
    sheet = contact_sheet(rows)
    try:
        with replacing(path) as beside:
            sheet.save(beside, kind, quality=92)
    except OSError as error:
        raise QueryError(
            f"the sheet of {sheet.width} x {sheet.height} px cannot be written to {path}: {error}; "
            "name a .png in a folder that can be written to, or draw fewer queries"
        ) from error
    return path


def _card_height(row: SheetRow) -> int:
    """Return the height of a row's card: the query panel or the lines of hits, the taller."""
    lines = -(-len(row.hits) // COLUMNS)
    hits = lines * (PICTURE + CAPTION + GAP) - GAP
    return 2 * PAD + max(hits, QUERY_PICTURE + CAPTION + 30)


def _draw_card(sheet: Image.Image, row: SheetRow, top: int, height: int) -> None:
    """Draw one row: the card, the dark panel of the query, and the hits line by line."""
    draw = ImageDraw.Draw(sheet)
    x = MARGIN
    sheet.paste(LINE, (x, top), rounded_mask(CARD, height, 12))
    sheet.paste(WHITE, (x + 1, top + 1), rounded_mask(CARD - 2, height - 2, 11))
    sheet.paste(SLATE, (x, top), rounded_mask(CARD, height, 12).crop((0, 0, PANEL, height)))

    left, down = MARGIN + PAD, top + PAD
    write(draw, (left, down - 4), "QUERY", 13, SLATE_TEXT)
    known = [hit.same_class for hit in row.hits if hit.same_class is not None]
    if known:
        share = f"{sum(known)} of {len(known)} same class"
        write(draw, (left + QUERY_PICTURE, down - 4), share, 13, SLATE_TEXT, right=True)
    down += 20
    framed_picture(sheet, row.query.picture, (left, down), QUERY_PICTURE, SLATE_TEXT)
    down += QUERY_PICTURE + 12
    if row.query.label is not None:
        write(draw, (left, down), shortened(row.query.label, 18, QUERY_PICTURE), 18, WHITE)
        down += 26
    write(draw, (left, down), shortened(row.query.path, 13, QUERY_PICTURE), 13, SLATE_TEXT)

    hits_left = MARGIN + PANEL + PAD
    if not row.hits:
        write(draw, (hits_left, top + PAD), "no hits", 18, MUTED)
    for i, hit in enumerate(row.hits):
        x = hits_left + i % COLUMNS * (PICTURE + GAP)
        y = top + PAD + i // COLUMNS * (PICTURE + CAPTION + GAP)
        _draw_hit(sheet, hit, (x, y))


def _draw_hit(sheet: Image.Image, hit: SheetHit, at: tuple[int, int]) -> None:
    """Draw a framed picture with its caption: rank and score, class, path."""
    draw = ImageDraw.Draw(sheet)
    x, y = at
    framed_picture(sheet, hit.picture, at, PICTURE, hit.colour)
    if hit.same_class is False:
        unequal_sign(sheet, (x + PICTURE - 30, y + 8), 22)
    right, y = x + PICTURE, y + PICTURE + 7
    rank = f"{hit.rank}"
    write(draw, (x, y), rank, 17, INK)
    write(draw, (right, y), f"{hit.score:.4f}", 17, INK, right=True)
    if hit.identical:
        start = x + text_width(rank, 17) + 8
        sheet.paste(INK, (int(start), y + 1), rounded_mask(62, 18, 9))
        write(draw, (start + 31 - text_width("identical", 12) / 2, y + 2), "identical", 12, WHITE)
    label_colour = MUTED if hit.same_class is None else hit.colour
    write(draw, (x, y + 23), shortened(hit.label, 15, PICTURE), 15, label_colour)
    write(draw, (x, y + 43), shortened(hit.path, 12, PICTURE), 12, MUTED)


def _draw_legend(sheet: Image.Image, top: int) -> None:
    """Explain the frames under the last row."""
    draw = ImageDraw.Draw(sheet)
    x = float(MARGIN + 4)
    sheet.paste(SAME, (int(x), top + 2), rounded_mask(16, 16, 4))
    sheet.paste(PAPER, (int(x) + 3, top + 5), rounded_mask(10, 10, 2))
    write(draw, (x + 24, top), "class of the query", 14, MUTED)
    x += 24 + text_width("class of the query", 14) + 26
    unequal_sign(sheet, (int(x), top + 1), 18)
    write(draw, (x + 26, top), "another class", 14, MUTED)
    note = "score: cosine similarity, 1 is the same direction"
    write(draw, (sheet.width - MARGIN - 4, top), note, 14, MUTED, right=True)
