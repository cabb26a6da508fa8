"""Columns of text as facts with types: two of coordinates become a point on the earth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geosim.trainer.data.facts import GEO, NUMBER, Layer, Value
from geosim.trainer.facts.types import LATITUDE, LONGITUDE, Column, read_column

LOCATION = "location"
"""Name of the point that a column of latitudes and one of longitudes make."""

_COORDINATES = {
    LATITUDE: ("latitude", "lat", "latitude_wgs84", "lat_wgs84"),
    LONGITUDE: ("longitude", "lon", "long", "lng", "longitude_wgs84", "lon_wgs84"),
}
_LIMITS = {LATITUDE: 90.0, LONGITUDE: 180.0}  # degrees


def as_layer(
    columns: Mapping[str, Sequence[str]],
    rows: Mapping[str, Sequence[int]],
    forced: Mapping[str, str],
    where: Callable[[int], str],
    *,
    decimal_comma: bool = False,
) -> tuple[Layer, list[str]]:
    """Return columns of text as facts with types, and what to tell about the types.

    ``rows`` are those of each picture, ``forced`` the types of columns that were given, and
    ``where`` tells where a row is.

    Raises:
        DatasetError: a column has no value of its given type, or dates with two readings.
    """
    read: dict[str, Column] = {}
    for name, cells in columns.items():
        if any(cells):
            kind = forced.get(name)
            read[name] = read_column(name, cells, where, kind, decimal_comma=decimal_comma)
    notes = [column.note for column in read.values() if column.note]
    latitude, longitude = (_coordinate(read, forced, kind) for kind in (LATITUDE, LONGITUDE))
    if latitude and longitude:
        pair = (read[latitude].values, read[longitude].values)
        wrong = _first_beyond(pair)
        if wrong is None:
            del read[latitude], read[longitude]
            name = LOCATION if LOCATION not in read else f"{latitude} {longitude}"
            read[name] = Column(GEO, _Points(*pair))
        else:
            notes.append(
                f"columns {latitude} and {longitude} stay numbers: "
                f"{tuple(values[wrong] for values in pair)} "
                f"({where(wrong)}) is no place in degrees"
            )
    values = {name: column.values for name, column in read.items()}
    return Layer(values, {name: column.type for name, column in read.items()}, rows), notes


def _coordinate(read: Mapping[str, Column], forced: Mapping[str, str], kind: str) -> str | None:
    """Return the column of latitudes or longitudes, if there is one."""
    given = [name for name in read if forced.get(name) == kind]
    named = [
        name
        for name, column in read.items()
        if name not in forced and column.type == NUMBER and name.casefold() in _COORDINATES[kind]
    ]
    found = given or named
    return found[0] if len(found) == 1 else None


def _first_beyond(pair: Sequence[Sequence[Value | None]]) -> int | None:
    """Return the first row whose latitude or longitude is no place in degrees, if there is one."""
    beyond = [
        {one for one in {*values} if one is not None and abs(one) > most}
        for values, most in zip(pair, (_LIMITS[LATITUDE], _LIMITS[LONGITUDE]), strict=True)
    ]
    rows = enumerate(zip(*pair, strict=True))
    return next((row for row, (lat, lon) in rows if lat in beyond[0] or lon in beyond[1]), None)


class _Points(Sequence[Value | None]):
    """The points of two columns. Each is made when it is asked for: those of all rows are large."""

    def __init__(
        self, latitudes: Sequence[Value | None], longitudes: Sequence[Value | None]
    ) -> None:
        self._latitudes, self._longitudes = latitudes, longitudes

    def __len__(self) -> int:
        return len(self._latitudes)

    def __getitem__(self, row: Any) -> Any:
        latitude, longitude = self._latitudes[row], self._longitudes[row]
        if latitude is None or longitude is None:
            return None
        return {"lat": float(latitude), "lon": float(longitude)}


def describe_types(types: Mapping[str, str]) -> str:
    """Return facts with their types for a message."""
    return ", ".join(f"{name} {kind}" for name, kind in types.items()) or "none"
