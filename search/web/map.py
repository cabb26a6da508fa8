"""The map of the collection for the web page: computed once, by one thread, as JSON."""

from __future__ import annotations

import asyncio

import numpy as np
from anyio.to_thread import run_sync

from geosim.ingest.store.base import VectorStore
from geosim.search.graph.layout import layout
from geosim.search.web.answers import MapAnswer
from geosim.trainer.working import Working

WAIT_SECONDS = 5.0
"""Time that a request waits for the map. Proxies give up after about a minute."""


class MapCache:
    """The latest map of one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        self._store = store
        self._working = working
        self._task: asyncio.Task[bytes] | None = None
        self._state: tuple[str, int, str] | None = None

    async def get(self) -> bytes | None:
        """Return the map as JSON, or None while it is being computed.

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

    def _compute(self) -> bytes:
        result = layout(self._store, self._working)
        names = sorted(set(result.labels), key=lambda name: (not name, name))
        index = {name: number for number, name in enumerate(names)}
        x, y = np.round(result.positions.astype(np.float64), 5).T.tolist()
        labels, ids, paths = [index[one] for one in result.labels], result.ids, result.paths
        classes = [name or None for name in names]
        answer = MapAnswer(classes=classes, labels=labels, ids=ids, paths=paths, x=x, y=y)
        return answer.model_dump_json().encode()
