"""Chooses the engine of a collection from one URL or path; imports no other engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geosim.ingest.checks import without_userinfo
from geosim.ingest.store.base import VectorStore
from geosim.trainer.errors import StoreError


def is_url(target: str) -> bool:
    """Return whether a target is the URL of a Qdrant server, or several."""
    return re.match(r"https?://", target, re.IGNORECASE) is not None


def open_store(
    target: str | None,
    collection: str,
    *,
    working: Path,
    api_key: str | None = None,
    wait: float = 0.0,
    shared: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> VectorStore:
    """Return the store of a collection; opens and requests nothing.

    ``target`` is the URL of a Qdrant server, several of a cluster parted by commas, or a folder for
    the embedded engine; None for ``<working>/qdrant``. ``wait`` is the number of seconds to wait
    for another process that holds an embedded collection, and to try a lost server again.
    ``shared`` leaves an embedded collection to other processes: the store reads copies of it, and
    cannot write. ``settings`` are those of a collection that is created on a server, in Qdrant's
    names (`server_settings`).

    Raises:
        StoreDeniedError: ``api_key`` has characters that no key has.
        StoreError: ``target`` or the name is unusable.
    """
    if target is not None and is_url(target):
        from geosim.ingest.store.server import connect

        return connect(target, api_key, collection, wait=wait, settings=settings)
    if target is not None and re.search(r"^[A-Za-z][\w+.-]*://|^[\w.-]+:\d+(/|$)", target):
        raise StoreError(
            f"--qdrant {without_userinfo(target)!r} is neither a server's URL nor a folder; "
            "expected http://HOST:6333, https://HOST:6333 or the path of a folder"
        )
    if settings:
        raise StoreError(
            f"an embedded collection has none of the settings {', '.join(settings)}; name a server "
            "with --qdrant URL, or leave them out"
        )
    folder = working / "qdrant" if target is None else Path(target)
    if shared:
        from geosim.ingest.store.edge_shared import SharedEdgeStore

        return SharedEdgeStore(folder, collection, wait)
    from geosim.ingest.store.edge import EdgeStore

    return EdgeStore(folder, collection, wait)
