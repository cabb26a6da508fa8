"""The metadata of one embedded collection, ``<name>.json``; see `ingest/store/edge_files.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geosim.ingest.schema import ModelRef, Origin
from geosim.trainer.disk import explain
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM


def new_metadata(model: ModelRef, *, ready: bool) -> dict[str, Any]:
    """Return the metadata of a new collection."""
    stored = {"ready": ready, "vector_size": EMBEDDING_DIM, "distance": "cosine"}
    return stored | asdict(model)


def places(name: str) -> tuple[str, str]:
    """Return the names of the folders that a shard may be in: no collection has the second one."""
    return name, f"{name}+2"


def shard_name(stored: Mapping[str, Any], name: str) -> str:
    """Return the name of the shard's folder; earlier versions did not store it."""
    return str(stored.get("shard", name))


def read_metadata(path: Path, shard: Path) -> dict[str, Any] | None:
    """Return what ``<name>.json`` holds, or None without it.

    Raises:
        StoreError: it cannot be read, or is damaged.
    """
    try:
        stored: dict[str, Any] = json.loads(path.read_bytes())
        wanted = {"ready", "vector_size", "fingerprint", "backbone"}
        if not wanted <= stored.keys() or shard_name(stored, shard.name) not in places(shard.name):
            raise ValueError(f"geosim did not write {path.name}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {explain(error, path)}. Nothing says that "
            "the collection is damaged"
        ) from error
    except (ValueError, AttributeError) as error:
        raise StoreError(
            f"{path}, which tells the model of collection {shard.name!r}, is damaged "
            f"({error}); restore it from a backup, or move {shard} and "
            f"{path.name} away and ingest again"
        ) from error
    return stored


def origins_of(stored: Mapping[str, Any]) -> dict[str, Origin]:
    """Return where the data sets come from, by name."""
    return {name: Origin.from_dict(one) for name, one in stored.get("origins", {}).items()}


def with_origin(stored: dict[str, Any], dataset: str, origin: Origin | None) -> dict[str, Any]:
    """Return metadata in which a data set comes from ``origin``, or from nowhere."""
    origins = {name: one for name, one in stored.get("origins", {}).items() if name != dataset}
    if origin is not None:
        origins[dataset] = origin.to_dict()
    return stored | {"origins": origins}
