"""Every metric against numbers worked out by hand."""

import numpy as np
import pytest

from geosim.trainer.evaluation.metrics import (
    average_precision_at,
    confusion_matrix,
    knn_votes,
    most_confused,
    per_class,
    precision_at,
    recall_of_partners,
)

RELEVANT = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]], dtype=bool)


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [1, 0, 1, 0]), (2, [0.5, 0, 1, 0.5]), (3, [2 / 3, 0, 1, 1 / 3]), (4, [0.75, 0, 1, 0.25])],
)
def test_precision(k: int, expected: list[float]) -> None:
    np.testing.assert_allclose(precision_at(RELEVANT, k), expected)


def test_average_precision() -> None:
    # Row 0: 1, 2/3, 3/4 at the ranks of hits; row 3: 1/2 at rank 2.
    plenty = np.array([9, 9, 9, 9])
    expected = [(1 + 2 / 3 + 3 / 4) / 4, 0, 1, 0.5 / 4]
    np.testing.assert_allclose(average_precision_at(RELEVANT, 4, plenty), expected)


def test_average_precision_divides_by_what_the_gallery_could_give() -> None:
    few = np.array([3, 0, 4, 1])
    expected = [(1 + 2 / 3 + 3 / 4) / 3, 0, 1, 0.5]
    np.testing.assert_allclose(average_precision_at(RELEVANT, 4, few), expected)


def test_average_precision_of_the_documented_example() -> None:
    relevant = np.array([[1, 0, 1]], dtype=bool)
    assert average_precision_at(relevant, 3, np.array([5]))[0] == pytest.approx(0.5556, abs=5e-5)


def test_votes_weigh_scores() -> None:
    labels = np.array([[0, 1, 1], [0, 1, 1], [2, 1, 0]])
    scores = np.array([[0.9, 0.5, 0.3], [0.9, 0.5, 0.5], [-0.1, -0.2, -0.3]])
    # 0.9 > 0.8; 0.9 < 1.0; nobody votes, so the best ranked class.
    assert knn_votes(labels, scores).tolist() == [0, 1, 2]


def test_equal_votes_go_to_the_better_rank() -> None:
    labels = np.array([[1, 0, 0, 1], [0, 1, 1, 0]])
    scores = np.array([[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]])
    assert knn_votes(labels, scores).tolist() == [1, 0]


def test_confusion() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 0, 2]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert most_confused(matrix) == [(2, 0, 2), (0, 1, 1)]


def test_recall_of_partners() -> None:
    hits = np.array([[5, 6, 7], [8, 9, 1], [2, 3, 4]])
    queries = np.array([0, 0, 2, 2])
    partners = np.array([99, 6, 4, 98])
    assert recall_of_partners(hits, queries, partners, 3).tolist() == [True, True]
    assert recall_of_partners(hits, queries, partners, 2).tolist() == [True, False]


def test_per_class() -> None:
    values = per_class(np.array([1.0, 0.0, 0.5]), np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(values, [0.5, np.nan, 0.5])
