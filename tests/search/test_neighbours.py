import numpy as np
import pytest

from search.neighbours import neighbour_graph


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def whole(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(neighbour_graph(vectors, k))
    starts = np.cumsum([0, *(len(block.rows) for block in blocks)])
    assert [block.start for block in blocks] == starts[:-1].tolist()
    return np.concatenate([b.rows for b in blocks]), np.concatenate([b.scores for b in blocks])


def brute(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair in float64; ties at 6 decimals by row number; the row itself left out."""
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    rows, scores = [], []
    for own, vector in enumerate(wide):
        cosines = np.round(np.clip(wide @ vector, -1, 1), 6)
        order = [row for row in np.lexsort((np.arange(len(wide)), -cosines)) if row != own][:k]
        rows.append(order)
        scores.append(cosines[order])
    return np.array(rows), np.array(scores)


def test_by_hand() -> None:
    vectors = unit(np.array([[1, 0], [1, 1], [0, 1]], dtype=np.float32))
    rows, scores = whole(vectors, 2)
    assert rows.tolist() == [[1, 2], [0, 2], [1, 0]]
    assert scores.tolist() == [[0.707107, 0.0], [0.707107, 0.707107], [0.707107, 0.0]]


@pytest.mark.parametrize("k", [1, 10, 40])
def test_equals_brute_force(k: int) -> None:
    vectors = unit(np.random.default_rng(0).random((2500, 32)))
    rows, scores = whole(vectors, k)
    expected_rows, expected_scores = brute(vectors, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


def test_identical_vectors_are_ordered_by_row_however_many_there_are() -> None:
    generator = np.random.default_rng(1)
    distinct = unit(generator.random((40, 32)))
    vectors = distinct[generator.integers(0, 8, 600)]  # about 75 copies of each of 8 vectors
    rows, scores = whole(vectors, 10)
    expected_rows, expected_scores = brute(vectors, 10)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)
    assert not (rows == np.arange(600)[:, None]).any(), "no row is its own neighbour"


def test_k_is_cut_to_the_others_there_are() -> None:
    vectors = unit(np.random.default_rng(2).random((4, 32)))
    assert whole(vectors, 10)[0].shape == (4, 3)
    assert whole(vectors[:1], 10)[0].shape == (1, 0)
