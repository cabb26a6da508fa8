"""The map of the collection for the web page: computed once, by one thread, as JSON.

Owns which of its points match an expression, too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass

import numpy as np
from anyio.to_thread import run_sync

from geosim.ingest.conditions import Not
from geosim.ingest.schema import Filter
from geosim.ingest.store.base import VectorStore
from geosim.search.fields import Fields
from geosim.search.graph.layout import layout
from geosim.search.web.answers import MapAnswer, MatchesAnswer
from geosim.search.where import parse_where
from geosim.trainer.working import Working

WAIT_SECONDS = 5.0
"""Time that a request waits for the map. Proxies give up after about a minute."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMap:
    """A map as JSON, and the row of each point in it by id."""

    body: bytes
    tag: str
    rows: dict[str, int]


class MapCache:
    """The latest map of one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        self._store = store
        self._working = working
        self._task: asyncio.Task[DrawnMap] | None = None
        self._state: tuple[str, int, str] | None = None

    async def get(self) -> DrawnMap | None:
        """Return the map, or None while it is being computed.

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

    async def matching(self, where: str) -> bytes | None:
        """Return which points match an expression, as JSON; None while the map is being computed.

        Raises:
            ExpressionError: the expression cannot be read.
        """
        drawn = await self.get()
        return None if drawn is None else await run_sync(self._matching, drawn, where)

    def _matching(self, drawn: DrawnMap, where: str) -> bytes:
        """Ask for the points that match, or for the others, whichever are fewer."""
        with self._store.reading():
            condition = parse_where(where, Fields(self._store))
            count, total = self._store.count(Filter(where=condition)), len(drawn.rows)
            fewer = 2 * count <= total
            only = Filter(where=condition if fewer else Not(condition))
            mask = np.full(total, not fewer)
            for batch in self._store.scan(only, vectors=False):
                rows = (drawn.rows.get(point.payload.id) for point in batch)
                mask[[row for row in rows if row is not None]] = fewer
        text = base64.b64encode(np.packbits(mask, bitorder="little").tobytes()).decode()
        answer = MatchesAnswer(tag=drawn.tag, matches=int(mask.sum()), mask=text)
        return answer.model_dump_json().encode()

    def _compute(self) -> DrawnMap:
        result = layout(self._store, self._working)
        names = sorted(set(result.labels), key=lambda name: (not name, name))
        index = {name: number for number, name in enumerate(names)}
        x, y = np.round(result.positions.astype(np.float64), 5).T.tolist()
        labels, ids, paths = [index[one] for one in result.labels], result.ids, result.paths
        classes = [name or None for name in names]
        tag = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
        answer = MapAnswer(classes=classes, labels=labels, ids=ids, paths=paths, x=x, y=y, tag=tag)
        rows = {id_: row for row, id_ in enumerate(ids)}
        return DrawnMap(answer.model_dump_json().encode(), tag, rows)
