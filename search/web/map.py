"""The map of the collection as the web page gets it: drawn once, by one thread, as JSON.

How images are laid out is `search/graph/layout.py`.
"""

from __future__ import annotations

import asyncio

import numpy as np
import orjson
from anyio.to_thread import run_sync

from geosim.ingest.store.protocol import VectorStore
from geosim.search.graph.layout import layout
from geosim.trainer.working import Working

SECONDS = 5.0
"""Time for which a request waits for the map to be drawn; proxies give up after a minute or so."""


class WebMap:
    """The map of one collection."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Draw nothing yet."""
        self._store = store
        self._working = working
        self._task: asyncio.Task[bytes] | None = None
        self._drawn_of: tuple[str, int] | None = None

    async def get(self) -> bytes | None:
        """Return the map as JSON, or None while it is being drawn.

        It is drawn once, and again where that failed, or the collection has another size or model
        since; never twice at a time.
        """
        info = await run_sync(self._store.info)
        state = None if info is None else (info.model.fingerprint, info.points)
        if self._task is None or _failed(self._task) or self._outdated(state):
            drawing = run_sync(self._draw, abandon_on_cancel=True)  # the server may end meanwhile
            self._task, self._drawn_of = asyncio.create_task(drawing), state
        task = self._task
        await asyncio.wait([task], timeout=SECONDS)
        return await task if task.done() else None

    def _outdated(self, state: tuple[str, int] | None) -> bool:
        return self._task is not None and self._task.done() and self._drawn_of != state

    def _draw(self) -> bytes:
        drawn = layout(self._store, self._working)
        classes = sorted(set(drawn.labels))
        places = {name: place for place, name in enumerate(classes)}
        x, y = np.round(drawn.positions.astype(np.float64), 5).T.tolist()
        return orjson.dumps(
            {
                "classes": classes,
                "labels": [places[label] for label in drawn.labels],
                "ids": drawn.ids,
                "paths": drawn.paths,
                "x": x,
                "y": y,
            }
        )


def _failed(task: asyncio.Task[bytes]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
