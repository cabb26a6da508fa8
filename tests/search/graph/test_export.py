import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from geosim.ingest.schema import CollectionInfo, ModelRef, Payload
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.search.graph.export import export
from geosim.trainer.errors import QueryError, StoreError
from tests.memory import memory_store

IMAGES = 5000  # more than one batch of a scan, more than one block of the graph


@pytest.fixture(scope="module", params=["edge", "server"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VectorStore]:
    if request.param == "edge":
        opened: VectorStore = EdgeStore(tmp_path_factory.mktemp("qdrant"), "geosim")
    else:
        opened = memory_store("geosim")
    generator = np.random.default_rng(3)
    vectors = np.maximum(generator.normal(size=(IMAGES, 32)), 0).astype(np.float32)
    vectors[1::500] = vectors[::500]  # identical pairs
    payloads = [
        Payload(f"rocks/c{row % 3}/{number:05d}.jpg", f"c{row % 3}", f"{row:064x}", 28, 28, "rocks")
        for row, number in enumerate(generator.permutation(IMAGES))
    ]
    with opened:
        opened.create(ModelRef("a" * 64, "colour-grid"))
        opened.upsert(payloads, vectors)
        yield opened


def test_the_index_equals_a_brute_force_ranking_of_the_embeddings(
    filled: VectorStore, tmp_path: Path
) -> None:
    index_file, embeddings_file = tmp_path / "inverted-index.json", tmp_path / "embeddings.json"
    report = export(filled, index_file, embeddings_file, k=10)
    index = json.loads(index_file.read_text())
    embeddings = json.loads(embeddings_file.read_text())

    paths = sorted(embeddings)
    assert list(index) == list(embeddings) == paths
    assert len(paths) == report.images == IMAGES
    matrix = np.array([embeddings[path] for path in paths], np.float32).astype(np.float64)
    assert matrix.shape == (IMAGES, 32)
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-6)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    same = 0
    for start in range(0, IMAGES, 500):
        cosines = np.round(np.clip(matrix[start : start + 500] @ matrix.T, -1, 1), 6)
        for offset, row in enumerate(cosines):
            own = start + offset
            order = np.lexsort((np.arange(IMAGES), -row))
            expected = [[paths[i], row[i]] for i in order[:12] if i != own][:10]
            assert index[paths[own]] == expected
            same += sum(path.split("/")[1] == paths[own].split("/")[1] for path, _ in expected)
    assert report.same_class == pytest.approx(same / (IMAGES * 10))


@pytest.mark.parametrize("off", [-1500, 7])
def test_a_collection_that_changes_during_the_export(tmp_path: Path, off: int) -> None:
    class Changing(EdgeStore):
        def info(self) -> CollectionInfo | None:
            info = super().info()
            return info and dataclasses.replace(info, points=max(0, info.points + off))

    with Changing(tmp_path / "qdrant", "geosim") as store:
        store.create(ModelRef("a" * 64, "colour-grid"))
        with pytest.raises(StoreError, match="holds nothing to export"):
            export(store, tmp_path / "index.json", tmp_path / "embeddings.json")
        payloads = [Payload(f"r/c/{i:04d}.jpg", "c", f"{i:064x}", 1, 1, "r") for i in range(1600)]
        store.upsert(payloads, np.random.default_rng(4).random((1600, 32), dtype=np.float32))
        report = export(store, tmp_path / "index.json", tmp_path / "embeddings.json")
    assert report.images == len(json.loads((tmp_path / "index.json").read_text())) == 1600


def test_k_larger_than_the_collection(tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "qdrant", "geosim") as store:
        store.create(ModelRef("a" * 64, "colour-grid"))
        payloads = [Payload(f"r/c/{i}.jpg", "c", f"{i:064x}", 1, 1, "r") for i in range(3)]
        store.upsert(payloads, np.eye(3, 32, dtype=np.float32))
        export(store, tmp_path / "index.json", tmp_path / "embeddings.json", k=10)
        index = json.loads((tmp_path / "index.json").read_text())
    assert index["r/c/1.jpg"] == [["r/c/0.jpg", 0.0], ["r/c/2.jpg", 0.0]]


def test_one_image_has_no_neighbours(tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "qdrant", "geosim") as store:
        store.create(ModelRef("a" * 64, "colour-grid"))
        store.upsert([Payload("r/c/1.jpg", "c", "0", 1, 1, "r")], np.ones((1, 32), np.float32))
        report = export(store, tmp_path / "index.json", tmp_path / "embeddings.json")
    assert json.loads((tmp_path / "index.json").read_text()) == {"r/c/1.jpg": []}
    assert report.same_class is None


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "qdrant", "geosim") as store:
        with pytest.raises(StoreError, match="geosim ingest"):
            export(store, tmp_path / "index.json", tmp_path / "embeddings.json")
        store.create(ModelRef("a" * 64, "colour-grid"))
        with pytest.raises(StoreError, match="geosim ingest"):
            export(store, tmp_path / "index.json", tmp_path / "embeddings.json")
    assert not list(tmp_path.glob("*.json"))


def test_k_below_one_is_refused(filled: VectorStore, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="received 0"):
        export(filled, tmp_path / "index.json", tmp_path / "embeddings.json", k=0)


def test_one_file_for_both_is_refused(filled: VectorStore, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="name another file"):
        export(filled, tmp_path / "one.json", tmp_path / "one.json")
    assert not list(tmp_path.glob("*.json"))


KILLED = """
import os, signal, sys
from pathlib import Path
import geosim.search.graph.export
from geosim.ingest.store.edge import EdgeStore

graph = geosim.search.graph.export.neighbour_graph
def killing(vectors, k, *, progress):
    yield next(graph(vectors, k, progress=progress))
    os.kill(os.getpid(), signal.SIGKILL)
geosim.search.graph.export.neighbour_graph = killing
folder = Path(sys.argv[1])
with EdgeStore(folder / "qdrant", "geosim") as store:
    geosim.search.graph.export.export(store, folder / "index.json", folder / "embeddings.json")
"""


def test_a_killed_export_leaves_the_old_file_whole(tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "qdrant", "geosim") as store:
        store.create(ModelRef("a" * 64, "colour-grid"))
        payloads = [Payload(f"r/c/{i:04d}.jpg", "c", f"{i:064x}", 1, 1, "r") for i in range(1500)]
        vectors = np.random.default_rng(4).random((1500, 32), dtype=np.float32)
        store.upsert(payloads, vectors)
        export(store, tmp_path / "index.json", tmp_path / "embeddings.json")
    before = (tmp_path / "index.json").read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=60)
    assert killed.returncode == -9
    assert (tmp_path / "index.json").read_bytes() == before
