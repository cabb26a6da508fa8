"""Figures that were measured on a collection, kept in the working folder until it changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import orjson

from geosim.ingest.schema import CollectionInfo
from geosim.ingest.store.base import VectorStore
from geosim.trainer.files import replacing
from geosim.trainer.text import stored_path
from geosim.trainer.working import Working

T = TypeVar("T", float, dict[str, Any])


def measured(
    store: VectorStore,
    working: Working,
    info: CollectionInfo,
    what: str,
    kind: type[T],
    measure: Callable[[], T | None],
) -> T | None:
    """Return what was measured before in the collection as ``info`` describes it, or measure it.

    It is kept as JSON of a ``kind`` under the name ``what``; None is not kept.
    """
    path = working.derived / f"{store.name}-{what}.json"
    key = {
        "collection": store.name,
        "location": stored_path(store.location),
        "model": info.model.fingerprint,
        "points": info.points,
        "revision": info.revision,
    }
    with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):  # measured again
        stored = orjson.loads(path.read_bytes())
        value = stored.pop("value")
        if stored == key and isinstance(value, kind):
            return value
    found = measure()
    if found is not None:
        with suppress(OSError), replacing(path) as temporary:  # if it fails, measured again
            temporary.write_bytes(orjson.dumps({**key, "value": found}))
    return found
