"""Calibration of the class vote: how sure it is, fitted on held-out votes, and how far that is off.

Pure functions in numpy. A vote is right if the query has the class that wins it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.evaluation.metrics import knn_votes

VOTERS = 10
"""Number of hits that vote."""

BINS = 15
"""Bins of equal width from 0 to 1, as in Guo et al. 2017: On Calibration of Modern Neural Networks,
4.1."""

DRAWS = 1000
"""Draws of the calibration error that a perfectly calibrated vote would have."""

SMOOTHING = 0.1
"""Votes for no class, so that no certainty reaches 1. Fitted on ten hits of held-out queries of the
geological similarity data set (``tests/benches/RESULTS.md``)."""

NEAR = 0.02
"""Distance, 1 minus the mean score, below which hits count as equally close."""

RIDGE = 0.01
"""Weight of the squared distance of a fitted `Certainty` from the default."""

STEPS, TOLERANCE = 50, 1e-6
"""Largest number of Newton's steps, and the step that ends them."""

Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Certainty:
    """How often a vote is right, by its share of the votes and by how close the hits are.

    The log odds are ``offset + slope * log(winner / (others + SMOOTHING)) + closeness *
    -log(1 + NEAR - mean)``, where ``mean`` is the mean score of the hits, and the certainty is at
    most ``most``. Which class wins does not depend on it, and slope and closeness are not negative.
    The default is that of earlier versions: ``winner / (winner + others + SMOOTHING)``.
    """

    offset: float = 0.0
    slope: float = 1.0
    closeness: float = 0.0
    most: float = 1.0

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Certainty | None:
        """Return the certainty in a model card's entry ``vote``; None if it is null or damaged.

        Models without the entry, such as those of earlier versions, have the default.
        """
        vote = card.get("vote", {})
        try:
            given = [field.name for field in fields(cls) if field.name in vote]
            return cls(**{name: float(vote[name]) for name in given})
        except (TypeError, ValueError):
            return None

    def __call__(self, winner: Weights, others: Weights, voters: Weights) -> Weights:
        """Return the certainty, 0 to below 1, of votes ``(n,)``; 0 where the winner has none."""
        known = winner > 0
        terms = _terms(np.where(known, winner, 1.0), others, np.maximum(voters, 1))
        odds = np.clip(terms @ np.array((self.offset, self.slope, self.closeness)), -30, 30)
        return np.where(known, np.minimum(1 / (1 + np.exp(-odds)), self.most), 0.0)


def class_votes(
    labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int64], tuple[Weights, Weights, Weights]]:
    """Return the winners, ``(n,)``, and their votes as `Certainty` takes them.

    ``labels`` and ``scores (n, k)`` are those of the hits, best first; label -1 has no vote. The
    votes are the sum of the winner's scores, that of the others' and the number of hits that vote,
    ``(n,)`` each. See `knn_votes`.

    Example: classes ``[a, b, b]`` with scores ``[0.9, 0.5, 0.3]`` vote a, 0.9 to 0.8.
    """
    voting = (labels >= 0) & np.isfinite(scores)
    votes = np.where(voting, np.maximum(np.nan_to_num(scores), 0.0), 0.0)
    voters = np.maximum(labels, 0)
    winner = knn_votes(voters, votes)
    own = np.where(voters == winner[:, None], votes, 0.0).sum(axis=1)
    return winner, (own, votes.sum(axis=1) - own, voting.sum(axis=1).astype(np.float64))


def fit_certainty(
    winner: Weights, others: Weights, voters: Weights, right: NDArray[np.bool_]
) -> Certainty:
    """Fit a `Certainty` to held-out votes ``(n,)`` by their negative log likelihood.

    Logistic regression with the targets of Platt 1999, Probabilistic Outputs for Support Vector
    Machines, 2.2: ``(r + 1) / (r + 2)`` for the r right votes and ``1 / (w + 2)`` for the w wrong
    ones. No vote becomes surer than ``(n + 1) / (n + 2)``: n right votes of n allow no more, by
    Laplace's rule. Votes without a winner are left out.
    """
    known = winner > 0
    terms, right = _terms(winner[known], others[known], voters[known]), right[known]
    hits, total = int(right.sum()), len(right)
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (total - hits + 2))
    default, used = np.array((0.0, 1.0, 0.0)), np.ones(3, dtype=bool)
    while True:
        fitted = np.zeros(3)
        fitted[used] = _regress(terms[:, used], targets, default[used])
        if fitted[1:].min() >= 0:
            offset, slope, closeness = fitted.tolist()
            return Certainty(offset, slope, closeness, (total + 1) / (total + 2))
        used[1 + fitted[1:].argmin()] = False  # it must not make a vote less sure


def _terms(winner: Weights, others: Weights, voters: Weights) -> Weights:
    """Return what the log odds are a sum of, ``(n, 3)``, for votes with a winner."""
    share = np.log(winner / (others + SMOOTHING))
    mean = np.minimum((winner + others) / voters, 1.0)
    return np.stack([np.ones(len(share)), share, -np.log(1 + NEAR - mean)], axis=1)


def _regress(terms: Weights, targets: Weights, prior: Weights) -> Weights:
    """Return the coefficients of a logistic regression, by Newton's method with halved steps."""
    ridge = RIDGE * np.eye(len(prior))

    def loss(at: Weights) -> float:
        odds, away = terms @ at, at - prior
        return float(np.sum(np.logaddexp(0, odds) - targets * odds) + away @ ridge @ away / 2)

    fitted, before = prior, loss(prior)
    for _ in range(STEPS):
        chances = 1 / (1 + np.exp(-np.clip(terms @ fitted, -30, 30)))
        slopes = terms.T @ (targets - chances) - ridge @ (fitted - prior)
        curves = terms.T @ (terms * (chances * (1 - chances))[:, None]) + ridge
        step = np.linalg.solve(curves, slopes)
        while loss(fitted + step) > before and np.abs(step).max() > TOLERANCE:
            step = step / 2
        if np.abs(step).max() <= TOLERANCE:
            break
        fitted = fitted + step
        before = loss(fitted)
    return fitted


def reliability(certainty: Weights, right: NDArray[np.bool_]) -> Weights:
    """Return the reliability diagram of votes ``(n,)``, ``(BINS, 3)``.

    For each bin the number of votes, the sum of their certainties and the number of right ones, so
    that the diagrams of several runs add up.
    """
    bins = np.minimum((certainty * BINS).astype(np.int64), BINS - 1)
    columns = (None, certainty, right)
    return np.stack([np.bincount(bins, one, minlength=BINS) for one in columns], axis=1)


def calibration_error(diagram: Weights) -> float:
    """Return the expected calibration error (ECE) of a reliability diagram, 0 to 1.

    The mean over the votes of the distance, in their bin, between the mean certainty and the share
    of right votes (Guo et al. 2017, 4.1).

    Example: 4 votes of certainty 0.9, 3 of them right, and 6 of 0.5, 3 of them right:
    (4 * 0.15 + 6 * 0) / 10 = 0.06.
    """
    count, certainty, right = diagram.T
    return float(np.abs(certainty - right).sum() / count.sum())


def unavoidable_error(diagram: Weights) -> float:
    """Return the mean ECE of perfectly calibrated votes, as many and as sure as in a diagram.

    Few votes are right more or less often than they should by chance. The number of right ones in a
    bin is drawn `DRAWS` times, each being right with the bin's mean certainty.
    """
    count, certainty, _ = diagram[diagram[:, 0] > 0].T
    chances = np.clip(certainty / count, 0.0, 1.0)
    drawn = np.random.default_rng(0).binomial(count.astype(np.int64), chances, (DRAWS, len(count)))
    return float(np.abs(drawn - certainty).sum(axis=1).mean() / count.sum())
