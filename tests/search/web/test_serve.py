"""``geosim serve`` as a user starts and ends it."""

from __future__ import annotations

import json
import math
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from click.testing import Result
from starlette.applications import Starlette

from geosim.ingest.store.edge import EdgeStore
from geosim.search.cli.serve import make_server
from geosim.search.web.protocol import TimeLimitedProtocol
from geosim.trainer.files import copy_sparse
from geosim.trainer.working import Working
from tests.search.web.drawn import drawn

Run = Callable[..., Result]
Started = Callable[..., AbstractContextManager[tuple[str, subprocess.Popen[str]]]]


@pytest.fixture
def copy(odd: Working, tmp_path: Path) -> Working:
    copy_sparse(odd.root, tmp_path / "working")
    return Working(tmp_path / "working")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_and_ends_well(
    started: Started, copy: Working, ending: signal.Signals
) -> None:
    with started(copy.root) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/api/collection").json()["points"] == 98
            process.send_signal(ending)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert "ended" in err
    assert "Traceback" not in err


def test_as_json_it_logs_requests_by_route_and_what_breaks(started: Started, copy: Working) -> None:
    broken = "import geosim.search.web.browse as s; s.read_facets = lambda *_: 1 / 0"
    with started(copy.root, "--log-format", "json", before=broken) as (address, process):
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/api/collection").status_code == 200
            assert client.get("/api/facets", params={"where": "class = marble"}).status_code == 500
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    found = [json.loads(line) for line in err.splitlines()]
    assert {one["command"] for one in found} == {"serve"}
    assert (found[0]["message"], found[-1]["message"]) == ("loading the model ...", "ended")
    requests = [one for one in found if one["message"] == "request"]
    assert [(one["method"], one["route"], one["status"]) for one in requests] == [
        ("GET", "/api/collection", 200),
        ("GET", "/api/facets", 500),
    ]
    assert all(0 < one["seconds"] < 60 for one in requests)
    (error,) = [one for one in found if one["level"] == "error"]
    assert "ZeroDivisionError" in error["exception"]
    assert "marble" not in err


def test_it_serves_a_read_only_working_folder(
    started: Started, copy: Working, make_read_only: Callable[[Path], None]
) -> None:
    make_read_only(copy.root)
    with started(copy.root) as (address, process):
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/api/collection").json()["points"] == 98
            assert len(drawn(client)["ids"]) == 98  # it is computed, and cannot be kept
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"{copy.qdrant} is read-only: reading a temporary copy of it" in err
    assert "Traceback" not in err
    with EdgeStore(copy.qdrant, "geosim") as store:
        assert store.count() == 98


SLOW_MAP = """
import threading, geosim.search.web.map
geosim.search.web.map.WAIT_SECONDS = 0.1
geosim.search.web.map.layout = lambda *_: threading.Event().wait()
"""


SLOW_MEASURE = """
import threading, geosim.search.web.judgement
geosim.search.web.judgement.novelty_threshold = lambda *_: threading.Event().wait()
"""


def test_it_ends_while_what_is_usual_is_measured(started: Started, copy: Working) -> None:
    with started(copy.root, before=SLOW_MEASURE) as (address, process):
        assert httpx.get(address + "api/collection", timeout=60).status_code == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.endswith("ended\n")


def test_it_ends_while_a_map_is_drawn(started: Started, copy: Working) -> None:
    with started(copy.root, before=SLOW_MAP) as (address, process):
        answer = httpx.get(address + "api/map", timeout=60)
        assert (answer.status_code, answer.json()["total"]) == (202, 0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.endswith("ended\n")


def test_the_key_comes_from_the_environment_and_is_never_shown(
    started: Started, copy: Working
) -> None:
    options = ("--host", "0.0.0.0")
    with started(copy.root, *options, GEOSIM_SERVE_API_KEY="open-sesame-0123") as (
        address,
        process,
    ):
        port = address.rstrip("/").rpartition(":")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.get("/api/collection").status_code == 401
            client.headers["Authorization"] = "Bearer open-sesame-0123"
            assert client.get("/api/collection").status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "sesame" not in address + out + err


@pytest.mark.parametrize("key", [(), ("--api-key", "")])
def test_beyond_this_machine_it_wants_a_key(
    geosim: Run, copy: Working, key: tuple[str, ...]
) -> None:
    result = geosim("serve", "--host", "0.0.0.0", *key, "--working", copy.root)
    assert result.exit_code == 2
    assert "--api-key" in result.stderr
    assert "GEOSIM_SERVE_API_KEY" in result.stderr


def test_a_port_that_is_taken(geosim: Run, copy: Working) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = geosim("serve", "--port", port, "--working", copy.root)
    assert result.exit_code == 1
    assert f"port {port}" in result.stderr
    assert "another --port" in result.stderr


def test_a_host_that_is_no_name(geosim: Run, copy: Working) -> None:
    options = ("--host", "a" * 70, "--api-key", "open-sesame-0123")
    result = geosim("serve", *options, "--working", copy.root)
    assert result.exit_code == 1
    assert "cannot listen on aaa" in result.stderr


def test_nothing_to_serve(geosim: Run, working: Working) -> None:
    result = geosim("serve", "--port", 0, "--working", working.root)
    assert result.exit_code == 1
    assert "geosim ingest" in result.stderr


def test_help_is_answered_without_the_web_framework() -> None:
    code = (
        "import sys; from geosim.search.cli.main import geosim\n"
        "geosim(['serve', '--help'], standalone_mode=False)\n"
        "assert not {'fastapi', 'uvicorn', 'pydantic', 'starlette', 'openTSNE'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "Examples:" in done.stdout


class Noting(TimeLimitedProtocol):
    """Notes of each connection whether what is written leaves at once."""

    at_once: ClassVar[list[int]] = []

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        option = transport.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY
        )
        self.at_once.append(option)


def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_acknowledged(serve: Any) -> None:
    with serve(protocol=Noting) as served, served.client as client:
        assert client.get("/api/collection").status_code == 200
    assert Noting.at_once
    assert all(Noting.at_once)


def test_clients_close_idle_connections_first() -> None:
    # Else a request may meet a closing connection, and a POST is not sent again.
    keep_alive = make_server(Starlette()).config.timeout_keep_alive
    assert keep_alive > (httpx.Limits().keepalive_expiry or math.inf)
