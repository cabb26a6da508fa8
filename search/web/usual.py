"""The usual best score of the collection, measured in the background after every change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from geosim.ingest.schema import CollectionInfo, ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.search.consistent import consistently

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
        self._model: ModelRef | None = None  # that the score is of

    def start(self) -> CollectionInfo | None:
        """Measure, unless the collection was measured as it is, or a thread measures already.

        Returns the collection as it is.
        """
        state = self._store.info()
        with self._lock:
            if state == self._state or not self._idle.is_set():
                return state
            self._idle.clear()
            self._state, self._patient_until = state, time.monotonic() + PATIENCE_SECONDS
        threading.Thread(target=self._run, daemon=True).start()
        return state

    def get(self) -> float | None:
        """Return the score that was measured last; None where there is none of this model yet."""
        state = self.start()
        self._idle.wait(max(0.0, self._patient_until - time.monotonic()))
        with self._lock:
            same = state is not None and state.model == self._model
            return self._score if same else None

    def _run(self) -> None:
        """Measure; a failure is logged, and answers do without it."""
        try:
            model, state, score = consistently(
                self._store, lambda model: (model, self._store.info(), self._measure())
            )
            with self._lock:
                self._model, self._state, self._score = model, state, score
        except Exception:
            _log.exception("the usual best score of the collection could not be measured")
        finally:
            self._idle.set()
