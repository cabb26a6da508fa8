"""Settings of collections on a server: adopted, given, and kept when they are made anew."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from qdrant_client import QdrantClient, models

from geosim.ingest.schema import ModelRef, VectorQuery
from geosim.ingest.store import server_search
from geosim.ingest.store.server import connect
from geosim.ingest.store.server_client import open_nodes
from geosim.ingest.store.server_settings import arguments, read_settings, settings_for, settings_of
from geosim.ingest.sync import sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import StoreError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.benches import synthetic
from tests.memory import memory_store, real_server

MODEL = ModelRef("abc123", "efficientnet-lite0")
GIVEN = {
    "shard_number": 2,
    "on_disk_payload": False,
    "hnsw_config": {"m": 24, "on_disk": True},
    "vectors": {"on_disk": True},
    "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
}


@pytest.mark.parametrize("kept", ["bytes", "bits"])
def test_scores_of_quantized_vectors_are_those_of_the_vectors(
    monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setattr(server_search, "EXACT_POINTS", 0)
    url, key = real_server()
    kind = {"bytes": {"scalar": {"type": "int8"}}, "bits": {"binary": {}}}[kept]
    indexed = {"indexing_threshold": 10, "default_segment_number": 1}  # of 10 kilobytes
    settings = {"quantization_config": kind, "optimizers_config": indexed}
    name = f"geosim-test-{uuid.uuid4().hex}"
    with connect(url, key, name, settings=settings) as store:
        store.create(MODEL)
        try:
            for numbers, vectors in synthetic.blocks(2 * synthetic.BLOCK):
                store.upsert([synthetic.payload(one) for one in numbers], vectors)
            for _ in range(600):
                found = store.health().collection
                if found is not None and found.status == "green" and found.indexed:
                    break
                time.sleep(0.1)
            else:
                pytest.fail("not indexed within a minute")
            queries = [
                VectorQuery(vector, exact=exact)
                for vector in vectors[:20]
                for exact in (False, True)
            ]
            answers = store.query(queries, 10)
        finally:
            store.drop()
    right = 0
    for by_index, exact in zip(answers[::2], answers[1::2], strict=True):
        scores = {one.payload.id: one.score for one in exact}
        same = [one for one in by_index if one.payload.id in scores]
        assert [one.score for one in same] == pytest.approx(
            [scores[one.payload.id] for one in same], abs=2e-6
        )
        right += len(same)
    assert right >= (0.9 if kept == "bytes" else 0.3) * 200


@pytest.mark.parametrize("recreate", [False, True])
@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_a_collection_that_was_made_beforehand_is_adopted(
    working: Working, sample: Path, recreate: bool
) -> None:
    client = QdrantClient(":memory:")
    cosine = models.VectorParams(size=32, distance=models.Distance.COSINE)
    client.create_collection("rocks", vectors_config=cosine)
    made = id(client._client.collections["rocks"])  # type: ignore[attr-defined]
    with memory_store("rocks", client) as store:
        assert store.info() is None
        model = load_model(working.model)
        sync(open_dataset(sample), model, store, working, recreate=recreate)
        info = store.info()
    assert info is not None
    assert (info.points, info.model.fingerprint) == (96, model.fingerprint)
    assert id(client._client.collections["rocks"]) == made  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"hnsw": {"m": 3}}', "hnsw: Extra inputs"),
        ('{"hnsw_config": {"m": "many"}}', r"hnsw_config.m: .*integer"),
        ('{"vectors": {"size": 64}}', "size 32 and distance Cosine"),
        ('{"vectors": {"dimension": 32}}', "dimension"),
        ('{"metadata": {"a": 1}}', "sets metadata itself"),
        ('{"vectors": 3}', "vectors"),
    ],
)
def test_bad_settings_are_told_with_their_place(tmp_path: Path, content: str, fault: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)
    with pytest.raises(StoreError, match=fault) as caught:
        read_settings(file, {})
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(GIVEN))
    found = read_settings(file, {"shard_number": 6, "replication_factor": 2})
    assert found == {**GIVEN, "shard_number": 6, "replication_factor": 2}
    wanted = arguments(found)
    assert wanted["vectors_config"] == models.VectorParams(
        size=32, distance=models.Distance.COSINE, on_disk=True
    )
    assert wanted["hnsw_config"] == models.HnswConfigDiff(m=24, on_disk=True)


def test_a_cluster_gets_shards_and_replicas() -> None:
    assert settings_for(0) == settings_for(1) == {}
    assert settings_for(3) == {
        "shard_number": 3,
        "replication_factor": 2,
        "write_consistency_factor": 1,
    }


def test_an_embedded_collection_has_no_such_settings(
    geosim: Callable[..., Result], working: Working, sample: Path
) -> None:
    done = geosim("ingest", sample, "--shards", 2, "--working", working.root)
    assert done.exit_code == 1
    (error,) = done.stderr.splitlines()
    assert "none of the settings shard_number; name a server with --qdrant URL" in error


STORED: dict[str, Any] = {
    "status": "green",
    "optimizer_status": "ok",
    "points_count": 0,
    "segments_count": 2,
    "payload_schema": {},
    "config": {
        "params": {
            "vectors": {"size": 32, "distance": "Cosine", "on_disk": True},
            "shard_number": 6,
            "replication_factor": 2,
            "write_consistency_factor": 2,
            "on_disk_payload": True,
        },
        "hnsw_config": {
            "m": 24,
            "ef_construct": 100,
            "full_scan_threshold": 10000,
            "max_indexing_threads": 0,
            "on_disk": True,
        },
        "optimizer_config": {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "max_segment_size": None,
            "memmap_threshold": None,
            "indexing_threshold": 20000,
            "flush_interval_sec": 5,
            "max_optimization_threads": None,
        },
        "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
        "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
        "metadata": {"geosim": {"fingerprint": "f", "backbone": "b"}},
    },
}


def test_settings_are_read_back_from_a_collection() -> None:
    wanted = arguments(settings_of(models.CollectionInfo.model_validate(STORED)))
    assert wanted["shard_number"] == 6
    assert (wanted["replication_factor"], wanted["write_consistency_factor"]) == (2, 2)
    assert wanted["vectors_config"].on_disk is True
    assert wanted["hnsw_config"].m == 24
    assert wanted["optimizers_config"].indexing_threshold == 20000
    assert wanted["quantization_config"].scalar.always_ram is True
    assert "metadata" not in wanted


@pytest.fixture
def server() -> tuple[str, str | None]:
    return real_server()


@pytest.fixture
def name(server: tuple[str, str | None]) -> Iterator[str]:
    made = f"geosim-test-{uuid.uuid4().hex}"
    yield made
    with connect(*server, made) as cleaner:
        cleaner.drop()


def test_a_server_keeps_the_settings_of_a_collection_that_is_made_anew(
    server: tuple[str, str | None], name: str
) -> None:
    with connect(*server, name, settings=GIVEN) as store:
        store.create(MODEL)
    client = open_nodes(*server)[0].client
    before = client.get_collection(name).config
    with connect(*server, name) as store:
        store.drop()
        store.create(MODEL)
    after = client.get_collection(name).config
    client.close()
    assert before == after
    assert (after.params.shard_number, after.params.on_disk_payload) == (2, False)
    assert (after.hnsw_config.m, after.hnsw_config.on_disk) == (24, True)
    assert after.quantization_config is not None
