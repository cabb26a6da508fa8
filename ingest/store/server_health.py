"""Asks the nodes of a server or cluster for their health; `health` says what it means."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from qdrant_client import QdrantClient

from geosim.ingest.store.health import (
    CollectionHealth,
    Health,
    NodeHealth,
    ReplicaHealth,
    find_faults,
)
from geosim.ingest.store.server_requests import ERRORS, FIRST_WAIT_S, Connection
from geosim.trainer.errors import StoreError, StoreUnreachableError

PEERS_S = 3
"""Seconds for which a node waits for the others; a halted one takes it 10 all the same."""

START = "see its log, and start it again"
"""What to do about a node that does not answer."""

REPLICAS_LEVEL = 3
"""Level of detail of the telemetry of a cluster that has its replicas."""

T = TypeVar("T")


def look(connection: Connection, find: Callable[[], str | None]) -> Health:
    """Return the health of the nodes and of a collection.

    Every address is asked once, all at the same time. ``find`` returns the collection's own name,
    no alias, or None if there is no collection; it is called once a node has answered.

    Raises:
        StoreError: no node answers, or one refuses to tell of the collection.
    """
    began, asked = time.monotonic(), connection.ask_each(_tell)
    answers = [(where, one[0] if isinstance(one, tuple) else one) for where, one in asked]
    if all(isinstance(answer, StoreUnreachableError) for _, answer in answers):
        if time.monotonic() - began > FIRST_WAIT_S:
            raise StoreUnreachableError(f"{connection.location} cannot be used: {answers[0][1]}")
        connection.send(lambda client: client.info())  # tries again for a while, and raises
    peers = {
        int(id_): peer
        for _, answer in answers
        for id_, peer in (getattr(answer, "peers", None) or {}).items()
    }
    told = next((one[1] for _, one in asked if isinstance(one, tuple) and one[1]), None)
    seen = {} if told is None or told.cluster is None else told.cluster.peers
    nodes, name = list(_nodes(answers, peers, seen)), find()
    if name is None:
        collection = None
    else:
        shards = None if told is None else told.collections.get(name)
        collection = _collection(connection, name, nodes, shards)
    return Health(nodes, collection, [*_apart(answers), *find_faults(nodes, collection)])


def _tell(client: QdrantClient) -> tuple[Any, Any]:
    """Return the peers of a node, and what they tell of themselves; None where it does not ask."""
    status: Any = client.cluster_status()
    if len(getattr(status, "peers", ())) < 2:
        return status, None
    try:
        return status, client.cluster_telemetry(REPLICAS_LEVEL, PEERS_S)
    except ERRORS:  # before 1.17
        return status, None


def _ask(connection: Connection, request: Callable[[QdrantClient], T]) -> T | None:
    """Return an answer, or None where the server has none: it is old, or a proxy refuses it."""
    with suppress(StoreError):
        return connection.send(request, patient=False)
    return None


def _nodes(
    answers: Sequence[tuple[str, Any]], peers: Mapping[int, Any], told: Mapping[str, Any]
) -> Iterator[NodeHealth]:
    """Yield a node for each address, and for each peer that none of them leads to."""
    left = {id_: peer.uri.rstrip("/") for id_, peer in peers.items()}
    for _, answer in answers:
        left.pop(getattr(answer, "peer_id", 0), None)
    for location, answer in answers:
        id_, fault = getattr(answer, "peer_id", None), None
        if isinstance(answer, StoreUnreachableError):
            id_, fault = _peer_at(location, left), f"{str(answer).partition(';')[0]}; {START}"
            left.pop(id_ or 0, None)
        yield _node(location, id_, told, fault)
    for id_, uri in left.items():
        fault = None
        if (one := told.get(str(id_))) is not None and not one.responsive:
            fault = f"{uri} does not answer the other nodes; {START}"
        yield _node(uri, id_, told, fault)


def _peer_at(location: str, left: Mapping[int, str]) -> int | None:
    """Return the peer on the host of an address that does not answer, if there is one such peer."""
    host = urlsplit(location).hostname
    found = [id_ for id_, uri in left.items() if urlsplit(uri).hostname == host]
    return found[0] if len(found) == 1 else None


def _node(location: str, id_: int | None, told: Mapping[str, Any], fault: str | None) -> NodeHealth:
    details = getattr(told.get(str(id_)), "details", None)
    if details is None:
        return NodeHealth(location, id_, fault=fault)
    return NodeHealth(location, id_, details.version, details.role == "Leader", fault)


def _apart(answers: Sequence[tuple[str, Any]]) -> Iterator[str]:
    """Say which addresses do not lead to the cluster of the first one that answers."""
    sound = [(location, one) for location, one in answers if not isinstance(one, StoreError)]
    for location, answer in sound[1:]:
        first, cluster = sound[0]
        if str(getattr(answer, "peer_id", None)) not in (getattr(cluster, "peers", None) or {}):
            yield (
                f"{location} and {first} are no nodes of one cluster; name one of them in --qdrant"
            )


def _collection(
    connection: Connection, name: str, nodes: Sequence[NodeHealth], told: Any
) -> CollectionHealth:
    placed = _ask(connection, lambda client: client.collection_cluster_info(name))
    # While no node has a shard, the server does not answer for the others.
    stored = _ask(connection, lambda client: client.get_collection(name))
    found = [] if placed is None else _replicas(placed, nodes, told)
    replicas = sorted(found, key=lambda one: (one.shard, one.node))
    moving = 0 if placed is None else len(placed.shard_transfers)
    if stored is None:
        return CollectionHealth(replicas, moving)
    queue = stored.update_queue
    return CollectionHealth(
        replicas,
        moving,
        status=stored.status.value,
        optimizer=getattr(stored.optimizer_status, "error", "ok"),
        points=stored.points_count or 0,
        indexed=stored.indexed_vectors_count or 0,
        waiting=0 if queue is None else queue.length,
        copies=stored.config.params.replication_factor or 1,
        warnings=[one.message for one in stored.warnings or ()],
    )


def _replicas(placed: Any, nodes: Sequence[NodeHealth], told: Any) -> Iterator[ReplicaHealth]:
    """Yield all copies of all shards; ``placed`` has the points of those of the asked node."""
    points = {(one.shard_id, placed.peer_id): one.points_count for one in placed.local_shards}
    for shard in getattr(told, "shards", None) or ():
        for one in shard.replicas:
            points.setdefault((shard.id, one.peer_id), one.num_points)
    by_peer = {node.peer: node for node in nodes}
    for one in (*placed.local_shards, *placed.remote_shards):
        id_ = getattr(one, "peer_id", placed.peer_id)
        node = by_peer.get(id_) or nodes[0]  # a server that is no cluster
        count = points.get((one.shard_id, id_))
        yield ReplicaHealth(
            one.shard_id, node.location, one.state.value, count, answers=node.fault is None
        )
