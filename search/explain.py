"""What the hits say about a query: their classes' votes, and whether it is like anything here.

Owns how hits are weighed and when a picture is unlike a whole collection. Does not search.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from geosim.ingest.schema import SCORE_DIGITS, Point
from geosim.ingest.store.protocol import VectorStore
from geosim.search.types import DEFAULT_K, Hit, Result, SearchOptions
from geosim.trainer.files import replacing
from geosim.trainer.working import Working
from numpy.typing import NDArray

SMOOTHING = 0.1
"""Votes for none of the classes, so that no vote is sure. Of 0 to 1 the number at which the
confidence of ten hits was nearest to the share of right predictions, on the held-out queries of
four recipes on the geological similarity data set: off by 0.4 to 1.1 points on average, and by 0.2
to 2.1 points without."""

SAMPLE = 2000
"""Indexed images whose nearest others are looked up: twenty of them lie below `UNUSUAL`."""

SMALLEST = 20
"""Images below which a collection says nothing about what is usual in it."""

UNUSUAL = 0.01
"""Share of the indexed images that would be called unlike the others. On the same data set, of the
queries held out of the training 1.6 % were, and 2.4 % of those that shared no pixels with it (with
a cosine head 5.1 %); of 788 photographs, crops of them, generated textures, noise and plain
colours 91 %, 90 % and 76 %. The best score told them apart as well as that of the 5th, 10th or 50th
hit, or the mean of ten. 0.5 % found 4 to 11 points less of what is foreign, 2 % gave 1.3 to 1.6
times as many false alarms."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What one class has of the hits.

    Attributes:
        label: the class.
        votes: hits of that class.
        share: its share of all votes, 0 to 1, where a hit's vote weighs its score.
    """

    label: str
    votes: int
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the hits say about a query.

    Attributes:
        votes: one per class among the first `DEFAULT_K` hits, the winner first.
        predicted: the class that wins the vote, as in `knn_votes`: a hit's vote
            weighs its score, a negative one does not count, equal totals go to the class of the
            better ranked hit. Empty without hits.
        confidence: the winner's votes, so weighed, divided by all votes and `SMOOTHING`: 0 to
            below 1. Of held-out queries with ten hits, about this share was predicted right. It
            says nothing of a picture that is ``unlike`` the collection, whose hits may all agree.
        unlike: nothing here looks like the query: its best score is below ``usual``. Never true of
            a query with an identical hit, nor where ``usual`` is unknown.
        best: the best score; 0 without hits.
        usual: the best score that all but `UNUSUAL` of the indexed images reach among the others;
            None where it is unknown, or was not asked for.
    """

    votes: tuple[Vote, ...]
    predicted: str
    confidence: float
    unlike: bool
    best: float
    usual: float | None


@dataclass(frozen=True, slots=True)
class Novelty:
    """How alike the images of a collection are.

    Attributes:
        usual: the score, -1 to 1, that the nearest other of all but `UNUSUAL` of them reaches.
    """

    usual: float

    @classmethod
    def of(cls, store: VectorStore, working: Working) -> Novelty | None:
        """Measure a collection, or read what was measured when it last had as many images.

        The images looked at are those with the lowest ids, which are hashes of their paths: a
        random sample, and the same one in every engine. Copies of an image, byte for byte, do not
        count as others; pictures that overlap do.

        Returns:
            None for a collection of fewer than `SMALLEST` different images.
        """
        info = store.info()
        if info is None or info.points < SMALLEST:
            return None
        path = working.derived / f"{store.name}-novelty.json"
        key = {
            "collection": store.name,
            "location": store.location,
            "model": info.model.fingerprint,
            "points": info.points,
        }
        usual = _read(path, key)
        if usual is None:
            best = _best_scores(store)
            if len(best) < SMALLEST:
                return None
            usual = round(float(np.quantile(best, UNUSUAL)), SCORE_DIGITS)
            with suppress(OSError), replacing(path) as temporary:  # measured anew if it must be
                temporary.write_bytes(orjson.dumps({**key, "usual": usual}))
        return cls(usual)


def explain(hits: Sequence[Hit], novelty: Novelty | None) -> Explanation:
    """Count the votes of hits, and tell whether the query is like anything in the collection.

    Args:
        hits: best first, of a search in all classes: a filter takes the vote. The first
            `DEFAULT_K` vote, however many there are: `SMOOTHING` was fitted for them.
        novelty: of the collection; None for a query that is indexed and so at home there.
    """
    hits = hits[:DEFAULT_K]
    weights: dict[str, float] = {}
    for hit in hits:
        weights[hit.label] = weights.get(hit.label, 0.0) + max(hit.score, 0.0)
    total = sum(weights.values())
    # By best rank already, which the sort keeps where totals are equal.
    ranking = sorted(weights, key=lambda label: -round(weights[label], 9))
    best = max((hit.score for hit in hits), default=0.0)
    usual = None if novelty is None else novelty.usual
    known = not hits or any(hit.identical for hit in hits)
    return Explanation(
        votes=tuple(
            Vote(
                label=label,
                votes=sum(hit.label == label for hit in hits),
                share=weights[label] / total if total else 0.0,
            )
            for label in ranking
        ),
        predicted=ranking[0] if ranking else "",
        confidence=weights[ranking[0]] / (total + SMOOTHING) if ranking else 0.0,
        unlike=usual is not None and best < usual and not known,
        best=best,
        usual=usual,
    )


def explained(
    results: Iterable[Result], options: SearchOptions, store: VectorStore, working: Working
) -> list[Explanation | None]:
    """Explain results, each by its own hits; the collection is measured for new pictures alone.

    Args:
        results: of one search.
        options: what was asked for; hits of one class, or one per class, have nothing to vote on.
        store: what was searched.
        working: where the measure is kept.

    Returns:
        One per result; None where there are no hits, or no vote.
    """
    results = list(results)
    if options.label is not None or options.one_per is not None:
        return [None] * len(results)
    new = any(one.indexed is None and one.hits for one in results)
    novelty = Novelty.of(store, working) if new else None
    return [
        explain(one.hits, novelty if one.indexed is None else None) if one.hits else None
        for one in results
    ]


def _best_scores(store: VectorStore) -> NDArray[np.float32]:
    """Return the score of the nearest other, no copy, of each image in the sample that has one."""
    from geosim.trainer.progress import progress_bar

    ids = (point.payload.id for batch in store.scan(vectors=False) for point in batch)
    sample = store.fetch(heapq.nsmallest(SAMPLE, ids))
    rows: dict[str, list[int]] = {}
    for row, point in enumerate(sample):
        rows.setdefault(point.payload.sha256, []).append(row)
    vectors, best = _vectors(sample), np.full(len(sample), -np.inf, dtype=np.float32)
    with progress_bar("comparing", store.count()) as bar:
        for batch in store.scan(vectors=True):
            scores = vectors @ _vectors(batch).T
            for column, point in enumerate(batch):
                scores[rows.get(point.payload.sha256, []), column] = -np.inf
            np.maximum(best, scores.max(axis=1), out=best)
            bar.update(len(batch))
    return best[np.isfinite(best)]


def _vectors(points: Sequence[Point]) -> NDArray[np.float32]:
    """Return the vectors of n points that have one, ``(n, 32) float32``, L2 norm 1."""
    return np.stack([point.vector for point in points if point.vector is not None])


def _read(path: Path, key: dict[str, Any]) -> float | None:
    """Return the score that was kept under ``key``, or None: none, another one, or damaged."""
    try:
        stored = orjson.loads(path.read_bytes())
        usual = stored.pop("usual")
        return usual if stored == key and isinstance(usual, float) else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
