"""Finds the images of a collection that are unlike their class: wrong labels, and strangers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.conditions import Condition
from geosim.ingest.schema import SCORE_DIGITS, Filter, point_id
from geosim.ingest.store.base import VectorStore
from geosim.search.consistent import consistently
from geosim.search.explain import (
    MIN_IMAGES,
    MIN_OTHERS,
    NOVEL_SHARE,
    novelty_threshold,
    vote_certainty,
)
from geosim.search.graph.collection import Collection, read_filled
from geosim.search.graph.neighbours import neighbour_graph
from geosim.search.graph.votes import Ballots, count_votes, number_classes
from geosim.search.types import Hit
from geosim.trainer.evaluation.calibration import VOTERS, Certainty
from geosim.trainer.progress import progress_bar
from geosim.trainer.working import Working

WRONG_LABEL, UNLIKE_ALL = "wrong label", "unlike all"


@dataclass(frozen=True, slots=True)
class Outlier:
    """An image that is unlike its class.

    Attributes:
        kind: `WRONG_LABEL`, the nearest images vote for another class; or `UNLIKE_ALL`, none is
            near, see `novelty_threshold`.
        label: its class; empty for none.
        vote: the class that the nearest vote for; empty for none, and for `UNLIKE_ALL`.
        certainty: how often such a vote of held-out images is right, 0 to below 1; None if nothing
            tells it. Votes on images that the model was trained on are right more often for their
            own class, so that one against it weighs more.
        share: the vote's share of the scores, 0 to 1.
        nearest: the nearest images, best first, without byte-identical ones.
    """

    kind: str
    path: str
    label: str
    vote: str
    certainty: float | None
    share: float
    nearest: tuple[Hit, ...]

    @property
    def score(self) -> float:
        """The cosine to the nearest image; 0 without one."""
        return self.nearest[0].score if self.nearest else 0.0


@dataclass(frozen=True, slots=True)
class Outliers:
    """The outliers of a collection.

    Attributes:
        found: wrong labels first, surest first, then the others, least similar first.
        images: number of images, ``unlabelled`` of those without a class.
        unchecked: number of those whose class has fewer than `MIN_OTHERS` other images, too few to
            win a vote for it; their label is not called wrong.
        classes: number of classes; of fewer than two no label can be told to be wrong.
    """

    found: tuple[Outlier, ...]
    images: int
    unlabelled: int
    classes: int
    unchecked: int


def find_outliers(store: VectorStore, working: Working, where: Condition | None = None) -> Outliers:
    """Let the nearest images of each image vote on its class, itself and its copies left out.

    The vote is that of `explain`, of up to `VOTERS` images. Byte-identical images have one vote,
    and none if they are of several classes. Only images for which ``where`` holds are listed and
    counted; all vote. Images in tiles are compared by the mean of their tiles: of such votes
    nothing tells the certainty, and unlike all are those of `NOVEL_SHARE` that are least similar.

    Raises:
        StoreError: the collection is missing or empty.
    """
    collection, wanted, threshold, certainty = consistently(
        store, lambda _: _read(store, working, where)
    )
    store.release()
    names, labels = number_classes(collection.labels)
    contents = _Contents.of(collection, labels)
    near, scores = _neighbours(collection.vectors[contents.rows])
    votes = count_votes(contents.labels[near], scores, len(names))
    sure = _certainty(votes, certainty)
    novel = np.zeros(len(near), dtype=bool)
    if collection.tiled and len(near) >= MIN_IMAGES:
        threshold = round(float(np.quantile(scores[:, 0], NOVEL_SHARE)), SCORE_DIGITS)
    if threshold is not None and near.shape[1]:
        novel = scores[:, 0] < threshold
    other = (votes.winner >= 0) & (votes.own > 0) & ~novel
    share = votes.share
    small = _of_small_classes(contents.labels)

    def outliers() -> Iterator[Outlier]:
        for row, one in enumerate(contents.of_image.tolist()):
            wrong = other[one] and labels[row] >= 0 and votes.winner[one] != labels[row]
            wrong = wrong and not small[one]
            if wanted[row] and (novel[one] or wrong):
                yield Outlier(
                    UNLIKE_ALL if novel[one] else WRONG_LABEL,
                    collection.paths[row],
                    collection.labels[row],
                    names[votes.winner[one]] if wrong else "",
                    float(sure[one]) if wrong and sure is not None else None,
                    float(share[one]) if wrong else 0.0,
                    _hits(collection, contents.rows[near[one]], scores[one]),
                )

    def order(one: Outlier) -> tuple[bool, float, float, str]:
        certain = one.share if one.certainty is None else one.certainty
        return one.kind != WRONG_LABEL, -certain, one.score, one.path

    found = tuple(sorted(outliers(), key=order))
    unchecked = int(small[contents.of_image][wanted].sum())
    unlabelled = int((labels[wanted] < 0).sum())
    return Outliers(found, int(wanted.sum()), unlabelled, len(names), unchecked)


def _of_small_classes(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which images have a class of fewer than `MIN_OTHERS` others, by their labels, (u,)."""
    counts = np.bincount(labels[labels >= 0], minlength=labels.max(initial=0) + 1)
    return (labels >= 0) & (counts[labels] <= MIN_OTHERS)


def _read(
    store: VectorStore, working: Working, where: Condition | None
) -> tuple[Collection, NDArray[np.bool_], float | None, Certainty | None]:
    """Return the images, which of them are wanted, and the threshold and certainty of a vote."""
    collection = read_filled(store, "compare")
    wanted = _wanted(store, collection, where)
    if collection.tiled:  # both are of whole images, as they are embedded
        return collection, wanted, None, None
    return collection, wanted, novelty_threshold(store, working), vote_certainty(store, working)


def _wanted(
    store: VectorStore, collection: Collection, where: Condition | None
) -> NDArray[np.bool_]:
    """Return for which images of a collection a condition holds, ``(n,)``."""
    if where is None:
        return np.ones(len(collection.paths), dtype=bool)
    batches = store.scan(Filter(where=where), vectors=False)
    paths = {point.payload.path for batch in batches for point in batch}
    return np.array([path in paths for path in collection.paths], dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class _Contents:
    """The different files of a collection."""

    rows: NDArray[np.int64]  # (u,) the first image of each
    labels: NDArray[np.int64]  # (u,) number of its class; -1 for none or several
    of_image: NDArray[np.int64]  # (n,) the content of each image

    @classmethod
    def of(cls, collection: Collection, labels: NDArray[np.int64]) -> _Contents:
        numbers: dict[str, int] = {}
        of_image = np.array(
            [numbers.setdefault(one, len(numbers)) for one in collection.hashes], dtype=np.int64
        )
        rows = np.unique(of_image, return_index=True)[1].astype(np.int64)
        given = np.flatnonzero(labels >= 0)
        highest = np.full(len(rows), -1, dtype=np.int64)
        np.maximum.at(highest, of_image[given], labels[given])
        lowest = np.full(len(rows), np.iinfo(np.int64).max)
        np.minimum.at(lowest, of_image[given], labels[given])
        return cls(rows, np.where(lowest == highest, highest, -1), of_image)


def _neighbours(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return rows and cosines of the `VOTERS` nearest others of each vector, ``(u, k)`` each."""
    shape = len(vectors), min(VOTERS, len(vectors) - 1)
    rows, scores = np.empty(shape, dtype=np.int64), np.empty(shape)
    with progress_bar("neighbours", len(vectors)) as bar:
        for block in neighbour_graph(vectors, VOTERS, progress=bar.update):
            here = slice(block.start, block.start + len(block.rows))
            rows[here], scores[here] = block.rows, block.scores
    return rows, scores


def _certainty(votes: Ballots, certainty: Certainty | None) -> NDArray[np.float64] | None:
    return None if certainty is None else certainty(votes.own, votes.others, votes.voters)


def _hits(
    collection: Collection, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[Hit, ...]:
    pairs = enumerate(zip(rows.tolist(), scores.tolist(), strict=True), start=1)
    return tuple(
        Hit(
            rank,
            score,
            collection.paths[row],
            collection.labels[row],
            point_id(collection.paths[row]),
            identical=False,
        )
        for rank, (row, score) in pairs
    )
