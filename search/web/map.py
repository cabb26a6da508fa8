"""The map of the collection for the web page: computed by one thread, and sent as few bytes.

Owns which of its points match an expression or lie in an area, too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import orjson
from anyio.to_thread import run_sync
from fastapi import HTTPException
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field

from geosim.ingest.conditions import Condition, Match, Not
from geosim.ingest.schema import Filter
from geosim.ingest.store.base import VectorStore
from geosim.search.fields import Fields
from geosim.search.graph.layout import Layout, ids_of, layout, rows_of, texts_of
from geosim.search.web.answers import (
    MapPoint,
    MapPoints,
    MapProgress,
    MatchesAnswer,
    StoredImage,
)
from geosim.search.web.area import MOST_IN_AREA, parse_area, within
from geosim.search.web.models import MAX_HITS, Id
from geosim.search.web.strict import check_number
from geosim.search.where import parse_where
from geosim.trainer.working import Working

WAIT_SECONDS = 2.0
"""Time that a request waits for the map. Proxies give up after about a minute."""


class MapRequest(BaseModel, extra="forbid"):
    """Points of the map, by the ids of their images and by their rows; others are left out."""

    wanted: list[Id] = Field([], max_length=MAX_HITS, description="Ids of images.")
    tag: str = Field("", description="That of the map which the rows are of; empty for the latest.")
    rows: list[Annotated[int, Field(ge=0), BeforeValidator(check_number)]] = Field(
        [], max_length=MAX_HITS
    )


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """A map, and the bytes that a page reads it from.

    The bytes are the length of a JSON object as little-endian uint32, the object (described at its
    route), spaces to a multiple of 4 bytes, then x and y of all points as
    little-endian uint16.
    """

    layout: Layout

    @cached_property
    def tag(self) -> str:
        """Differs after a change of the collection."""
        digest = hashlib.sha256(self.layout.ids.tobytes())
        digest.update(self.layout.positions.tobytes())
        digest.update(orjson.dumps([self.layout.classes, self._sizes]))
        return digest.hexdigest()[:16]

    @cached_property
    def body(self) -> bytes:
        """The bytes."""
        classes = [name or None for name in self.layout.classes]
        about = {"tag": self.tag, "drawing": self.layout.drawing, "classes": classes}
        head = orjson.dumps({**about, "sizes": self._sizes})
        head += b" " * (-len(head) % 4)
        columns = self.layout.positions.T.astype("<u2")
        return struct.pack("<I", len(head)) + head + columns.tobytes()

    @property
    def _sizes(self) -> list[int]:
        classes = len(self.layout.classes)
        return np.bincount(self.layout.labels, minlength=classes).tolist()  # type: ignore[no-any-return]

    def rows(self, ids: NDArray[np.bytes_]) -> NDArray[np.intp]:
        """Return the row of each id, -1 without one."""
        return rows_of(self.layout.ids, ids)


class MapCache:
    """The latest map of one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        self._store = store
        self._working = working
        self._task: asyncio.Task[DrawnMap] | None = None
        self._state: tuple[str, int, str] | None = None
        self._drawn: DrawnMap | None = None
        self.progress = MapProgress(doing="reading", done=0, total=0)

    async def get(self) -> DrawnMap | None:
        """Return the map, or None while it is being computed; `progress` tells how far it is.

        It is computed again after a failure, or where the collection has changed; never twice at a
        time.
        """
        info = await run_sync(self._store.info)
        state = None if info is None else (info.model.fingerprint, info.points, info.revision)
        task = self._task
        if task is None or (
            task.done() and (task.cancelled() or task.exception() or self._state != state)
        ):
            # Abandoned where the server ends before the map is done.
            task = asyncio.create_task(run_sync(self._compute, abandon_on_cancel=True))
            self._task, self._state = task, state
        await asyncio.wait([task], timeout=WAIT_SECONDS)
        return await task if task.done() and self._state == state else None

    async def matching(self, where: str) -> MatchesAnswer | None:
        """Return which points match an expression; None while the map is being computed.

        Raises:
            ExpressionError: the expression cannot be read.
        """
        drawn = await self.get()
        return None if drawn is None else await run_sync(self._matching, drawn, where)

    async def points(self, request: MapRequest) -> MapPoints | None:
        """Return indexed images with their rows in the map; None while it is being computed.

        Raises:
            HTTPException: the rows are of another map.
        """
        drawn = await self.get()
        return None if drawn is None else await run_sync(self._points, drawn, request)

    def inside(self, area: str) -> Condition:
        """Return the condition that images are in an area of the latest map.

        Raises:
            HTTPException: there is no map yet, it was drawn anew, or the area holds too many.
            QueryError: this is no area.
        """
        drawing, corners = parse_area(area)
        drawn = self._drawn
        if drawn is None:
            raise HTTPException(503, "the map is not drawn yet; open it, and search again then")
        if drawn.layout.drawing != drawing:
            raise HTTPException(409, "the map was drawn anew; select an area of it again")
        rows = np.flatnonzero(within(drawn.layout.positions, corners))
        if len(rows) > MOST_IN_AREA:
            raise HTTPException(
                422,
                f"the area holds {len(rows):,} images; a search takes one of at most "
                f"{MOST_IN_AREA:,}: select a smaller one",
            )
        points = self._store.fetch(texts_of(drawn.layout.ids[rows]), vectors=False)
        return Match("path", tuple(sorted({point.payload.path for point in points})) or ("",))

    def _points(self, drawn: DrawnMap, request: MapRequest) -> MapPoints:
        if request.tag not in ("", drawn.tag):
            raise HTTPException(409, "the map has changed; load it again")
        rows = [row for row in request.rows if row < len(drawn.layout.ids)]
        texts = [str(one) for one in request.wanted] + texts_of(drawn.layout.ids[rows])
        found = [point.payload for point in self._store.fetch(texts, vectors=False)]
        numbers = drawn.rows(ids_of(payload.id for payload in found)).tolist()
        placed = zip(numbers, found, strict=True)
        points = [
            MapPoint(row=row, image=StoredImage.model_validate(payload))
            for row, payload in placed
            if row >= 0
        ]
        return MapPoints(tag=drawn.tag, points=points)

    def _matching(self, drawn: DrawnMap, where: str) -> MatchesAnswer:
        """Ask for the points that match, or for the others, whichever are fewer."""
        with self._store.reading():
            condition = parse_where(where, Fields(self._store))
            count, total = self._store.count(Filter(where=condition)), len(drawn.layout.ids)
            fewer = 2 * count <= total
            only = Filter(where=condition if fewer else Not(condition))
            found = [
                ids_of(point.payload.id for point in batch)
                for batch in self._store.scan(only, vectors=False)
            ]
        mask = np.full(total, not fewer)
        rows = drawn.rows(np.concatenate(found)) if found else np.empty(0, np.intp)
        mask[rows[rows >= 0]] = fewer
        text = base64.b64encode(np.packbits(mask, bitorder="little").tobytes()).decode()
        return MatchesAnswer(tag=drawn.tag, matches=int(mask.sum()), mask=text)

    def _compute(self) -> DrawnMap:
        def tell(doing: str, done: int, total: int) -> None:
            self.progress = MapProgress(doing=doing, done=done, total=total)

        self._drawn = DrawnMap(layout(self._store, self._working, tell))
        return self._drawn
