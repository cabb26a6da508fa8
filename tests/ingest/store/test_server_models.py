"""Models on a Qdrant server, for all who search there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from qdrant_client import QdrantClient

from geosim.ingest.store import server_models
from geosim.ingest.store.server_client import Node, open_nodes
from geosim.ingest.store.server_models import MODELS, ServerModels, connect_models
from geosim.ingest.store.server_requests import Connection
from geosim.trainer.errors import ModelError, StoreUnreachableError
from geosim.trainer.kept import fingerprints
from geosim.trainer.model import load_model
from geosim.trainer.sharing import pull, push
from geosim.trainer.working import Working
from tests.memory import real_cluster, real_server
from tests.trainer.test_kept import train

Run = Callable[..., Result]


@pytest.fixture(params=["memory", "server", "cluster"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a server where this test alone has models."""
    monkeypatch.setattr(server_models, "MODELS", "geosim-test-models")
    monkeypatch.setattr(server_models, "BLOCK", 1000)
    if request.param == "memory":
        made = QdrantClient(":memory:")
    else:
        urls, key = real_server() if request.param == "server" else real_cluster()
        made = open_nodes(urls, key)[0].client
    yield made
    made.delete_collection(server_models.MODELS)
    made.close()


def place(client: QdrantClient, wait: float = 0.0) -> ServerModels:
    return ServerModels(Connection([Node(client, "server", answered=True)], wait=wait))


def test_a_model_is_kept_on_a_server(client: Any, working: Working, tmp_path: Path) -> None:
    mine, there = load_model(working.model), place(client)
    assert there.names() == []
    with pytest.raises(ModelError, match="server has no model; push one"):
        pull(there, None, tmp_path / "new")
    assert push(mine, there)
    assert not push(mine, there), "it is there"
    assert there.names() == [mine.fingerprint]
    found = pull(there, None, tmp_path / "new")
    assert found.card == mine.card
    found.check()
    points, head = client.count(server_models.MODELS).count, next(working.model.glob("head-*"))
    there.write({"head": head}, "f" * 64)
    assert sorted(there.names()) == sorted([mine.fingerprint, "f" * 64])
    assert client.count(server_models.MODELS).count == points + 1, "blocks are kept once"


def test_a_push_that_is_killed_shows_nothing(
    client: Any, working: Working, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, there = load_model(working.model), place(client)
    kept, left = ServerModels._put, 0

    def put(self: ServerModels, *arguments: Any) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        kept(self, *arguments)

    monkeypatch.setattr(ServerModels, "_put", put)
    done = False
    while not done:
        asked = left = left + 3
        try:
            done = push(mine, there)
        except KeyboardInterrupt:
            assert there.names() == []
            left = 0
    assert asked > 0
    pull(there, None, tmp_path / "new").check()


def test_two_pushes_at_once_leave_a_whole_model(
    client: Any, working: Working, tmp_path: Path
) -> None:
    mine, lock = load_model(working.model), threading.Lock()

    def alone(kept: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with lock:
                return kept(*arguments, **options)

        return call

    if client.init_options["location"] == ":memory:":  # takes one thread at a time
        for name in ("upsert", "retrieve", "scroll", "create_collection", "collection_exists"):
            setattr(client, name, alone(getattr(client, name)))
    threads = [
        threading.Thread(target=push, args=(mine, place(client, wait=30.0))) for _ in range(2)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert place(client).names() == [mine.fingerprint]
    pull(place(client), None, tmp_path / "new").check()


def test_a_damaged_block_is_refused(client: Any, working: Working, tmp_path: Path) -> None:
    push(load_model(working.model), place(client))
    points, _ = client.scroll(server_models.MODELS, limit=10_000)
    block = next(one.id for one in points if "data" in one.payload)
    client.set_payload(server_models.MODELS, {"data": "AAAA"}, [block], wait=True)
    with pytest.raises(ModelError, match="is not whole"):
        pull(place(client), None, tmp_path / "new")
    assert fingerprints(tmp_path / "new") == []
    client.set_payload(server_models.MODELS, {"files": 3}, [one.id for one in points], wait=True)
    with pytest.raises(ModelError, match="another program wrote to the collection"):
        pull(place(client), None, tmp_path / "new")


def test_a_server_that_is_away_is_told(working: Working) -> None:
    with pytest.raises(
        StoreUnreachableError, match=r"no Qdrant server answers at http://127.0.0.1"
    ):
        push(load_model(working.model), connect_models("http://127.0.0.1:9", None, wait=0.0))


def test_the_commands_need_a_place(geosim: Run, tmp_path: Path) -> None:
    for name in ("push", "pull"):
        done = geosim("model", name, "--working", tmp_path)
        assert done.exit_code == 2
        assert "Name TARGET, or the collection's server with --qdrant URL" in done.stderr


def test_a_colleague_brings_the_model_of_the_collection(
    geosim: Run, working: Working, sample: Path, tmp_path: Path
) -> None:
    (url, key), name = real_server(), load_model(working.model).fingerprint
    store = ("--qdrant", url, "--collection", f"geosim-test-{tmp_path.name}")
    client = open_nodes(url, key)[0].client
    there_before = client.collection_exists(MODELS)
    try:
        assert geosim("ingest", sample, *store, "--working", working.root).exit_code == 0
        train(working.model, 2)
        pushed = geosim("model", "push", *store, "--working", working.root)
        assert pushed.stdout == f"{name}\n", pushed.stderr
        new = tmp_path / "new.png"
        from PIL import Image

        Image.new("RGB", (64, 64), (200, 120, 90)).save(new)
        yours = ("--working", tmp_path / "yours")
        missing = geosim("search", new, *store, *yours)
        assert f"`geosim model pull {url} {name[:12]}`" in missing.stderr
        pulled = geosim("model", "pull", *store, *yours)
        assert pulled.stdout == f"{name}\n", pulled.stderr
        assert geosim("search", new, *store, *yours).exit_code == 0
    finally:
        client.delete_collection(store[3])
        if not there_before:
            client.delete_collection(MODELS)
        client.close()
