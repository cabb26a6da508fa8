"""The health of a server or cluster, in plain values, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

ACTIVE = "Active"
"""State of a replica that is read and written."""


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """One node of a server or cluster.

    Attributes:
        location: its URL as --qdrant has it, otherwise as the other nodes have it.
        peer: its id in the cluster; None without a cluster, or if it is not known.
        version: version of Qdrant; None if it is not known.
        leader: whether it leads the cluster.
        fault: why it cannot be used, and the remedy; None if it answers.
    """

    location: str
    peer: int | None = None
    version: str | None = None
    leader: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class ReplicaHealth:
    """One copy of a shard.

    Attributes:
        node: location of its node.
        state: Qdrant's word for it, `ACTIVE` if all is well.
        points: approximate number of its points; None if its node does not tell.
        answers: whether its node does.
    """

    shard: int
    node: str
    state: str
    points: int | None
    answers: bool


@dataclass(frozen=True, slots=True)
class CollectionHealth:
    """A collection as its server sees it.

    Attributes:
        replicas: the copies of all shards, by shard and node.
        moving: copies that are on their way to another node.
        status: green, yellow while it is optimized, grey if that waits, red after a failure; None
            where the server cannot tell, as while a shard is away, like all below.
        optimizer: "ok", or what failed.
        points: approximate number of points.
        indexed: approximate number of points that are in an HNSW index.
        waiting: writes that wait to be applied on the node that was asked.
        copies: copies of each shard that there should be.
        warnings: what the server says about the collection.
    """

    replicas: Sequence[ReplicaHealth]
    moving: int
    status: str | None = None
    optimizer: str | None = None
    points: int | None = None
    indexed: int | None = None
    waiting: int | None = None
    copies: int | None = None
    warnings: Sequence[str] = ()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is written, moved or optimized, so that copies should be equal."""
        return self.status == "green" and not self.waiting and not self.moving


@dataclass(frozen=True, slots=True)
class Health:
    """The nodes of a server or cluster and one collection of it; None if there is none.

    Attributes:
        faults: what is not well, with the node and the remedy, a line each.
    """

    nodes: Sequence[NodeHealth]
    collection: CollectionHealth | None
    faults: Sequence[str]

    @property
    def unreadable(self) -> list[int]:
        """The shards of which no copy can be read."""
        return [] if self.collection is None else _unreadable(self.collection)


@runtime_checkable
class Served(Protocol):
    """A store of a server or cluster."""

    def health(self) -> Health:
        """Return the health of its nodes and of its collection."""


def find_faults(nodes: Sequence[NodeHealth], collection: CollectionHealth | None) -> Iterator[str]:
    """Yield what is not well, with the node and the remedy, a line each."""
    yield from (node.fault for node in nodes if node.fault is not None)
    if collection is None:
        return
    for shard, replicas in by_shard(collection).items():
        yield from _shard_faults(shard, replicas, collection)
    if collection.optimizer not in (None, "ok"):
        yield (
            f"the optimizer failed: {collection.optimizer}; look for a full disk, and at the log "
            "of the nodes"
        )
    elif collection.status == "red":
        yield "the collection is red: an operation failed; look at the log of the nodes"
    elif collection.status == "grey":
        yield "the optimization waits after a restart of the server; the next write starts it"
    yield from collection.warnings


def by_shard(collection: CollectionHealth) -> dict[int, list[ReplicaHealth]]:
    """Return the copies of each shard."""
    shards: dict[int, list[ReplicaHealth]] = {}
    for one in collection.replicas:
        shards.setdefault(one.shard, []).append(one)
    return shards


def _unreadable(collection: CollectionHealth) -> list[int]:
    return [
        shard
        for shard, replicas in by_shard(collection).items()
        if not any(one.answers and one.state == ACTIVE for one in replicas)
    ]


def _shard_faults(
    shard: int, replicas: Sequence[ReplicaHealth], collection: CollectionHealth
) -> Iterator[str]:
    nodes = ", ".join(one.node for one in replicas)
    if shard in _unreadable(collection):
        yield f"shard {shard} cannot be read until a copy of it is back, on {nodes}"
    for one in replicas:
        if one.answers and one.state != ACTIVE:
            yield (
                f"shard {shard} on {one.node} is {one.state}; the cluster copies it by itself, and "
                "the log of the node says why if it stays so"
            )
    if collection.copies is not None and len(replicas) < collection.copies:
        yield (
            f"shard {shard} has {len(replicas)} of {collection.copies} copies, on {nodes}; add "
            "one with Qdrant's replicate_shard"
        )
    counts = {one.points for one in replicas if one.points is not None and one.state == ACTIVE}
    if len(counts) > 1 and collection.at_rest:
        held = ", ".join(
            f"{one.points:,} on {one.node}" for one in replicas if one.points is not None
        )
        yield (
            f"the copies of shard {shard} differ: {held}; run `geosim ingest` again, which writes "
            "what is missing"
        )
