"""Facts in the EXIF data of pictures: time, camera and location."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from geosim.trainer.data.dataset import Dataset, Rejected, read_records
from geosim.trainer.data.facts import DATE, GEO, TEXT, Layer, Value
from geosim.trainer.data.images import FORMATS
from geosim.trainer.decoding.encoded import Encoded, open_encoded
from geosim.trainer.decoding.limits import check_file
from geosim.trainer.facts.exif_cache import ExifCache
from geosim.trainer.facts.layer import LOCATION
from geosim.trainer.facts.types import read_date
from geosim.trainer.progress import progress_bar
from geosim.trainer.text import stored_name

TYPES = {"time": DATE, "camera": TEXT, LOCATION: GEO}
"""The facts, with their types."""


def exif_facts(
    dataset: Dataset, folder: Path | None = None, *, rehash: bool = False
) -> tuple[Layer, list[str]]:
    """Return the facts in the EXIF data of the pictures, and what to tell about them.

    ``time`` is when the picture was taken, in local time where EXIF tells no zone; ``camera`` is
    maker and model; ``location`` is in degrees, WGS 84. A picture that cannot be read has none.
    What was read is kept in ``folder``; pictures that are unchanged since are read again only with
    ``rehash``.
    """
    columns: dict[str, list[Value | None]] = {name: [] for name in TYPES}
    rows: dict[str, tuple[int]] = {}
    counts: Counter[str] = Counter()
    with progress_bar("EXIF", len(dataset.records)) as bar:
        if folder is None:
            outcomes = read_records(dataset.source, dataset.records, _read, progress=bar.update)
            found = [None if isinstance(one, Rejected) else one for one in outcomes]
        else:
            cache = ExifCache(folder, dataset.location, rehash=rehash)
            found = cache.read(dataset, _read, bar.update)
        for record, one in zip(dataset.records, found, strict=True):
            if one is None:
                continue
            rows[record.path] = (len(rows),)
            for name, value in zip(TYPES, one, strict=True):
                columns[name].append(value)
                counts[name] += value is not None
    told = ", ".join(f"{name} of {counts[name]:,}" for name in TYPES if counts[name]) or "none"
    return Layer(columns, TYPES, rows), [f"EXIF of {len(dataset.records):,} pictures: {told}"]


def _read(data: Encoded) -> list[Value | None] | None:
    """Return the values of `TYPES` in a picture; None without any."""
    try:
        check_file(data, opening=True)
        with open_encoded(data) as file, Image.open(file, formats=FORMATS) as image:
            exif = image.getexif()
            inner, gps = exif.get_ifd(IFD.Exif), exif.get_ifd(IFD.GPSInfo)
    except Exception:  # Pillow raises many kinds for damaged files; the ingest tells them
        return None
    found = [_time(exif, inner), _camera(exif), _location(gps)]
    return found if any(found) else None


def _time(exif: Image.Exif, inner: Mapping[int, Any]) -> Value | None:
    if taken := _text(inner.get(Base.DateTimeOriginal)):
        zoned = read_date(taken + _text(inner.get(Base.OffsetTimeOriginal)))
        return zoned or read_date(taken)
    return read_date(_text(exif.get(Base.DateTime)))


def _camera(exif: Image.Exif) -> Value | None:
    make, model = _text(exif.get(Base.Make)), _text(exif.get(Base.Model))
    named = model.casefold().startswith(make.casefold())
    return (model if named else f"{make} {model}".strip()) or None


def _location(gps: Mapping[int, Any]) -> Value | None:
    """Return the point of degrees, minutes and seconds; None for that of cameras without a fix."""
    latitude = _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "N", "S", 90)
    longitude = _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "E", "W", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None
    return {"lat": latitude, "lon": longitude}


def _degrees(parts: Any, side: Any, plus: str, minus: str, limit: float) -> float | None:
    sign = {plus: 1, minus: -1}.get(_text(side).upper())
    try:
        whole, minutes, seconds = map(float, parts)
        value = whole + minutes / 60 + seconds / 3600
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return round(sign * value, 7) if sign and 0 <= value <= limit else None


def _text(value: Any) -> str:
    """Return the text of a tag; empty without one."""
    return stored_name(value.replace("\0", "").strip()) if isinstance(value, str) else ""
