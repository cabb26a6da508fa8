"""What `geosim status` reports, and that it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from qdrant_client import QdrantClient

from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search.status import render, status
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.memory import memory_store
from tests.trainer.test_kept import train


def test_it_reports_the_collection_and_the_model(
    geosim: Callable[..., Result], indexed: Working, sample: Path
) -> None:
    result = geosim("status", "--working", indexed.root)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"collection geosim at {indexed.qdrant}" in lines
    assert "images 96" in lines
    assert "granite 12" in lines
    assert f"data set rocks: 96 images; pictures: {sample}" in lines
    fingerprint = load_model(indexed.model).fingerprint[:12]
    assert f"model colour-grid {fingerprint}, made the collection" in lines
    assert any(line.startswith("engine Qdrant Edge 0.") for line in lines)
    assert not any("dashboard" in line for line in lines), "the embedded engine has none"
    found = json.loads(geosim("status", "--working", indexed.root, "--format", "json").stdout)
    assert found["points"] == 96
    assert found["classes"]["granite"] == 12
    on_disk = sum(file.stat().st_size for file in indexed.model.rglob("*"))
    assert found["disk"]["model"] == on_disk
    assert {"model", "features", "qdrant"} <= found["disk"].keys()


def test_an_empty_folder_has_no_status_and_nothing_is_made(
    geosim: Callable[..., Result], tmp_path: Path
) -> None:
    result = geosim("status", "--working", tmp_path / "none")
    assert result.exit_code == 0
    assert "geosim ingest DATA" in result.stdout
    assert "geosim train DATA" in result.stdout
    assert not (tmp_path / "none").exists()


def test_a_model_that_did_not_make_the_collection_is_reported(
    indexed: Working, trained: Working
) -> None:
    card = json.loads((indexed.model / "model.json").read_bytes())
    (indexed.model / "model.json").write_text(json.dumps({**card, "fingerprint": "0" * 64}))
    with EdgeStore(indexed.qdrant, "geosim") as store:
        told = render(status(store, indexed))
        assert "000000000000, did NOT make the collection; bring that one with" in told
        (indexed.model / "model.json").write_text(json.dumps(card))
        train(indexed.model, 2)
        found = status(store, indexed)
        assert (found.fits, found.at_hand) == (False, True)
        assert "did NOT make the collection; the model that did is kept here" in render(found)


def test_a_data_set_that_is_not_finished_is_told(
    geosim: Callable[..., Result], working: Working, sample: Path
) -> None:
    def told(*options: object) -> str:
        done = geosim("ingest", sample, *options, "--working", working.root)
        assert done.exit_code == 0, done.output
        return geosim("status", "--working", working.root).stdout

    assert "rocks is ingested in 2 parts; when all 2 are done" in told("--part", "1/2")
    assert "rocks is ingested in 2 parts" in told("--part", "2/2")
    assert "parts" not in told("--finish")


def test_holes_of_sparse_files_take_no_room(store: EdgeStore, indexed: Working) -> None:
    (indexed.root / "small").write_bytes(b"abc")
    with (indexed.root / "sparse").open("wb") as file:
        file.truncate(100_000_000)
    if (indexed.root / "sparse").stat().st_blocks:
        pytest.skip("this file system has no sparse files")
    disk = status(store, indexed).disk
    assert (disk["small"], disk["sparse"]) == (3, 0)


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_a_server_has_a_dashboard(working: Working, sample: Path) -> None:
    client = QdrantClient(":memory:")
    with memory_store("geosim", client, "http://localhost:6333,http://other:6333") as store:
        sync(open_dataset(sample), load_model(working.model), store, working)
        found = status(store, working)
    assert found.dashboard == "http://localhost:6333/dashboard"
    assert found.datasets == {"rocks": 96}
