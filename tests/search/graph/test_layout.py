"""The map: where points go, and when it is drawn again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import geosim.search.graph.layout
from geosim.ingest.schema import ModelRef, Payload, point_id
from geosim.ingest.store.edge import EdgeStore
from geosim.search.graph.layout import Layout, draw, layout
from geosim.trainer.errors import StoreError
from geosim.trainer.working import Working


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clusters(count: int, per_cluster: int, spread: float = 0.1) -> NDArray[np.float32]:
    generator = np.random.default_rng(0)
    centres = np.repeat(generator.normal(size=(count, 32)), per_cluster, axis=0)
    return unit(centres + generator.normal(scale=spread, size=centres.shape))


def distances(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return distances on the map, ``(n, n)``, infinite from a point to itself."""
    found: NDArray[np.float32] = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(found, np.inf)
    return found


def own_cluster(positions: NDArray[np.float32], labels: NDArray[np.intp]) -> float:
    """Share of points whose nearest other on the map is of their cluster."""
    return float((labels[distances(positions).argmin(axis=1)] == labels).mean())


@pytest.fixture
def map_file(indexed: Working) -> Path:
    return indexed.derived / "geosim-map.npz"


def test_every_image_has_its_place(store: EdgeStore, indexed: Working, map_file: Path) -> None:
    drawn = layout(store, indexed)
    points = {p.payload.path: p.payload for batch in store.scan(vectors=False) for p in batch}
    assert drawn.paths == sorted(points)
    assert drawn.ids == [point_id(path) for path in drawn.paths]
    assert drawn.labels == [points[path].label for path in drawn.paths]
    positions = drawn.positions
    assert (positions.shape, positions.dtype) == ((96, 2), np.float32)
    assert positions.min() == 0
    assert positions.max() == 1
    vectors = np.stack([point.vector for point in store.fetch(drawn.ids)])
    closest = distances(positions).argsort(axis=1)[:, :10]
    alike = (-vectors @ vectors.T).argsort(axis=1)[:, 1:11]
    kept = np.mean([np.isin(one, other).mean() for one, other in zip(closest, alike, strict=True)])
    assert kept > 0.5  # 10 of 95 would be by chance
    assert map_file.is_file()


def marked(map_file: Path) -> NDArray[np.float32]:
    """Put other positions into the file, to see whether it is read."""
    with np.load(map_file, allow_pickle=False) as stored:
        content = dict(stored)
    content["positions"] = np.full_like(content["positions"], 0.125)
    np.savez(map_file, **content)
    other: NDArray[np.float32] = content["positions"]
    return other


def changed_content(store: EdgeStore) -> None:
    """Give one image other bytes and another vector, at the same path."""
    point = next(iter(store.scan(vectors=True)))[0]
    old = point.payload
    payload = Payload(old.path, old.label, "f" * 64, old.width, old.height, old.dataset)
    store.upsert([payload], np.eye(1, 32, dtype=np.float32))


def removed(store: EdgeStore) -> None:
    store.delete([next(iter(store.scan(vectors=False)))[0].payload.id])


def test_it_is_drawn_once_and_again_when_it_must_be(
    store: EdgeStore, indexed: Working, map_file: Path
) -> None:
    first = layout(store, indexed).positions
    kept = map_file.read_bytes()
    other = marked(map_file)
    assert np.array_equal(layout(store, indexed).positions, other), "read, not drawn"

    for damaged in (kept[: len(kept) // 2], b"", b"no archive", kept[:-100] + bytes(100)):
        map_file.write_bytes(damaged)
        assert np.array_equal(layout(store, indexed).positions, first), "equal maps"
        assert map_file.read_bytes() == kept

    for change, count in ((changed_content, 96), (removed, 95)):
        marked(map_file)
        change(store)
        positions = layout(store, indexed).positions
        assert positions.shape == (count, 2)
        assert not (positions == 0.125).all()


def test_another_model_means_another_map(tmp_path: Path) -> None:
    working = Working(tmp_path)
    payloads = [
        Payload(f"rocks/c/{row}.jpg", "c", f"{row:064x}", 28, 28, "rocks") for row in range(5)
    ]
    for digit in "ab":
        with EdgeStore(tmp_path / digit, "geosim") as store:
            store.create(ModelRef(digit * 64, "colour-grid"))
            store.upsert(payloads, clusters(5, 1) if digit == "a" else clusters(1, 5))
            drawn: Layout = layout(store, working)
            assert not (drawn.positions == 0.125).all()
        marked(working.derived / "geosim-map.npz")


def test_a_folder_that_cannot_be_written_does_not_keep_it_from_being_drawn(
    store: EdgeStore, indexed: Working
) -> None:
    indexed.derived.write_bytes(b"a file where the folder should be")
    assert len(layout(store, indexed).positions) == 96


def test_without_the_library_the_two_main_axes_are_drawn_until_it_is_there(
    store: EdgeStore, indexed: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "openTSNE", None)
        with pytest.warns(UserWarning, match="pip install opentsne"):
            axes = layout(store, indexed)
        assert np.array_equal(layout(store, indexed).positions, axes.positions), "warns once"
    assert np.isfinite(axes.positions).all()
    assert not np.array_equal(layout(store, indexed).positions, axes.positions)


def test_there_must_be_a_collection(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="geosim ingest DATA"):
        layout(EdgeStore(tmp_path, "geosim"), Working(tmp_path))


@pytest.mark.parametrize("count", [1, 2, 5, 11, 40])
def test_a_few_images_and_equal_images_have_a_map_too(count: int) -> None:
    positions = draw(clusters(count, 1))
    assert positions.shape == (count, 2)
    assert np.isfinite(positions).all()
    assert positions.min() >= 0
    assert positions.max() <= 1
    assert len(np.unique(positions, axis=0)) == count
    same = draw(np.repeat(clusters(1, 1), count, axis=0))
    assert np.array_equal(same, np.full((count, 2), 0.5, dtype=np.float32))


def test_an_empty_collection_has_an_empty_map() -> None:
    assert draw(np.empty((0, 32), dtype=np.float32)).shape == (0, 2)


def test_what_looks_alike_is_close_together() -> None:
    positions = draw(clusters(6, 30))
    assert own_cluster(positions, np.repeat(np.arange(6), 30)) == 1


def test_of_a_large_collection_a_sample_is_drawn_and_the_others_put_among_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(geosim.search.graph.layout, "TSNE_UP_TO", 90)
    positions = draw(clusters(6, 30))
    assert positions.shape == (180, 2)
    assert own_cluster(positions, np.repeat(np.arange(6), 30)) == 1
