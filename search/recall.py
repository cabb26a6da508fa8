"""How many of the exact nearest images the index of a large collection finds, and how fast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np

from geosim.ingest.schema import SCORE_DIGITS, Filter, Point, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.search.measured import measured
from geosim.search.types import DEFAULT_K
from geosim.trainer.progress import progress_bar
from geosim.trainer.working import Working

SAMPLED_QUERIES = 100
"""Indexed images that are searched by: those with the lowest ids, which are random."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Exact searches and searches by the index, compared.

    Attributes:
        recall: share of the `DEFAULT_K` exact nearest images that the index found, 0 to 1. An image
            with the score of the last one counts as it.
        queries: number of images that were searched by.
        exact_ms: median time of an exact search, in milliseconds.
        index_ms: that of a search by the index.
    """

    recall: float
    queries: int
    exact_ms: float
    index_ms: float


def index_recall(store: VectorStore, working: Working) -> Recall | None:
    """Return the recall of the index of a collection; None where every search is exact.

    It is kept in the working folder until the collection changes.
    """
    info = store.info()
    if info is None or not store.approximates():
        return None
    found = measured(store, working, info, "recall", dict, lambda: asdict(_measure(store)))
    return None if found is None else Recall(**found)


def _measure(store: VectorStore) -> Recall:
    sample = store.sample(SAMPLED_QUERIES, vectors=True)
    exact, exact_ms = _search(store, sample, exact=True)
    found, index_ms = _search(store, sample, exact=False)
    pairs = [(one, other) for one, other in zip(exact, found, strict=True) if one]
    hits = sum(sum(score >= one[-1] for score in other) for one, other in pairs)
    return Recall(hits / sum(len(one) for one, _ in pairs), len(sample), exact_ms, index_ms)


def _search(
    store: VectorStore, sample: Sequence[Point], *, exact: bool
) -> tuple[list[list[float]], float]:
    """Return the scores of each image's hits without itself, and the median time in ms."""
    answers, seconds = list[list[float]](), list[float]()
    with progress_bar("exact searches" if exact else "searches by index", len(sample)) as bar:
        for point in sample:
            others = Filter(exclude=frozenset({point.payload.id}))
            vector = np.asarray(point.vector, dtype=np.float32)
            started = time.perf_counter()
            (answer,) = store.query([VectorQuery(vector, others, exact=exact)], DEFAULT_K)
            seconds.append(time.perf_counter() - started)
            answers.append([round(one.score, SCORE_DIGITS) for one in answer])
            bar.update()
    return answers, 1000 * median(seconds)
