"""What an open page says of an answer: the class that it predicts, how sure, and what is doubted.

What holds for the whole collection is read again after every change of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from geosim.ingest.schema import CollectionInfo
from geosim.ingest.store.base import VectorStore
from geosim.search.explain import (
    Explanation,
    explain,
    fitted_certainty,
    novelty_threshold,
    vote_doubt,
)
from geosim.search.types import Hit
from geosim.search.web.usual import UsualScore
from geosim.trainer.evaluation.calibration import Certainty
from geosim.trainer.working import Working

NOT_MEASURED = "it is not measured yet how alike the images here usually are"


class Judgement:
    """Explains the answers of one collection. Thread-safe."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        self._store, self._working = store, working
        self._sure: tuple[CollectionInfo | None, Certainty | None, str] = None, None, ""
        self._usual = UsualScore(store, lambda: novelty_threshold(store, working))

    def start(self) -> None:
        """Start to measure the usual best score, for the first picture that needs it."""
        self._usual.start()

    def explain(self, nearest: Sequence[Hit], *, is_new: bool) -> Explanation | None:
        """Explain by the nearest; of a new picture a class is predicted, if nothing is doubted."""
        certainty, doubt = self._certainty()
        usual = self._usual.get() if is_new else None
        if usual is None:
            doubt = (doubt or NOT_MEASURED) if is_new else ""
        return explain(nearest, usual, certainty, doubt)

    def _certainty(self) -> tuple[Certainty | None, str]:
        """Return how sure votes are, and what speaks against them."""
        state, certainty, doubt = self._sure
        if (info := self._store.info()) != state:
            doubt = vote_doubt(self._store)
            certainty = None if doubt else fitted_certainty(self._store, self._working)
            self._sure = info, certainty, doubt
        return certainty, doubt
