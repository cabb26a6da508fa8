"""Reads a collection of the embedded engine that other processes use meanwhile."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from geosim.ingest.schema import (
    CollectionInfo,
    Filter,
    ModelRef,
    Origin,
    Payload,
    Point,
    ScoredPoint,
    VectorQuery,
)
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.edge_copy import PrivateCopy
from geosim.ingest.store.edge_files import EdgeFiles
from geosim.ingest.store.edge_terms import engine
from geosim.trainer.console import say
from geosim.trainer.errors import StoreBusyError, StoreCopyError, StoreError
from geosim.trainer.locks import POLL_SECONDS

BUSY_SECONDS = 5.0
"""Time that readers wait for a change that is complete while another process reads it. After that
they read the state before it until that process ends."""

HELD_SECONDS, FREE_SECONDS = 1.0, 4 * POLL_SECONDS
"""Without a copy: time after which readers end before new ones begin, and for which other processes
can take the lock then."""


@dataclass(eq=False)
class _State:
    """An open state of the collection: a copy, or without one the collection itself."""

    store: EdgeStore
    copy: PrivateCopy | None = None
    revision: str | None = None
    users: int = 0

    @cached_property
    def info(self) -> CollectionInfo | None:
        return self.store.info()

    def close(self) -> None:
        self.store.close()
        if self.copy is not None:
            self.copy.close()


class SharedEdgeStore(VectorStore):
    """Reads copies of a collection, so that other processes may open and change it at any time.

    A copy is made by the first call, and by the first call after a change; the lock is held only
    meanwhile. While another process writes, the state before is read. Without room for a copy the
    collection itself is open, and locked, while `reading` blocks run.
    """

    upsert_batch = EdgeStore.upsert_batch

    def __init__(self, folder: Path, name: str, wait: float = 0.0) -> None:
        """Wait ``wait`` seconds for another process that holds the collection at the first call."""
        self._files = EdgeFiles(folder, name, wait)
        self.name, self.location = name, str(folder)
        self._wait = wait
        self._changing = threading.Condition()
        self._state: _State | None = None
        self._thread = threading.local()
        self._awaited: tuple[str | None, float] = None, 0.0  # a revision, and until when to wait
        self._told = False
        self._held_since, self._closed_at = 0.0, -math.inf  # the collection itself

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let all calls of this thread in the block read one state of the collection."""
        if getattr(self._thread, "state", None) is not None:
            yield
            return
        with self._changing:
            state = self._current()
            state.users += 1
        self._thread.state = state
        try:
            yield
        finally:
            self._thread.state = None
            with self._changing:
                state.users -= 1
                if state.copy is None and state is self._state and not state.users:
                    self._state = None
                if state is not self._state and not state.users:
                    state.close()
                if state.copy is None and not state.users:
                    self._closed_at = time.monotonic()
                    self._changing.notify_all()

    def engine(self) -> str:
        """Return the engine's name and version."""
        return engine()

    def info(self) -> CollectionInfo | None:
        """Return the collection's model and number of points, or None without one."""
        if self._files.revision()[0] is None and self._state is None:
            return None
        with self.reading():
            info: CollectionInfo | None = self._thread.state.info
            return info

    def model(self) -> ModelRef | None:
        """Return the collection's model, or None without one."""
        info = self.info()
        return None if info is None else info.model

    def origins(self) -> dict[str, Origin]:
        """Return where the data sets come from, by name."""
        if self.info() is None:
            return {}
        with self._read() as store:
            return store.origins()

    def count(self, where: Filter | None = None) -> int:
        """Return the exact number of points that match."""
        with self._read() as store:
            return store.count(where)

    def has(self, where: Filter) -> bool:
        """Return whether any point matches."""
        with self._read() as store:
            return store.has(where)

    def close(self) -> None:
        """Delete the copy; safe to call twice."""
        with self._changing:
            state, self._state = self._state, None
            if state is not None:
                state.close()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise `StoreError`: a copy is not written."""
        raise StoreError(
            f"collection {self.name!r} at {self.location} is open for reading; open it for writing"
        )

    create = drop = rebuilt = set_origin = _refuse
    _upsert = _delete = _update = _index = _drop_index = _refuse

    def _indexes(self) -> dict[str, str]:
        with self._read() as store:
            return store._indexes()

    def _facet(self, field: str, limit: int, where: Filter | None) -> Iterable[tuple[str, int]]:
        with self._read() as store:
            return store._facet(field, limit, where)

    def _end(self, field: str, where: Filter | None, last: bool) -> Payload | None:
        with self._read() as store:
            return store._end(field, where, last)

    def _retrieve(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Point]]:
        with self._read() as store:
            return store._retrieve(ids, vectors)

    def _scroll(
        self, where: Filter | None, offset: Any, vectors: bool, limit: int
    ) -> tuple[list[Point], Any]:
        with self._read() as store:
            return store._scroll(where, offset, vectors, limit)

    def _query(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        with self._read() as store:
            return store._query(queries, limit)

    @contextmanager
    def _read(self) -> Iterator[EdgeStore]:
        with self.reading():
            yield self._thread.state.store

    def _current(self) -> _State:
        """Return the state to read, which is copied anew after a change."""
        self._let_others_in()
        state = self._state
        if state is not None and state.copy is None:
            return state  # open, so that nobody can change it
        revision, complete = self._files.revision()
        if state is not None and state.revision == revision:
            return state
        try:
            new = self._copy(self._wait if state is None else self._patience(revision, complete))
        except StoreBusyError:
            if state is None:
                raise
            return state
        except StoreCopyError as error:
            new = _State(EdgeStore(self._files.folder, self.name, self._wait))
            if not self._told:
                say(f"{error}; until then, other commands wait for answers here", err=True)
                self._told = True
        if state is not None and not state.users:
            state.close()
        self._state = new
        return new

    def _let_others_in(self) -> None:
        """Wait where the collection itself was open for long, until it was free for a moment."""
        while True:
            state, now = self._state, time.monotonic()
            free_until = self._closed_at + FREE_SECONDS
            if state is None and now >= free_until:
                self._held_since = now
            if (state is not None and state.copy is not None) or (
                now < self._held_since + HELD_SECONDS
            ):
                return
            self._changing.wait(free_until - now if state is None else None)

    def _copy(self, wait: float) -> _State:
        copy = self._files.copy(wait)
        revision, _ = EdgeFiles(copy.folder, self.name).revision()
        return _State(EdgeStore(copy.folder, self.name), copy, revision)

    def _patience(self, revision: str | None, complete: bool) -> float:
        """Return how long to wait for a changed collection: not at all for a process that writes.

        The time for one revision is shared by all calls.
        """
        if not complete:
            return 0.0
        if self._awaited[0] != revision:
            self._awaited = revision, time.monotonic() + BUSY_SECONDS
        return max(0.0, self._awaited[1] - time.monotonic())
