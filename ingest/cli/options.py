"""Options that name a store."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from geosim.ingest.store.base import WAIT_SECONDS, VectorStore
from geosim.ingest.store.factory import open_store
from geosim.trainer.cli.options import Range
from geosim.trainer.working import Working

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def store_options(function: AnyFunction) -> AnyFunction:
    """Add ``--qdrant``, ``--collection`` and ``--wait``."""
    qdrant = click.option(
        "--qdrant",
        metavar="URL[,URL...]_OR_PATH",
        envvar="GEOSIM_QDRANT_URL",
        show_envvar=True,
        help="A Qdrant server (http://localhost:6333), the nodes of a cluster parted by commas, or "
        "a folder for the embedded engine [default: WORKING/qdrant]. A server's API key comes from "
        "GEOSIM_QDRANT_API_KEY.",
    )
    collection = click.option(
        "--collection",
        default="geosim",
        show_default=True,
        envvar="GEOSIM_COLLECTION",
        show_envvar=True,
        help="Name of the collection.",
    )
    wait = click.option(
        "--wait",
        type=Range(min=0),
        metavar="SECONDS",
        default=WAIT_SECONDS,
        show_default=True,
        envvar="GEOSIM_WAIT",
        show_envvar=True,
        help="How long to wait for another process that uses the embedded collection, and for a "
        "server that was lost.",
    )
    return qdrant(collection(wait(function)))


def open_from_options(
    qdrant: str | None, collection: str, wait: float, working: Working, *, shared: bool = False
) -> VectorStore:
    """Open the store that the options name; take the API key from the environment."""
    key = os.environ.get("GEOSIM_QDRANT_API_KEY") or None
    return open_store(
        qdrant or None, collection, working=working.root, api_key=key, wait=wait, shared=shared
    )
