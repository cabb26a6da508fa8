"""Contact sheets of search results: opens the pictures on this machine and writes the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar

from PIL import Image

from geosim.ingest.catalog import ImageReader
from geosim.search.render.drawing import COLUMNS, SheetRow, contact_sheet
from geosim.search.types import Hit, Result
from geosim.trainer.data.images import open_rgb
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.disk import explain
from geosim.trainer.drawn import save_options
from geosim.trainer.errors import ImageError, QueryError
from geosim.trainer.files import replacing
from geosim.trainer.text import on_disk
from geosim.trainer.working import Working

T = TypeVar("T")

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".pdf": "PDF"}
"""File name endings of a sheet, and Pillow's name of each format."""

PAGE_LINES = 6
"""Lines of hits on a page of a PDF, which is then about as high as A4."""

PAGE_INCHES = 8.27
"""Width of such a page: A4's."""

PNG_LEVEL = 1
"""zlib's level for a PNG: a third of the time of the default, for 1 to 8 % more bytes."""

DECODED_SIDE = 512
"""Pixels a side at which pictures are decoded; a large JPEG is read at a fraction of its size."""


def save_results(results: Sequence[Result], path: Path, working: Working) -> None:
    """Draw all results without an error and write the sheet to ``path``.

    Raises:
        QueryError: unknown ending, missing folder, or nothing to draw.
    """
    stored, rows = ImageReader(working.datasets), []
    for result in results:
        if result.error is None:
            label = None if result.indexed is None else result.indexed.label
            picture = open_picture(
                Files().read, Record(result.query, "", str(on_disk(Path(result.query))))
            )
            if picture is None and result.indexed is not None:
                picture = open_picture(stored.read, result.indexed.path)
            hits = [(hit, open_picture(stored.read, hit.path)) for hit in result.hits]
            rows.append(SheetRow(result.query, label, picture, hits, result.crop))
    save_sheet(rows, path)


def open_picture(read: Callable[[T], Encoded], image: T) -> Image.Image | None:
    """Return a picture at the size that a sheet needs; None if it cannot be read."""
    try:
        return open_rgb(read(image), hint=DECODED_SIDE)
    except ImageError:
        return None


def save_stored(
    rows: Sequence[tuple[str, str, Sequence[Hit]]], path: Path, working: Working
) -> None:
    """Draw indexed images, each with its stored path and class, beside others of the collection.

    Raises:
        QueryError: as `save_sheet`.
    """
    read = ImageReader(working.datasets).read
    drawn = [
        SheetRow(
            stored,
            label,
            open_picture(read, stored),
            [(hit, open_picture(read, hit.path)) for hit in hits],
        )
        for stored, label, hits in rows
    ]
    save_sheet(drawn, path)


def check_sheet(path: Path) -> str:
    """Return Pillow's name of the format of a sheet.

    Raises:
        QueryError: the ending is none of `FORMATS`, or the folder is missing.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise QueryError(
            f"a sheet cannot be saved as {path.name}: the ending is {path.suffix or 'missing'!r}; "
            f"expected one of {', '.join(FORMATS)}"
        )
    if not path.parent.is_dir():
        raise QueryError(f"the folder {path.parent} of the sheet does not exist; create it first")
    return kind


def save_sheet(rows: Sequence[SheetRow], path: Path) -> Path:
    """Draw a contact sheet and write it to ``path``, whose ending chooses the format.

    Raises:
        QueryError: there is no row, the ending is none of `FORMATS`, the folder is missing, or the
            file cannot be written.
    """
    kind = check_sheet(path)
    try:
        with replacing(path) as temporary:
            write_sheet(rows, temporary, kind)
    except OSError as error:
        raise QueryError(
            f"the sheet of {len(rows):,} queries cannot be written to {path}: "
            f"{explain(error, path)}; "
            "name a .png or .pdf in a folder that can be written to, or draw fewer queries"
        ) from error
    return path


def write_sheet(rows: Sequence[SheetRow], target: Path | IO[bytes], kind: str) -> None:
    """Draw a contact sheet and write it as a ``kind`` of `FORMATS`; a PDF in pages.

    Raises:
        QueryError: there is no row.
        OSError: it cannot be written.
    """
    if kind != "PDF":
        options = save_options(kind)
        contact_sheet(rows).save(target, kind, quality=92, compress_level=PNG_LEVEL, **options)
        return
    pages = [contact_sheet(page) for page in _pages(rows)]
    resolution = pages[0].width / PAGE_INCHES
    others = {"save_all": True, "append_images": pages[1:]}
    pages[0].save(target, kind, quality=92, resolution=resolution, creator="geosim", **others)


def _pages(rows: Sequence[SheetRow]) -> list[list[SheetRow]]:
    """Part queries, and the hits of one, into pages of at most `PAGE_LINES` lines."""
    pages: list[list[SheetRow]] = []
    free = 0
    for row in rows:
        for at in range(0, max(1, len(row.hits)), PAGE_LINES * COLUMNS):
            part = replace(row, hits=row.hits[at : at + PAGE_LINES * COLUMNS])
            lines = max(2, -(-len(part.hits) // COLUMNS))  # the query is as high as two
            if lines > free:
                pages.append([])
                free = PAGE_LINES
            pages[-1].append(part)
            free -= lines
    return pages or [[]]
