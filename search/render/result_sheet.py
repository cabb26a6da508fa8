"""From search results to a contact sheet: fetches the pictures that this machine has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geosim.ingest.catalog import ImageReader
from geosim.search.render.sheet import SheetHit, SheetQuery, SheetRow, save_sheet
from geosim.search.types import Result
from geosim.trainer.data.images import open_rgb
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.errors import ImageError
from geosim.trainer.working import Working
from PIL import Image

PICTURE_HINT = 512
"""Pixels a side that a sheet can use at most; lets large JPEGs be decoded at a fraction."""


def save_results(results: Sequence[Result], path: Path, working: Working) -> None:
    """Draw every result that has an answer and write the sheet.

    Raises:
        QueryError: unknown ending, missing folder, or nothing to draw.
    """
    pictures = ImageReader(working.datasets)
    save_sheet([_row(one, pictures) for one in results if one.error is None], path)


def _row(result: Result, pictures: ImageReader) -> SheetRow:
    own = result.indexed.label if result.indexed else None
    hits = [
        SheetHit(
            picture=_stored(pictures, hit.path),
            rank=hit.rank,
            score=hit.score,
            label=hit.label,
            path=hit.path,
            same_class=None if own is None else hit.label == own,
            identical=hit.identical,
        )
        for hit in result.hits
    ]
    picture = _file(result.query)
    if picture is None and result.indexed is not None:
        picture = _stored(pictures, result.indexed.path)
    return SheetRow(SheetQuery(picture, result.query, own), hits)


def _stored(pictures: ImageReader, path: str) -> Image.Image | None:
    try:
        return open_rgb(pictures.read(path), hint=PICTURE_HINT)
    except ImageError:
        return None


def _file(text: str) -> Image.Image | None:
    try:
        return open_rgb(Files().read(Record(text, "", text)), hint=PICTURE_HINT)
    except ImageError:
        return None
