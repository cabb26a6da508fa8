"""An ingested collection for the search tests, made once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosim.ingest.schema import ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search.searcher import Searcher
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.files import copy_sparse
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.memory import memory_store
from tests.search.engines import server_copy


@pytest.fixture(scope="session")
def ingested(trained: Working, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A working folder whose embedded collection holds `sample`; read only."""
    root = tmp_path_factory.mktemp("ingested") / "working"
    working = Working(Path(shutil.copytree(trained.root, root)))
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(sample), load_model(working.model), store, working)
    return working


@pytest.fixture
def indexed(ingested: Working, tmp_path: Path) -> Working:
    """A copy of `ingested` of the test's own."""
    copy_sparse(ingested.root, tmp_path / "indexed")
    return Working(tmp_path / "indexed")


@pytest.fixture
def store(indexed: Working) -> Iterator[EdgeStore]:
    with EdgeStore(indexed.qdrant, "geosim") as opened:
        yield opened


@pytest.fixture(params=["edge", "server"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """An empty collection in the embedded engine, and in the client of a server."""
    if request.param == "edge":
        opened: VectorStore = EdgeStore(tmp_path / "qdrant", "geosim")
    else:
        opened = memory_store("geosim")
    with opened as store:
        store.create(ModelRef("0" * 64, "colour-grid"))
        yield store


@pytest.fixture
def searcher(store: EdgeStore, indexed: Working) -> Searcher:
    return Searcher(store, indexed)


@pytest.fixture(params=["edge", "server"])
def any_store(request: pytest.FixtureRequest, store: EdgeStore) -> Iterator[VectorStore]:
    """The collection of `store` in the embedded engine, and in the client of a server."""
    if request.param == "edge":
        yield store
        return
    with server_copy(store) as memory:
        yield memory
