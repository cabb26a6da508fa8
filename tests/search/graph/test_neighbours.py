import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from geosim.search.graph.cells import CELL_BATCH, Cells
from geosim.search.graph.neighbours import (
    BLOCK_SIZE,
    CELLS_FROM,
    MAX_PAIR_FRACTION,
    nearest,
    neighbour_graph,
)
from geosim.search.graph.ranking import Gallery


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def whole(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(neighbour_graph(vectors, k))
    starts = np.cumsum([0, *(len(block.rows) for block in blocks)])
    assert [block.start for block in blocks] == starts[:-1].tolist()
    return np.concatenate([b.rows for b in blocks]), np.concatenate([b.scores for b in blocks])


def brute(
    vectors: np.ndarray, k: int, queries: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Every pair in float64; ties at 6 decimals by row number; the row itself excluded."""
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    rows, scores = [], []
    for own in range(len(wide)) if queries is None else queries:
        cosines = np.round(np.clip(wide @ wide[own], -1, 1), 6)
        order = [row for row in np.lexsort((np.arange(len(wide)), -cosines)) if row != own][:k]
        rows.append(order)
        scores.append(cosines[order])
    return np.array(rows), np.array(scores)


@pytest.mark.parametrize("cells", [False, True])
def test_settings_of_the_caller_are_kept(cells: bool) -> None:
    def settings() -> tuple[int, int, list[int]]:
        threads = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
        return faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads(), threads

    own, before = unit(np.random.default_rng(0).random((500, 32))), settings()
    vectors = np.repeat(own, 30, axis=0) if cells else own
    blocks = neighbour_graph(vectors, 3)
    next(blocks)
    list(blocks)
    nearest(own, own[:30], 3)
    assert settings() == before


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


def close_to(vector: np.ndarray, count: int, spread: float) -> np.ndarray:
    """Unit vectors about ``spread`` away from one."""
    noise = np.random.default_rng(5).normal(size=(count, 32)) * spread / np.sqrt(32)
    return unit(vector + noise)


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-3, 3e-3])
@pytest.mark.parametrize("where", ["all", "end", "spread"])
def test_many_equal_scores_are_ordered_by_row(spread: float, where: str) -> None:
    """More near-ties than extra candidates: scores are equal or differ in the last two decimals."""
    generator = np.random.default_rng(6)
    vectors = unit(generator.random((3000, 32)))
    crowd = {
        "all": np.arange(3000),
        "end": np.arange(1700, 3000),
        "spread": np.sort(generator.choice(3000, 1300, replace=False)),
    }[where]
    vectors[crowd] = close_to(vectors[0], len(crowd), spread)
    rows, scores = whole(vectors, 10)
    queries = generator.choice(3000, 150, replace=False)
    expected_rows, expected_scores = brute(vectors, 10, queries)
    np.testing.assert_array_equal(rows[queries], expected_rows)
    np.testing.assert_array_equal(scores[queries], expected_scores)


def test_blocks_meet_without_a_gap() -> None:
    size = BLOCK_SIZE
    count = 2 * size + 5
    vectors = unit(np.random.default_rng(7).random((count, 32)))
    vectors[size - 40 : size + 40] = vectors[0]
    rows, scores = whole(vectors, 10)
    queries = np.array([0, size - 1, size, size + 1, 2 * size - 1, 2 * size, count - 1])
    expected_rows, expected_scores = brute(vectors, 10, queries)
    np.testing.assert_array_equal(rows[queries], expected_rows)
    np.testing.assert_array_equal(scores[queries], expected_scores)


def test_an_abandoned_graph_stops() -> None:
    blocks = neighbour_graph(unit(np.random.default_rng(8).random((3 * BLOCK_SIZE, 32))), 1)
    assert next(blocks).start == 0
    blocks.close()
    assert list(blocks) == []


def test_nearest_in_a_gallery_orders_ties_by_row() -> None:
    generator = np.random.default_rng(9)
    gallery = unit(generator.random((2000, 32)))
    gallery[700:1900] = gallery[5]
    queries = np.concatenate([gallery[5:6], unit(generator.random((3, 32)))])
    rows, scores = nearest(gallery, queries, 30)
    assert rows[0].tolist() == [5, *range(700, 729)]
    assert scores[0].tolist() == [1.0] * 30
    cosines = np.round(queries.astype(np.float64) @ gallery.T.astype(np.float64), 6)
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :30], atol=1.1e-6)


def clustered(count: int, spread: float) -> np.ndarray:
    """Unit vectors around 40 centres, a quarter of them opposite to others, and 30 outliers."""
    generator = np.random.default_rng(10)
    centres = unit(generator.normal(size=(40, 32)))
    centres[30:] = -centres[:10]
    vectors = centres[generator.integers(0, 40, count)]
    vectors = vectors + generator.normal(size=vectors.shape) * spread / np.sqrt(32)
    vectors[generator.choice(count, 30, replace=False)] = generator.normal(size=(30, 32))
    return unit(vectors)


@pytest.mark.parametrize("k", [1, 10, 150])
@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_clusters_are_searched_cell_by_cell_and_exactly(k: int, spread: float) -> None:
    vectors = clustered(CELLS_FROM + 500, spread)
    gallery = Gallery.of(vectors)
    assert Cells.of(gallery, k).pair_fraction(gallery, k) < MAX_PAIR_FRACTION, (
        "most pairs are skipped"
    )
    rows, scores = whole(vectors, k)
    outliers = np.argsort(scores[:, 0])[:20]
    queries = np.concatenate([outliers, np.arange(0, len(vectors), 97)])
    expected_rows, expected_scores = brute(vectors, k, queries)
    np.testing.assert_array_equal(rows[queries], expected_rows)
    np.testing.assert_array_equal(scores[queries], expected_scores)


@pytest.mark.parametrize("spread", [0.0, 1e-4, 3e-3])
def test_many_equal_scores_among_clusters_are_ordered_by_row(spread: float) -> None:
    vectors = clustered(CELLS_FROM, 0.1)
    crowd = np.sort(np.random.default_rng(11).choice(CELLS_FROM, 1500, replace=False))
    vectors[crowd] = close_to(vectors[0], len(crowd), spread)
    rows, scores = whole(vectors, 10)
    queries = np.concatenate([crowd[::50], np.arange(5, CELLS_FROM, 331)])
    expected_rows, expected_scores = brute(vectors, 10, queries)
    np.testing.assert_array_equal(rows[queries], expected_rows)
    np.testing.assert_array_equal(scores[queries], expected_scores)


@pytest.mark.parametrize("kind", ["without clusters", "all equal", "two points"])
def test_vectors_that_cells_do_not_separate(kind: str) -> None:
    generator = np.random.default_rng(12)
    vectors = {
        "without clusters": unit(generator.normal(size=(CELLS_FROM, 32))),
        "all equal": np.repeat(unit(generator.normal(size=(1, 32))), CELLS_FROM, axis=0),
        "two points": unit(generator.normal(size=(2, 32)))[np.arange(CELLS_FROM) % 2],
    }[kind]
    batches = Cells.of(Gallery.of(vectors), 10).batches()
    assert max(len(own) for _, own in batches) <= CELL_BATCH, "memory is bounded"
    rows, scores = whole(vectors, 10)
    queries = np.arange(0, CELLS_FROM, 499)
    expected_rows, expected_scores = brute(vectors, 10, queries)
    np.testing.assert_array_equal(rows[queries], expected_rows)
    np.testing.assert_array_equal(scores[queries], expected_scores)


@pytest.mark.parametrize("count", [500, CELLS_FROM])
def test_progress_counts_every_vector_once(count: int) -> None:
    done: list[int] = []
    list(neighbour_graph(clustered(count, 0.1), 3, progress=done.append))
    assert sum(done) == count
