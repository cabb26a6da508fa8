"""How right the certainty of the class vote is, before and after its fit: figures and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geosim.search.evaluation.runs import Run
from geosim.trainer.evaluation.calibration import (
    BINS,
    VOTERS,
    Certainty,
    calibration_error,
    class_votes,
    reliability,
    unavoidable_error,
)
from geosim.trainer.plots import save_figure


def reliability_facts(
    labels: NDArray[np.int64],
    queries: NDArray[np.intp],
    hits: NDArray[np.int64],
    scores: NDArray[np.float64],
    vote: dict[str, Any],
) -> dict[str, Any]:
    """Return the calibration figures of a run with these ``queries``, ``hits`` and ``scores``.

    ``vote`` is what `vote_facts` returned for the training part, so the fit saw no query. Diagrams
    are those of `reliability`; ``after`` is None where nothing was fitted.
    """
    voters = hits[:, :VOTERS]
    winner, votes = class_votes(np.where(voters < 0, -1, labels[voters]), scores[:, :VOTERS])
    answered, right = votes[0] > 0, winner == labels[queries]

    def diagram(certainty: Certainty) -> list[list[float]]:
        sure = certainty(*(part[answered] for part in votes))
        return [list(map(float, row)) for row in reliability(sure, right[answered])]

    fitted = Certainty.of_card(vote) if vote.get("vote") else None
    return {
        **vote,
        "before": diagram(Certainty()),
        "after": None if fitted is None else diagram(fitted),
    }


def pooled(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return the calibration errors over all queries of the runs; None if one has no figures.

    ``ece_unavoidable`` is what a perfectly calibrated vote would have with as many queries.
    """
    found = [run.facts.get("calibration") for run in runs]
    if not all(found):
        return None
    before = np.sum([one["before"] for one in found if one], axis=0)
    figures: dict[str, Any] = {"ece_before": calibration_error(before), "ece": None}
    shown = before
    if all(one["after"] is not None for one in found if one):
        shown = np.sum([one["after"] for one in found if one], axis=0)
        figures["ece"] = calibration_error(shown)
    return figures | {"ece_unavoidable": unavoidable_error(shown), "diagram": shown.tolist()}


def reliability_plot(figures: dict[str, Any], path: Path) -> None:
    """Draw the share of right votes against their certainty; a point's area is its votes."""
    count, certainty, right = np.array(figures["diagram"]).T
    used = count > 0
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.add_subplot(
        xlabel="certainty of the vote", ylabel="share of right votes", title="Reliability"
    )
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    size = 12 + 400 * count[used] / count.sum()
    axes.scatter(certainty[used] / count[used], right[used] / count[used], size, alpha=0.7)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    save_figure(figure, path)


def reliability_text(figures: dict[str, Any]) -> str:
    """Return one sentence on the calibration errors."""
    before, chance = figures["ece_before"], figures["ece_unavoidable"]
    if figures["ece"] is None:
        text = f"{before:.3f} with the default, as nothing was fitted"
    else:
        text = f"{figures['ece']:.3f}, fitted in the training, and {before:.3f} with the default"
    return (
        f"Expected calibration error of the vote's certainty, {BINS} bins of equal width over all "
        f"queries: {text}; with so many queries a perfectly calibrated vote has {chance:.3f}."
    )
