"""The map: where points go, and when it is drawn again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import geosim.search.graph.layout
from geosim.ingest.schema import ModelRef, Payload
from geosim.ingest.store.edge import EdgeStore
from geosim.search.graph.drawing import draw
from geosim.search.graph.layout import STEPS, Layout, layout, texts_of
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
    points = {p.payload.id: p.payload for batch in store.scan(vectors=False) for p in batch}
    ids = texts_of(drawn.ids)
    assert sorted(ids) == sorted(points)
    labels = [drawn.classes[place] for place in drawn.labels]
    assert labels == [points[one].label for one in ids]
    assert labels == sorted(labels)
    assert (drawn.positions.shape, drawn.positions.dtype) == ((96, 2), np.uint16)
    assert drawn.positions.min() == 0
    assert drawn.positions.max() == STEPS
    vectors = np.stack([point.vector for point in store.fetch(ids)])
    closest = distances(drawn.positions.astype(np.float32)).argsort(axis=1)[:, :10]
    alike = (-vectors @ vectors.T).argsort(axis=1)[:, 1:11]
    kept = np.mean([np.isin(one, other).mean() for one, other in zip(closest, alike, strict=True)])
    assert kept > 0.5  # 10 of 95 would be by chance
    assert map_file.is_file()


def places(drawn: Layout) -> dict[str, tuple[int, ...]]:
    return {one: tuple(at) for one, at in zip(texts_of(drawn.ids), drawn.positions, strict=True)}


def marked(map_file: Path) -> None:
    """Put other positions into the file, to see whether it is read."""
    with np.load(map_file, allow_pickle=False) as stored:
        content = dict(stored)
    content["positions"] = np.full_like(content["positions"], 8000)
    np.savez(map_file, **content)


def test_it_is_drawn_once_and_again_where_the_file_is_damaged(
    store: EdgeStore, indexed: Working, map_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = layout(store, indexed)
    kept = map_file.read_bytes()
    marked(map_file)
    with monkeypatch.context() as patched:
        patched.setattr(EdgeStore, "_scroll", None)
        assert (layout(store, indexed).positions == 8000).all(), "read, not drawn, nor compared"
    for damaged in (kept[: len(kept) // 2], b"", b"no archive", kept[:-100] + bytes(100)):
        map_file.write_bytes(damaged)
        assert places(layout(store, indexed)) == places(first), "equal maps"
        assert map_file.read_bytes() == kept


def test_it_is_extended_where_a_few_images_come_and_go(store: EdgeStore, indexed: Working) -> None:
    """Nothing else moves, and what is new lies where what it is like lies."""
    before = layout(store, indexed)
    first, second, third, *_ = [one for batch in store.scan(vectors=True) for one in batch]
    store.delete([first.payload.id])
    old = second.payload
    other = Payload(old.path, "another", "f" * 64, old.width, old.height, old.dataset)
    new = Payload("rocks/new.jpg", "", "e" * 64, 28, 28, "rocks")
    store.upsert([other, new], np.stack([third.vector, third.vector]))
    after = layout(store, indexed)
    now, then = places(after), places(before)
    moved = {one for one in now if now[one] != then.get(one)}
    assert moved <= {old.id, new.id}
    assert then.keys() - now.keys() == {first.payload.id}
    assert now[old.id] == now[new.id] == then[third.payload.id]
    assert after.drawing == before.drawing
    assert after.classes == [*sorted({*before.classes, "another"} - {""}), ""]
    labels = dict(zip(texts_of(after.ids), after.labels, strict=True))
    assert [after.classes[labels[one]] for one in (old.id, new.id)] == ["another", ""]


def test_it_is_drawn_anew_where_many_have_come(store: EdgeStore, indexed: Working) -> None:
    """By and by, too."""
    drawings = [layout(store, indexed).drawing]
    vectors = clusters(12, 1)
    for number, vector in enumerate(vectors):
        new = Payload(f"rocks/{number}.jpg", "", f"{number:064x}", 28, 28, "rocks")
        store.upsert([new], vector[None])
        drawings.append(layout(store, indexed).drawing)
    assert drawings[0] == drawings[9]
    assert drawings[0] != drawings[10]
    assert len(set(drawings)) == 2


def test_how_far_it_is_is_told(
    store: EdgeStore, indexed: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geosim.search.graph.layout, "MOST_DRAWN", 60)
    told: list[tuple[str, int, int]] = []
    layout(store, indexed, lambda *one: told.append(one))
    assert list(dict.fromkeys(what for what, _, _ in told)) == [
        "reading",
        "comparing",
        "drawing the map",
    ]
    assert ("reading", 96, 96) in told
    assert ("drawing the map", 500, 500) in told
    assert all(0 <= done <= total for _, done, total in told)


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
            assert not (drawn.positions == 8000).all()
        marked(working.derived / "geosim-map.npz")


def test_a_folder_that_cannot_be_written_does_not_keep_it_from_being_drawn(
    store: EdgeStore, indexed: Working
) -> None:
    indexed.derived.write_bytes(b"a file where the folder should be")
    assert len(layout(store, indexed).ids) == 96


def test_without_the_library_the_two_main_axes_are_drawn_until_it_is_there(
    store: EdgeStore, indexed: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "openTSNE", None)
        with pytest.warns(UserWarning, match="pip install opentsne"):
            axes = layout(store, indexed)
        assert np.array_equal(layout(store, indexed).positions, axes.positions), "warns once"
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geosim.search.graph.layout, "MOST_DRAWN", 90)
    vectors = clusters(6, 30)
    payloads = [
        Payload(f"rocks/{row}.jpg", f"{row // 30}", f"{row:064x}", 28, 28, "rocks")
        for row in range(180)
    ]
    with EdgeStore(tmp_path / "qdrant", "geosim") as store:
        store.create(ModelRef("a" * 64, "colour-grid"))
        store.upsert(payloads, vectors)
        drawn = layout(store, Working(tmp_path))
    assert drawn.positions.shape == (180, 2)
    positions = drawn.positions + np.random.default_rng(0).random((180, 2))  # some are equal
    assert own_cluster(positions.astype(np.float32), drawn.labels) == 1
