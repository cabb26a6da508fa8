"""Contact sheets of search results: opens the pictures on this machine and writes the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from geosim.ingest.catalog import ImageReader
from geosim.search.render.drawing import SheetRow, contact_sheet
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

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""File name endings of a sheet, and Pillow's name of each format."""

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
    sheet = contact_sheet(rows)
    try:
        with replacing(path) as temporary:
            sheet.save(temporary, kind, quality=92, **save_options(kind))
    except OSError as error:
        raise QueryError(
            f"the sheet of {sheet.width} x {sheet.height} px cannot be written to {path}: "
            f"{explain(error, path)}; "
            "name a .png in a folder that can be written to, or draw fewer queries"
        ) from error
    return path
