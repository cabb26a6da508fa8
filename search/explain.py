"""Explains search results: the votes of the hits' classes, and whether the query is novel.

A query is novel if its best score is below a threshold that is measured on the collection. Nothing
is claimed of a collection that is too small to tell, see `vote_doubt`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import SCORE_DIGITS, Filter, Point, VectorQuery
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.ranking import QUERY_BATCH
from geosim.search.consistent import consistently
from geosim.search.measured import measured
from geosim.search.types import DEFAULT_K, Hit, Result, SearchOptions
from geosim.trainer.evaluation.calibration import Certainty
from geosim.trainer.kept import find_card
from geosim.trainer.working import Working

NOVEL_SHARE = 0.01
"""Share of the indexed images that would themselves be called novel. A compromise between missed
foreign pictures and false alarms on the same data set (``tests/benches/RESULTS.md``)."""

SAMPLED_IMAGES = 2000
"""Number of indexed images that the threshold is measured on; 20 of them are below it."""

MIN_IMAGES = 20
"""Number of different images below which a collection has no threshold and predicts no class."""

MIN_OTHERS = DEFAULT_K // 2
"""Images outside of the largest class below which no class is predicted: half of those that vote.
Fewer could hardly outvote it."""

DEFAULT_CERTAINTY = Certainty()


@dataclass(frozen=True, slots=True)
class Vote:
    """The number of hits of one class, and its share of all votes, 0 to 1, weighted by score."""

    label: str
    votes: int
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the hits say about a query.

    Attributes:
        votes: one per class among the first `DEFAULT_K` hits, the winner first.
        predicted: the class that wins the vote, as in `knn_votes`; empty without votes, for a novel
            query, and where there is a ``doubt``.
        confidence: estimate of how often such a prediction is right, 0 to below 1; None without
            one, or if nothing tells it, see `vote_certainty`.
        is_novel: the best score is below the threshold and no hit is identical.
        best_score: of the hits; 0 without hits.
        threshold: see `novelty_threshold`; None if it is unknown or not needed.
        unlabelled: number of those hits that have no class, and no vote.
        doubt: why no class is predicted in spite of votes, see `vote_doubt`; empty otherwise.
    """

    votes: tuple[Vote, ...]
    predicted: str
    confidence: float | None
    is_novel: bool
    best_score: float
    threshold: float | None
    unlabelled: int = 0
    doubt: str = ""

    @property
    def prediction(self) -> tuple[str | None, float | None]:
        """The class and its certainty to 4 digits; both None where nothing is predicted."""
        sure = None if self.confidence is None else round(self.confidence, 4)
        return self.predicted or None, sure


def novelty_threshold(store: VectorStore, working: Working, model: str = "") -> float | None:
    """Return the best score, -1 to 1, that all but `NOVEL_SHARE` of the indexed images reach.

    A query below it is novel. It is measured on the images with the lowest ids, a random sample
    that is the same in every engine; byte-identical copies do not count as neighbours. It is kept
    in the working folder until the collection changes. A collection of fewer than `MIN_IMAGES`
    different images has none, nor has one of another model than ``model``, if that fingerprint is
    given.
    """
    if store.model() is None:
        return None
    return consistently(store, lambda _: _threshold(store, working, model))


def _threshold(store: VectorStore, working: Working, model: str) -> float | None:
    info = store.info()
    if info is None or info.points < MIN_IMAGES or model not in ("", info.model.fingerprint):
        return None
    return measured(store, working, info, "novelty", float, partial(_usual_score, store))


def vote_certainty(store: VectorStore, working: Working, model: str = "") -> Certainty | None:
    """Return how sure the votes of a collection's images are, or None if nothing tells it.

    It was fitted in training and is in the model card; a model of an earlier version has the
    default. A collection with a `vote_doubt` has none, nor has a model that was trained on too few
    images to fit it. See `novelty_threshold` for ``model``.
    """
    certainty = fitted_certainty(store, working, model)
    return None if certainty is None or vote_doubt(store) else certainty


def fitted_certainty(store: VectorStore, working: Working, model: str = "") -> Certainty | None:
    """Return what `vote_certainty` does of a collection without a `vote_doubt`."""
    info = store.info()
    if info is None or model not in ("", info.model.fingerprint):
        return None
    return Certainty.of_card(find_card(working.model, info.model.fingerprint) or {})


def vote_doubt(store: VectorStore) -> str:
    """Return why a collection predicts no class, in words, or nothing where it does.

    A collection of fewer than `MIN_IMAGES` different images cannot tell what is unlike all of them,
    and one of fewer than `MIN_OTHERS` outside of its largest class whether a vote could be lost.
    """
    classes = sorted(store.values("class").values())
    if len(classes) < 2:
        return "there is only one class here" if classes else "no image here has a class"
    sample = store.sample(SAMPLED_IMAGES, vectors=False)
    images = len({point.payload.sha256 for point in sample})
    if images < MIN_IMAGES:
        return f"there are only {images} different images here, and it takes {MIN_IMAGES}"
    if (others := sum(classes[:-1])) < MIN_OTHERS:
        return f"all images here but {others} are of one class"
    return ""


def explain(
    hits: Sequence[Hit],
    threshold: float | None,
    certainty: Certainty | None = DEFAULT_CERTAINTY,
    doubt: str = "",
) -> Explanation:
    """Count the votes of hits, best first, and decide whether the query is novel.

    The hits are those of a search without filters; the first `DEFAULT_K` vote, the number that a
    `Certainty` is fitted for. ``threshold`` is None for a query that is indexed; ``doubt`` is the
    collection's `vote_doubt`.
    """
    hits = hits[:DEFAULT_K]
    voters = [hit for hit in hits if hit.label]
    counts = Counter(hit.label for hit in voters)
    weights = dict.fromkeys(counts, 0.0)
    for hit in voters:
        weights[hit.label] += max(hit.score, 0.0)
    total = sum(weights.values())
    # The sort keeps the order of the best ranks for equal weights.
    ranking = sorted(weights, key=lambda label: -round(weights[label], 9))
    best_score = max((hit.score for hit in hits), default=0.0)
    known = not hits or any(hit.identical for hit in hits)
    is_novel = threshold is not None and best_score < threshold and not known
    predicts = total > 0 and not is_novel and not doubt
    return Explanation(
        votes=tuple(Vote(c, counts[c], weights[c] / total if total else 0.0) for c in ranking),
        predicted=ranking[0] if predicts else "",
        confidence=_confidence(certainty, weights, counts, ranking) if predicts else None,
        is_novel=is_novel,
        best_score=best_score,
        threshold=threshold,
        unlabelled=len(hits) - len(voters),
        doubt=doubt if ranking else "",
    )


def with_voters(options: SearchOptions) -> SearchOptions:
    """Return options whose search finds the images that vote, even if fewer hits are wanted."""
    if options.narrows or options.k is None or options.k >= DEFAULT_K:
        return options
    return replace(options, k=DEFAULT_K)


def explain_results(
    results: Iterable[Result], options: SearchOptions, store: VectorStore, working: Working
) -> Iterator[tuple[Result, Explanation | None]]:
    """Yield the results of a search, each with its explanation, as they come.

    They are those of `with_voters`, and are cut to what ``options`` ask for. The threshold is
    measured at the first query that is not indexed, and again where another model answers. None
    without hits, and where the options leave images out of the vote.
    """
    threshold = cache(partial(novelty_threshold, store, working))
    certainty = cache(partial(fitted_certainty, store, working))
    doubt = cache(partial(vote_doubt, store))
    votes = not options.narrows
    for result in results:
        explanation, hits = None, result.hits
        if votes and hits:
            if result.indexed is not None:
                explanation = explain(hits, None)
            else:
                model, why = result.model, doubt()
                if not why and options.min_score is not None and len(hits) < DEFAULT_K:
                    why = f"only {len(hits)} of the {DEFAULT_K} nearest have the wanted score"
                explanation = explain(hits, threshold(model), certainty(model), why)
        yield replace(result, hits=hits[: options.k]), explanation


def _confidence(
    certainty: Certainty | None,
    weights: Mapping[str, float],
    counts: Mapping[str, int],
    ranking: Sequence[str],
) -> float | None:
    """Return how sure the vote for the first class of a ranking is; None if nothing tells it."""
    if certainty is None:
        return None
    winner = weights[ranking[0]]
    votes = winner, sum(weights.values()) - winner, float(sum(counts.values()))
    return float(certainty(*(np.array([one]) for one in votes))[0])


def _usual_score(store: VectorStore) -> float | None:
    sample = store.sample(SAMPLED_IMAGES, vectors=True)
    if len({point.payload.sha256 for point in sample}) < MIN_IMAGES:
        return None
    best = _best_scores(store, sample)
    return round(float(np.quantile(best, NOVEL_SHARE)), SCORE_DIGITS)


def _best_scores(store: VectorStore, sample: Sequence[Point]) -> NDArray[np.float32]:
    """Return the best score among the others of each sampled image that has another."""
    from geosim.trainer.progress import progress_bar

    if store.approximates():  # to read all would take minutes
        return _best_by_searches(store, sample)
    rows = defaultdict(list)
    for row, point in enumerate(sample):
        rows[point.payload.sha256].append(row)
    vectors, best = _vectors(sample), np.full(len(sample), -np.inf, dtype=np.float32)
    with progress_bar("comparing", store.count()) as bar:
        for batch in store.scan(vectors=True):
            scores = vectors @ _vectors(batch).T
            for column, point in enumerate(batch):
                scores[rows.get(point.payload.sha256, []), column] = -np.inf
            np.maximum(best, scores.max(axis=1), out=best)
            bar.update(len(batch))
    return best[np.isfinite(best)]


def _best_by_searches(store: VectorStore, sample: Sequence[Point]) -> NDArray[np.float32]:
    from geosim.trainer.progress import progress_bar

    best: list[float] = []
    with progress_bar("comparing", len(sample)) as bar:
        for start in range(0, len(sample), QUERY_BATCH):
            points = sample[start : start + QUERY_BATCH]
            hashes = [point.payload.sha256 for point in points]
            queries = [
                VectorQuery(vector, Filter(exclude_sha256=frozenset({sha256})), exact=False)
                for vector, sha256 in zip(_vectors(points), hashes, strict=True)
            ]
            best += [found[0].score for found in store.query(queries, 1) if found]
            bar.update(len(points))
    return np.array(best, dtype=np.float32)


def _vectors(points: Sequence[Point]) -> NDArray[np.float32]:
    """Return the vectors of points, ``(n, 32) float32``, L2 norm 1."""
    return np.stack([point.vector for point in points if point.vector is not None])
