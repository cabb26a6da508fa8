"""The class votes of neighbours in a collection: the vote of `explain`, of many images at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.evaluation.calibration import VOTERS, class_votes


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """The votes of some images' neighbours, ``(n,)`` each.

    Attributes:
        winner: number of the class that wins, -1 without votes.
        own: sum of the scores of the neighbours that vote for it.
        others: sum of those that vote for another class.
        voters: number of neighbours that vote.
    """

    winner: NDArray[np.int64]
    own: NDArray[np.float64]
    others: NDArray[np.float64]
    voters: NDArray[np.float64]

    @property
    def share(self) -> NDArray[np.float64]:
        """The winner's share of the votes, 0 to 1; 0 without votes."""
        total = self.own + self.others
        return np.divide(self.own, total, out=np.zeros_like(total), where=total > 0)


def number_classes(labels: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the class names, sorted, and each image's number among them; -1 for no class."""
    names = sorted({*labels} - {""})
    numbers = {name: number for number, name in enumerate(names)}
    return names, np.array([numbers.get(label, -1) for label in labels], dtype=np.int64)


def count_votes(labels: NDArray[np.int64], scores: NDArray[np.float64], classes: int) -> Ballots:
    """Count the votes of the first `VOTERS` neighbours of each image.

    ``labels`` and ``scores (n, k)`` are those of the neighbours, best first; label -1 has no vote.
    """
    if classes == 0 or labels.shape[1] == 0:
        nothing = np.zeros(len(labels))
        return Ballots(np.full(len(labels), -1), nothing, nothing, nothing)
    winner, (own, others, voters) = class_votes(labels[:, :VOTERS], scores[:, :VOTERS])
    return Ballots(np.where(voters > 0, winner, -1), own, others, voters)
