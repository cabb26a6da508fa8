"""The Python API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geosim import search
from geosim.search import GeosimError, open_index
from geosim.search.graph.export import export
from geosim.trainer.errors import QueryError, StoreBusyError, StoreError
from geosim.trainer.working import Working

STORED = "rocks/marble/marble-0002.jpg"


def test_its_public_names() -> None:
    assert sorted(search.__all__) == [
        "GeosimError",
        "Hit",
        "Index",
        "Neighbours",
        "QueryLike",
        "Result",
        "open_index",
    ]
    for name in search.__all__:
        assert getattr(search, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Searcher'"):
        _ = search.Searcher


def test_importing_it_costs_nothing() -> None:
    code = "import sys, geosim.search; print('numpy' in sys.modules or 'PIL' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_a_path_an_array_and_a_pillow_image_find_the_same(indexed: Working, sample: Path) -> None:
    path = sample / "marble" / "marble-0002.jpg"
    with open_index(indexed.root) as index, Image.open(path) as image:
        assert len(index) == 96
        assert index.classes["marble"] == 12
        by_path = index.search(path, k=3)
        assert by_path == index.search(STORED, k=3)
        for example in (image, np.asarray(image), path.read_bytes()):
            hits = index.search(example, k=4)
            assert hits[0].path == STORED
            assert [hit.path for hit in hits[1:]] == [hit.path for hit in by_path]
        (only,) = index.search(path, k=1, label="schist", min_score=0.1, one_per="class")
        assert only.label == "schist"


def test_many_and_several_at_once(indexed: Working) -> None:
    with open_index(str(indexed.root)) as index:
        good, bad = index.search_many([STORED, "nowhere.jpg"], k=2)
        assert (len(good.hits), bad.hits) == (2, ())
        assert bad.error is not None
        assert STORED not in [hit.path for hit in index.recommend([STORED], [], k=95)]
        with pytest.raises(QueryError, match=r"nowhere\.jpg: neither"):
            index.search("nowhere.jpg")


def test_its_neighbours_are_the_exported_graph(indexed: Working) -> None:
    with open_index(indexed.root) as index:
        graph = {one.path: [list(pair) for pair in one.neighbours] for one in index.neighbours(4)}
        export(index._store, indexed.index, indexed.embeddings, 4)
    assert graph == json.loads(indexed.index.read_bytes())
    assert list(graph) == sorted(graph)


def test_arguments_are_checked_at_the_call(indexed: Working) -> None:
    with open_index(indexed.root) as index:
        with pytest.raises(QueryError, match="k must be"):
            index.neighbours(0)
        with pytest.raises(QueryError, match="k must be"):
            index.search_many([STORED], k=0)
        with pytest.raises(QueryError, match="has the class 'lava'"):
            index.search_many([STORED], label="lava")


def test_errors_are_its_own(indexed: Working, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        open_index(tmp_path)
    with open_index(indexed.root), pytest.raises(StoreBusyError):
        open_index(indexed.root)
    with open_index(indexed.root) as index:  # the one that failed let go of everything
        assert len(index) == 96
    assert issubclass(StoreBusyError, GeosimError)
