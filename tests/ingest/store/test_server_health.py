"""The health of a server and of a cluster: what nodes say, and what is to be done."""

from __future__ import annotations

import http.server
import json
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import pytest
from click.testing import Result

from geosim.ingest.schema import ModelRef
from geosim.ingest.store import server_client, server_health
from geosim.ingest.store.health import (
    CollectionHealth,
    NodeHealth,
    ReplicaHealth,
    find_faults,
)
from geosim.ingest.store.server import connect
from geosim.trainer.errors import StoreUnreachableError
from tests.memory import engine
from tests.threads import answering

PEERS = {1: "http://10.0.0.1:6335/", 2: "http://10.0.0.2:6335/", 3: "http://10.0.0.3:6335/"}
SHARDS = {0: (1, 2), 1: (1, 3), 2: (2, 3)}
"""Shard -> peers with a copy."""


def answers_of(peer: int, *, away: int | None = None) -> dict[str, Any]:
    """Return the answers of a node of a cluster of three by path, as Qdrant 1.18 gives them."""
    local = [
        {"shard_id": one, "points_count": 100 + one, "state": "Active"}
        for one, peers in SHARDS.items()
        if peer in peers
    ]
    remote = [
        {"shard_id": one, "peer_id": other, "state": "Active"}
        for one, peers in SHARDS.items()
        for other in peers
        if other != peer
    ]
    raft = {"term": 1, "commit": 9, "pending_operations": 0, "role": "Leader", "is_voter": True}
    working = {"consensus_thread_status": "working", "last_update": "2026-01-01T00:00:00Z"}
    details = {"version": "1.18.3", "is_voter": True, "term": 1, "commit": 9}
    details |= {"num_pending_operations": 0, "consensus_thread_status": working}
    roles = {1: "Leader", 2: "Follower", 3: "Follower"}
    seen = {
        str(one): {
            "uri": uri,
            "responsive": one != away,
            "details": None if one == away else {**details, "role": roles[one]},
        }
        for one, uri in PEERS.items()
    }
    shards = [
        {
            "id": one,
            "replicas": [
                {"peer_id": other, "state": "Active", "num_points": 100 + one}
                for other in peers
                if other != away
            ],
        }
        for one, peers in SHARDS.items()
    ]
    params = {"vectors": {"size": 32, "distance": "Cosine"}, "replication_factor": 2}
    hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}
    optimizers = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000}
    optimizers |= {"default_segment_number": 0, "flush_interval_sec": 5}
    wal = {"wal_capacity_mb": 32, "wal_segments_ahead": 0}
    stored = {
        "status": "green",
        "optimizer_status": "ok",
        "indexed_vectors_count": 200,
        "points_count": 303,
        "segments_count": 6,
        "payload_schema": {},
        "update_queue": {"length": 0},
        "config": {
            "params": params,
            "hnsw_config": hnsw,
            "optimizer_config": optimizers,
            "wal_config": wal,
        },
    }
    return {
        "/cluster": {
            "status": "enabled",
            "peer_id": peer,
            "peers": {str(one): {"uri": uri} for one, uri in PEERS.items()},
            "raft_info": raft,
            "consensus_thread_status": working,
            "message_send_failures": {},
        },
        "/cluster/telemetry": {
            "collections": {"rocks-abc": {"id": "rocks-abc", "shards": shards}},
            "cluster": {"enabled": True, "number_of_peers": 3, "peers": seen},
        },
        "/collections/rocks/exists": {"exists": True},
        "/aliases": {"aliases": [{"alias_name": "rocks", "collection_name": "rocks-abc"}]},
        "/collections/rocks-abc": stored,
        "/collections/rocks-abc/cluster": {
            "peer_id": peer,
            "shard_count": 3,
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": [],
        },
    }


class Node(http.server.ThreadingHTTPServer):
    """Answers by path; with 500 to a path without an answer."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Node

    def do_GET(self) -> None:
        found = self.server.answers.get(self.path.partition("?")[0])
        content: Any = {"result": found, "status": "ok", "time": 0.0}
        if found is None:
            content = {"status": {"error": "1 of 1 read operations failed"}, "time": 0.0}
        body = json.dumps(content).encode()
        self.send_response(500 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def running(answers: dict[str, Any]) -> AbstractContextManager[Node]:
    return answering(Node(answers))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def closed() -> str:
    """The address of a node that has ended."""
    with Node({}) as server:
        return server.url


def test_a_cluster_tells_its_nodes_and_its_shards() -> None:
    with ExitStack() as stack:
        nodes = [stack.enter_context(running(answers_of(peer))) for peer in PEERS]
        urls = [node.url for node in nodes]
        with connect(",".join(urls), None, "rocks") as store:
            health = store.health()
    assert health.faults == []
    assert health.nodes == [
        NodeHealth(url, peer, "1.18.3", leader=peer == 1)
        for peer, url in zip(PEERS, urls, strict=True)
    ]
    assert health.collection is not None
    held = {(one.shard, one.node, one.points) for one in health.collection.replicas}
    assert held == {(s, urls[peer - 1], 100 + s) for s, peers in SHARDS.items() for peer in peers}
    found = health.collection
    assert (found.status, found.optimizer, found.indexed, found.points) == ("green", "ok", 200, 303)
    assert (found.copies, found.moving, found.waiting) == (2, 0, 0)


def test_a_node_that_is_away_is_named_whether_its_address_is_given_or_not(closed: str) -> None:
    with running(answers_of(1, away=3)) as first:
        with connect(first.url, None, "rocks") as store:
            by_peer = store.health()
        with connect(f"{closed},{first.url}", None, "rocks") as store:
            by_address = store.health()
    assert [node.location for node in by_peer.nodes if node.fault] == ["http://10.0.0.3:6335"]
    assert by_peer.faults == [
        "http://10.0.0.3:6335 does not answer the other nodes; see its log, and start it again"
    ]
    silent = [node for node in by_address.nodes if node.location == closed]
    assert silent[0].fault == by_address.faults[0]
    assert closed in by_address.faults[0]
    assert by_address.faults[0].endswith("see its log, and start it again")
    assert by_peer.unreadable == []


def test_a_shard_that_is_away_is_told_and_nothing_is_counted(
    geosim: Callable[..., Result], tmp_path: Any
) -> None:
    answers = answers_of(1, away=3)
    placed = answers["/collections/rocks-abc/cluster"]
    placed["remote_shards"] = [{"shard_id": 2, "peer_id": 3, "state": "Active"}]
    del answers["/collections/rocks-abc"]  # the server cannot answer for all shards
    with running(answers) as node:
        command = ("status", "--qdrant", node.url, "--collection", "rocks", "--working", tmp_path)
        result = geosim(*command)
        document = geosim(*command, "--format", "json")
    assert result.exit_code == document.exit_code == 1
    assert result.stderr == "Error: collection rocks cannot be read; see the warnings above\n"
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"node {node.url}: Qdrant 1.18.3, leads the cluster, answers" in lines
    assert "node http://10.0.0.3:6335: does not answer" in lines
    assert "shard 2 http://10.0.0.3:6335 away" in lines
    away = "shard 2 cannot be read until a copy of it is back, on http://10.0.0.3:6335"
    assert f"warning {away}" in lines
    found = json.loads(document.stdout)
    assert found["points"] is None
    assert away in found["health"]["faults"]


def test_nodes_of_two_clusters_are_told() -> None:
    with (
        running(answers_of(1)) as first,
        running({"/cluster": {"status": "disabled"}}) as other,
        connect(f"{first.url},{other.url}", None, "rocks") as store,
    ):
        assert store.health().faults == [
            f"{other.url} and {first.url} are no nodes of one cluster; name one of them in --qdrant"
        ]


def test_where_no_node_answers_the_message_names_all(closed: str) -> None:
    urls = f"{closed},{closed}/other"
    with (
        connect(urls, None, "rocks", wait=0) as store,
        pytest.raises(StoreUnreachableError, match="none of ") as caught,
    ):
        store.health()
    assert urls in str(caught.value)


def test_a_halted_server_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_client, "FIRST_ANSWER_S", 0.3)
    monkeypatch.setattr(server_health, "FIRST_WAIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as halted:  # accepts, and never answers
        url = f"http://127.0.0.1:{halted.getsockname()[1]}"
        with (
            connect(url, None, "rocks", wait=60) as store,
            pytest.raises(StoreUnreachableError, match="does not answer within") as caught,
        ):
            store.health()
    assert url in str(caught.value)
    assert caplog.messages == [], "nothing is tried again"


SOUND = CollectionHealth(
    [ReplicaHealth(0, "a", "Active", 9, answers=True)], 0, "green", "ok", 9, 0, 0, 1
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"optimizer": "no space left"}, ["the optimizer failed: no space left; look for a full"]),
        ({"status": "red"}, ["the collection is red"]),
        ({"status": "grey"}, ["the optimization waits"]),
        ({"copies": 2}, ["shard 0 has 1 of 2 copies, on a; add"]),
        ({"warnings": ["too many of them"]}, ["too many of them"]),
    ],
)
def test_faults_of_a_collection(changes: dict[str, Any], expected: list[str]) -> None:
    found = list(find_faults([NodeHealth("a")], replace(SOUND, **changes)))
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True))


def test_faults_of_copies() -> None:
    nodes = [NodeHealth("a"), NodeHealth("b")]
    copies = [*SOUND.replicas, ReplicaHealth(0, "b", "Active", 7, answers=True)]
    found = replace(SOUND, replicas=copies, copies=2)
    assert list(find_faults(nodes, found)) == [
        "the copies of shard 0 differ: 9 on a, 7 on b; run `geosim ingest` again, which writes "
        "what is missing"
    ]
    for busy in ({"moving": 1}, {"waiting": 3}, {"status": "yellow"}):
        assert list(find_faults(nodes, replace(found, **busy))) == []
    dead = replace(found, replicas=[copies[0], replace(copies[1], state="Dead")])
    (told,) = find_faults(nodes, dead)
    assert told.startswith("shard 0 on b is Dead;")


def test_a_real_server_tells_its_health(tmp_path: Any) -> None:
    with engine("server", tmp_path) as store:
        empty = store.health()
        assert empty.collection is None
        store.create(ModelRef("abc123", "colour-grid"))
        health = store.health()
    assert health.faults == []
    assert [node.fault for node in health.nodes] == [None] * len(health.nodes)
    assert health.collection is not None
    assert (health.collection.status, health.collection.optimizer) == ("green", "ok")
    assert {one.state for one in health.collection.replicas} == {"Active"}


def test_a_real_cluster_tells_its_health() -> None:
    urls = os.environ.get("GEOSIM_TEST_QDRANT_CLUSTER")
    if not urls:
        pytest.skip("GEOSIM_TEST_QDRANT_CLUSTER names no addresses of a cluster")
    key = os.environ.get("GEOSIM_TEST_QDRANT_API_KEY")
    with connect(urls, key, "geosim-test-health") as store:
        store.drop()
        try:
            store.create(ModelRef("abc123", "colour-grid"))
            health = store.health()
        finally:
            store.drop()
    assert health.faults == []
    assert sorted(node.location for node in health.nodes) == sorted(urls.split(","))
    assert sum(node.leader for node in health.nodes) == 1
    assert all(node.version for node in health.nodes)
    assert health.collection is not None
    shards = {one.shard for one in health.collection.replicas}
    assert len(shards) == len(health.nodes)
    assert len(health.collection.replicas) == 2 * len(shards)
    assert {one.points for one in health.collection.replicas} == {0}
