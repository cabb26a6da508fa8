"""The certainty of votes and its error, against numbers worked out by hand and simulated truths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from geosim.search.types import DEFAULT_K
from geosim.trainer.evaluation.calibration import (
    BINS,
    VOTERS,
    Certainty,
    calibration_error,
    class_votes,
    fit_certainty,
    reliability,
    unavoidable_error,
)


def one(certainty: Certainty, winner: float, others: float, voters: float = 10) -> float:
    return float(certainty(*(np.array([value]) for value in (winner, others, voters)))[0])


def test_as_many_hits_vote_as_are_shown() -> None:
    assert VOTERS == DEFAULT_K


def test_votes_are_sums_of_scores() -> None:
    labels = np.array([[0, 1, 1], [2, 2, -1], [-1, -1, -1]])
    scores = np.array([[0.9, 0.5, 0.3], [0.8, 0.4, 0.4], [0.9, 0.9, np.nan]])
    winner, (own, others, voters) = class_votes(labels, scores)
    assert winner[:2].tolist() == [0, 2]
    np.testing.assert_allclose(own, [0.9, 1.2, 0])
    np.testing.assert_allclose(others, [0.8, 0, 0])
    assert voters.tolist() == [3, 2, 0]


def test_the_default_is_that_of_earlier_versions() -> None:
    assert one(Certainty(), 7.0, 2.0) == pytest.approx(7 / 9.1)
    assert one(Certainty(), 0.0, 0.0, 0) == 0


def test_log_odds_are_a_sum() -> None:
    # The mean score of the ten hits is 0.9, so the distance with NEAR is 0.12.
    odds = -1 + 0.5 * math.log(7 / 2.1) - 2 * math.log(0.12)
    expected = 1 / (1 + math.exp(-odds))
    assert one(Certainty(-1, 0.5, 2), 7.0, 2.0) == pytest.approx(expected)
    assert one(Certainty(-1, 0.5, 2, most=0.9), 7.0, 2.0) == 0.9


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({}, Certainty()),
        ({"vote": None}, None),
        (
            {"vote": {"offset": -1, "slope": 2, "closeness": 3, "most": 0.9}},
            Certainty(-1, 2, 3, 0.9),
        ),
        ({"vote": {"slope": 2.5, "held_out": 40}}, Certainty(slope=2.5)),
        ({"vote": {"slope": "steep"}}, None),
        ({"vote": 1}, None),
    ],
)
def test_a_card_tells_the_certainty(card: dict[str, Any], expected: Certainty | None) -> None:
    assert Certainty.of_card(card) == expected


def votes(count: int, seed: int) -> tuple[Any, Any, Any]:
    """Return votes of ten hits whose mean score and share vary."""
    generator = np.random.default_rng(seed)
    total = 10 * generator.uniform(0.4, 0.98, count)
    share = generator.choice([0.4, 0.6, 0.8, 1.0], count)
    return total * share, total * (1 - share), np.full(count, 10.0)


def test_a_fit_finds_the_truth_and_makes_the_certainty_right() -> None:
    truth = Certainty(-2.0, 0.6, 1.2)
    generator = np.random.default_rng(1)
    seen, new = votes(6000, 2), votes(6000, 3)
    right = generator.random(6000) < truth(*seen)
    fitted = fit_certainty(*seen, right)
    assert fitted.offset == pytest.approx(truth.offset, abs=0.25)
    assert fitted.slope == pytest.approx(truth.slope, abs=0.1)
    assert fitted.closeness == pytest.approx(truth.closeness, abs=0.15)
    right = generator.random(6000) < truth(*new)
    before = calibration_error(reliability(Certainty()(*new), right))
    diagram = reliability(fitted(*new), right)
    assert before > 0.1
    assert calibration_error(diagram) < 2 * unavoidable_error(diagram)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_few_votes_do_not_make_it_sure(count: int) -> None:
    seen = tuple(np.full(count, value) for value in (9.9, 0.0, 10.0))
    fitted = fit_certainty(*seen, np.ones(count, dtype=bool))
    assert one(fitted, 10.0, 0.0) <= (count + 1) / (count + 2)
    fitted = fit_certainty(*seen, np.zeros(count, dtype=bool))
    assert one(fitted, 9.9, 0.0) < 0.99


def test_it_is_never_surer_of_less() -> None:
    own, others, voters = votes(400, 5)
    wrong_way = np.random.default_rng(0).random(400) > own / (own + others)
    fitted = fit_certainty(own, others, voters, wrong_way)
    assert min(fitted.slope, fitted.closeness) >= 0
    shares = np.linspace(0, 9, 50)
    sure = fitted(shares, 9 - shares, np.full(50, 10.0))
    assert (np.diff(sure) >= 0).all()


def test_no_votes_leave_the_default() -> None:
    nothing = np.empty(0)
    fitted = fit_certainty(nothing, nothing, nothing, np.empty(0, dtype=bool))
    assert (fitted.offset, fitted.slope, fitted.closeness) == pytest.approx((0, 1, 0))
    assert fitted.most == 0.5


def test_the_calibration_error_by_hand() -> None:
    certainty = np.array([0.9] * 4 + [0.5] * 6)
    right = np.array([True] * 3 + [False] + [True] * 3 + [False] * 3)
    diagram = reliability(certainty, right)
    assert diagram.shape == (BINS, 3)
    assert diagram[13].tolist() == pytest.approx([4, 3.6, 3])
    assert diagram[7].tolist() == pytest.approx([6, 3.0, 3])
    assert calibration_error(diagram) == pytest.approx(0.06)
    assert calibration_error(diagram + diagram) == pytest.approx(0.06), "runs add up"
    assert reliability(np.array([1.0, 0.0]), np.array([True, False]))[[0, -1], 0].tolist() == [1, 1]


def test_chance_alone_gives_few_votes_an_error() -> None:
    # |Binomial(1, 0.5) - 0.5| is 0.5; for 2 votes it is 1 half of the time, so 0.5 / 2.
    single = reliability(np.array([0.5]), np.array([True]))
    assert unavoidable_error(single) == pytest.approx(0.5)
    double = reliability(np.array([0.5, 0.5]), np.array([True, False]))
    assert unavoidable_error(double) == pytest.approx(0.25, abs=0.02)
    many = reliability(np.full(10_000, 0.5), np.full(10_000, True))
    assert unavoidable_error(many) < 0.01
