"""Settings of a collection on a server, in Qdrant's own names.

They come from a user's file, from the collection that is made anew, or from the size of the
cluster. See `CreateCollection` in Qdrant's API.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qdrant_client import models

from geosim.ingest.store.server_requests import Connection
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM

VECTORS = {"size": EMBEDDING_DIM, "distance": models.Distance.COSINE.value}
"""What a collection of geosim holds."""

FIXED = ("metadata", "sparse_vectors", "sharding_method")
"""Settings that geosim needs for itself."""

REPLICAS = 2
"""Copies of each point on a cluster: one node may be away."""

Settings = Mapping[str, Any]


def read_settings(file: Path | None, given: dict[str, Any]) -> Settings:
    """Return the settings in a JSON file and those that were ``given``, which come first.

    Raises:
        StoreError: the file cannot be read, or has something that is no setting.
    """
    found: Any = {}
    if file is not None:
        try:
            found = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or f"no JSON: {error}"
            raise StoreError(
                f"--collection-config {file} cannot be read ({reason}); expected a JSON object"
            ) from error
        if not isinstance(found, dict):
            raise StoreError(f"--collection-config {file} holds no JSON object")
    settings: dict[str, Any] = found | given
    if not isinstance(settings.get("vectors", {}), dict):
        raise StoreError(f"--collection-config {file}: vectors are no JSON object")
    try:
        _request(settings)
    except ValidationError as error:
        (first, *_) = error.errors()
        place = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"--collection-config {file}: {place}: {first['msg']}; expected settings of Qdrant's "
            "CreateCollection"
        ) from error
    if fixed := [key for key in FIXED if key in settings]:
        raise StoreError(f"--collection-config {file}: geosim sets {', '.join(fixed)} itself")
    vectors = settings.get("vectors", {})
    if any(vectors.get(key, value) != value for key, value in VECTORS.items()):
        raise StoreError(
            f"--collection-config {file}: vectors have size {EMBEDDING_DIM} and distance Cosine; "
            "leave both out"
        )
    return settings


def settings_of(stored: models.CollectionInfo) -> Settings:
    """Return the settings with which a collection can be made again."""
    config = stored.config
    params = config.params.model_dump(mode="json", exclude_none=True)
    found = {key: params[key] for key in models.CreateCollection.model_fields if key in params}
    for name, part in (
        ("hnsw_config", config.hnsw_config),
        ("optimizers_config", config.optimizer_config),
        ("wal_config", config.wal_config),
        ("quantization_config", config.quantization_config),
        ("strict_mode_config", config.strict_mode_config),
    ):
        if part is not None:
            found[name] = part.model_dump(mode="json", exclude_none=True)
    return {key: value for key, value in found.items() if key not in FIXED}


def vectors_of(stored: models.CollectionInfo) -> str:
    """Return what vectors a collection holds, in words."""
    vectors = stored.config.params.vectors
    if isinstance(vectors, models.VectorParams):
        return f"{vectors.distance.value} vectors of size {vectors.size}"
    return "named vectors"


def settings_for(nodes: int) -> Settings:
    """Return the settings that suit a cluster of so many nodes; a single one has Qdrant's own.

    Shards are as many as nodes, so that each has a share of every search. With `REPLICAS` copies, a
    write is acknowledged by one, so that writing goes on while a node is away.
    """
    if nodes < 2:
        return {}
    return {
        "shard_number": nodes,
        "replication_factor": min(REPLICAS, nodes),
        "write_consistency_factor": 1,
    }


def default_settings(connection: Connection, given: Settings, told: str | None) -> Settings:
    """Return the settings that suit the server's nodes.

    Those of a new collection are logged with what was ``given`` in place of some, if it has a name.
    """
    try:
        cluster = connection.send(lambda client: client.cluster_status())
    except StoreError:  # a proxy may not let it through
        return {}
    found = settings_for(len(getattr(cluster, "peers", ())))
    if found and told is not None:
        listed = ", ".join(f"{key} {given.get(key, value)}" for key, value in found.items())
        logging.getLogger(__name__).warning("collection %s is made with %s", told, listed)
    return found


def arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments of `QdrantClient.create_collection`."""
    request = _request(settings)
    given = {key: value for key, value in request if value is not None}
    given["vectors_config"] = given.pop("vectors")
    return given


def _request(settings: Settings) -> models.CreateCollection:
    vectors = VECTORS | settings.get("vectors", {})
    return models.CreateCollection.model_validate({**settings, "vectors": vectors})
