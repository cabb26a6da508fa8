"""The usual best score of the collection, measured in the background after every change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from geosim.ingest.schema import CollectionInfo
from geosim.ingest.store.base import VectorStore

PATIENCE_SECONDS = 1.0
"""Time from the start of a measurement that answers wait for it; 30,000 images take about that."""

_log = logging.getLogger("uvicorn.error")


class UsualScore:
    """Measures in one thread at a time. Thread-safe."""

    def __init__(self, store: VectorStore, measure: Callable[[], float | None]) -> None:
        self._store, self._measure = store, measure
        self._lock, self._idle = threading.Lock(), threading.Event()
        self._idle.set()
        self._patient_until = 0.0
        self._state: CollectionInfo | None = None  # what was measured last
        self._score: float | None = None

    def start(self) -> None:
        """Measure, unless the collection was measured as it is, or a thread measures already."""
        state = self._store.info()
        with self._lock:
            if state == self._state or not self._idle.is_set():
                return
            self._idle.clear()
            self._state, self._patient_until = state, time.monotonic() + PATIENCE_SECONDS
        threading.Thread(target=self._run, daemon=True).start()

    def get(self) -> float | None:
        """Return the score that was measured last; None before the first or where there is none."""
        self.start()
        self._idle.wait(max(0.0, self._patient_until - time.monotonic()))
        return self._score

    def _run(self) -> None:
        """Measure; a failure is logged, and answers do without it."""
        try:
            with self._store.reading():
                state = self._store.info()
                score = self._measure()
            with self._lock:
                self._state, self._score = state, score
        except Exception:
            _log.exception("the usual best score of the collection could not be measured")
        finally:
            self._idle.set()
