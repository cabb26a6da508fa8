"""The metadata of one embedded collection, ``<name>.json``; see `ingest/store/edge_files.py`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geosim.ingest.schema import ModelRef
from geosim.trainer.disk import explain
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.head import EMBEDDING_DIM


def new_metadata(model: ModelRef, *, ready: bool) -> dict[str, Any]:
    """Return the metadata of a new collection."""
    stored = {"ready": ready, "vector_size": EMBEDDING_DIM, "distance": "cosine"}
    return stored | asdict(model)


def read_metadata(path: Path, shard: Path) -> dict[str, Any] | None:
    """Return what ``<name>.json`` holds, or None without it.

    Raises:
        StoreError: it cannot be read, or is damaged.
    """
    try:
        stored: dict[str, Any] = json.loads(path.read_bytes())
        if not {"ready", "vector_size", "fingerprint", "backbone"} <= stored.keys():
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
