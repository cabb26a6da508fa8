"""Options that name a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from geosim.ingest.store.base import WAIT_SECONDS, VectorStore
from geosim.ingest.store.factory import open_store
from geosim.trainer.cli.options import Range
from geosim.trainer.working import Working

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


collection_option = click.option(
    "--collection",
    default="geosim",
    show_default=True,
    envvar="GEOSIM_COLLECTION",
    show_envvar=True,
    help="Name of the collection.",
)

wait_option = click.option(
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
    return qdrant(collection_option(wait_option(function)))


def settings_options(function: AnyFunction) -> AnyFunction:
    """Add the settings of a new collection on a server, received as ``settings``."""
    numbers = {
        "--shards": ("shard_number", "Shards of a new collection on a server"),
        "--replicas": ("replication_factor", "Copies of each of its points"),
        "--write-consistency": (
            "write_consistency_factor",
            "Copies that must have a write before it is acknowledged",
        ),
    }

    @wraps(function)
    def collect(*args: Any, collection_config: Path | None, **options: Any) -> Any:
        given = {key: options.pop(key) for key, _ in numbers.values()}
        given = {key: value for key, value in given.items() if value is not None}
        settings = None
        if given or collection_config is not None:
            from geosim.ingest.store.server_settings import read_settings

            settings = read_settings(collection_config, given)
        return function(*args, settings=settings, **options)

    decorated: Any = collect
    for name, (key, summary) in reversed(numbers.items()):
        decorated = click.option(
            name,
            key,
            type=click.IntRange(min=1),
            help=f"{summary}.  [default: what suits the number of nodes]",
        )(decorated)
    config = click.option(
        "--collection-config",
        type=click.Path(dir_okay=False, exists=True, path_type=Path),
        metavar="FILE",
        help="JSON with further settings of a new collection on a server, under Qdrant's own "
        'names, as {"on_disk_payload": true, "hnsw_config": {"m": 32}}. One that is made anew '
        "keeps its settings.",
    )
    decorated = config(decorated)
    return cast("AnyFunction", decorated)


def open_from_options(
    qdrant: str | None,
    collection: str,
    wait: float,
    working: Working,
    *,
    shared: bool = False,
    settings: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> VectorStore:
    """Open the store that the options name; without a key, take it from the environment."""
    key = key or os.environ.get("GEOSIM_QDRANT_API_KEY") or None
    return open_store(
        qdrant or None,
        collection,
        working=working.root,
        api_key=key,
        wait=wait,
        shared=shared,
        settings=settings,
    )
