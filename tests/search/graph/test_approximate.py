import numpy as np
import pytest

from geosim.search.graph.approximate import Recall, approximate_graph
from geosim.search.graph.neighbours import neighbour_graph


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int) -> np.ndarray:
    generator = np.random.default_rng(5)
    centres = np.maximum(generator.normal(size=(300, 32)), 0)
    return unit(centres[np.arange(count) % 300] + generator.normal(size=(count, 32)) * 0.3)


def whole(vectors: np.ndarray, k: int, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    blocks = list((neighbour_graph if exact else approximate_graph)(vectors, k))
    return np.concatenate([b.rows for b in blocks]), np.concatenate([b.scores for b in blocks])


def test_clustered_vectors() -> None:
    vectors = clustered(10_500)
    rows, scores = whole(vectors, 10)
    exact_rows, exact_scores = whole(vectors, 10, exact=True)
    assert rows.shape == (10_500, 10)
    assert 0.98 < (scores >= exact_scores[:, -1:]).mean() < 1, "approximate, but hardly"
    assert not (rows == np.arange(10_500)[:, None]).any(), "no row is its own neighbour"
    assert all(len(set(near)) == 10 for near in rows.tolist())
    complete = (scores == exact_scores).all(axis=1)
    np.testing.assert_array_equal(rows[complete], exact_rows[complete])
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    cosines = np.einsum("nd,nkd->nk", wide, wide[rows])
    np.testing.assert_array_equal(scores, np.round(cosines, 6))
    assert (np.diff(scores, axis=1) <= 0).all()
    again_rows, _ = whole(vectors, 10)
    np.testing.assert_array_equal(rows, again_rows)


def test_recall_is_the_share_of_scores_that_reach_the_exact_last() -> None:
    vectors = clustered(10_500)
    recall = Recall(vectors, 10)
    scores = np.empty((10_500, 10))
    for block in approximate_graph(vectors, 10):
        recall.add(block)
        scores[block.start : block.start + len(block.rows)] = block.scores
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    sample = np.random.default_rng(0).choice(10_500, 1000, replace=False)
    cosines = np.round(wide[sample] @ wide.T, 6)
    cosines[np.arange(1000), sample] = -2
    tenth = np.sort(cosines, axis=1)[:, -10]
    assert recall.value == (scores[sample] >= tenth[:, None]).mean()


def test_lists_that_hold_too_few_are_completed() -> None:
    vectors = clustered(10_500)
    rows, scores = whole(vectors, 300)
    assert rows.shape == (10_500, 300)
    assert (rows >= 0).all()
    assert not (rows == np.arange(10_500)[:, None]).any()
    assert (scores > -1).all()


def test_vectors_without_clusters_are_searched_exactly() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(10_500, 32)))
    for found, expected in zip(whole(vectors, 5), whole(vectors, 5, exact=True), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_identical_vectors() -> None:
    vectors = np.repeat(clustered(1), 10_500, axis=0)
    recall, scores = Recall(vectors, 10), []
    for block in approximate_graph(vectors, 10):
        recall.add(block)
        scores.append(block.scores)
    assert (np.concatenate(scores) == 1).all()
    assert recall.value == 1


@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_few_vectors_are_searched_exactly(count: int) -> None:
    vectors = clustered(count)
    recall = Recall(vectors, min(10, count - 1))
    for block in approximate_graph(vectors, 10):
        recall.add(block)
    assert recall.value == 1
    for found, expected in zip(whole(vectors, 10), whole(vectors, 10, exact=True), strict=True):
        np.testing.assert_array_equal(found, expected)
