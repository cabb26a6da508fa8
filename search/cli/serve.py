"""``geosim serve``: listen, and serve the web page until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.trainer.cli.command import Command
from geosim.trainer.cli.options import working_option
from geosim.trainer.console import say
from geosim.trainer.logs import as_json
from geosim.trainer.working import Working

if TYPE_CHECKING:
    import asyncio

    import uvicorn
    from starlette.types import ASGIApp

HEAD_BYTES = 64 * 2**10
"""Largest request head: the URL of a search by 200 examples has 53 KB."""

KEEP_ALIVE_SECONDS = 10
"""Seconds until an idle connection is closed. Clients that keep theirs for 5 s, as httpx does,
close them first, and send no request into a connection that closes."""

LOOPBACK = "127.0.0.1,::1"
"""Addresses of a proxy that is believed who a visitor is, and whether TLS reaches it."""

SHUTDOWN_SECONDS = 5
"""Time for running requests after Ctrl-C."""


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--api-key",
    metavar="KEY",
    envvar="GEOSIM_SERVE_API_KEY",
    show_envvar=True,
    help="Key that visitors must enter; required with a --host that other machines can reach. "
    "Prefer the environment, where other users of this machine do not see it.",
)
@store_options
@working_option
def serve(
    host: str,
    port: int,
    api_key: str | None,
    qdrant: str | None,
    collection: str,
    wait: float,
    working: Working,
) -> None:
    """Serve a web page for searching, with a map of the collection.

    Only this machine can open it, unless --host names another address and there is a key. The key
    and the pictures are sent unencrypted: put a proxy with TLS before it, which sets
    X-Forwarded-Proto and X-Forwarded-For. One on this machine is believed; name another one's
    addresses, with commas between, in FORWARDED_ALLOW_IPS. 20 wrong keys in a minute stop their
    address for the rest of it, but nobody who is logged in.

    Other commands may read and change the collection meanwhile. The page shows a change when its
    command ends. It reads a copy of an embedded collection, in the system's folder for temporary
    files (TMPDIR).

    \b
    Examples:
      geosim serve
      geosim serve --port 9000 --qdrant http://localhost:6333
      GEOSIM_SERVE_API_KEY=... geosim serve --host 0.0.0.0
    """  # noqa: D301 - click's mark for text that keeps its lines
    from geosim.search.web.access import Access

    try:
        access = Access(host, api_key or None)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with (
        open_from_options(qdrant, collection, wait, working, shared=True) as store,
        _listen(host, port) as listener,
    ):
        say("loading the model ...", err=True)
        with ThreadPoolExecutor(1) as beside:
            beside.submit(store.info)  # copies and opens it; what it raises, `make_app` does
            from geosim.search.web.app import make_app
        app = make_app(store, working, access)
        url_host = f"[{host}]" if ":" in host else host
        say(f"http://{url_host}:{listener.getsockname()[1]}/ (Ctrl-C ends)")
        _run(app, listener)
    say("ended", err=True)
    _exit()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(
            f"cannot listen on {host}, port {port}: {reason}; name another --port or --host"
        ) from error


def _exit() -> None:
    """End the process even while a thread computes a map, which takes minutes.

    The store is closed by now, and a map is written only when it is complete.
    """
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def make_server(app: ASGIApp, protocol: type[asyncio.Protocol] | None = None) -> uvicorn.Server:
    """Return a server of one process that logs only errors; requests are logged as JSON alone.

    Args:
        app: the web page.
        protocol: class of a connection; None for `TimeLimitedProtocol`.
    """
    import uvicorn

    from geosim.search.web.protocol import TimeLimitedProtocol

    config = uvicorn.Config(
        app,
        http=protocol or TimeLimitedProtocol,
        ws="none",
        lifespan="on",
        log_config=None if as_json() else uvicorn.config.LOGGING_CONFIG,
        log_level="error",
        access_log=False,
        server_header=False,
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", LOOPBACK),
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)


def _run(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, and return."""
    server = make_server(app)
    # uvicorn raises the signal again after its shutdown; the store is not closed yet.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, previous)
