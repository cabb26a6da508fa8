"""The parts of uvicorn that the protocol uses and that uvicorn does not document."""

from __future__ import annotations

import asyncio
import inspect
import socket
from typing import Any

import h11
import pytest
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from geosim.search.web.protocol import TimeLimitedProtocol


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("__init__", ["config", "server_state", "app_state", "_loop"]),
        ("connection_made", ["transport"]),
        ("connection_lost", ["exc"]),
        ("data_received", ["data"]),
        ("pause_writing", []),
        ("resume_writing", []),
        ("send_400_response", ["msg"]),
    ],
)
def test_methods_that_are_overridden(method: str, parameters: list[str]) -> None:
    for protocol in (H11Protocol, TimeLimitedProtocol):
        signature = inspect.signature(getattr(protocol, method))
        assert list(signature.parameters) == ["self", *parameters]


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__({"socket": connection})
        self.written: list[bytes] = []
        self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def test_attributes_and_calls_that_are_used() -> None:
    received: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def exchange(connection: socket.socket) -> None:
        state, transport = ServerState(), Transport(connection)
        config = Config(app, ws="none", lifespan="off", log_config=None)
        protocol = TimeLimitedProtocol(config=config, server_state=state, app_state={})
        protocol.connection_made(transport)
        assert protocol.connections is state.connections
        assert state.connections == {protocol}
        assert protocol.loop is asyncio.get_running_loop()
        assert protocol.transport is transport
        assert isinstance(protocol.conn, h11.Connection)
        assert protocol.cycle is None

        protocol.data_received(b"GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n")
        cycle: Any = protocol.cycle
        assert isinstance(cycle, RequestResponseCycle)
        assert cycle.response_complete is False
        await asyncio.gather(*state.tasks)
        assert cycle.response_complete is True
        assert received == ["/first"]

        transport.written.clear()
        protocol.data_received(b"no HTTP\r\n\r\n")
        assert transport.written[0].startswith(b"HTTP/1.1 400"), "through `send_400_response`"
        assert b"application/json" in transport.written[0]
        assert transport.closed
        protocol.connection_lost(None)
        assert state.connections == set()

    with socket.socket() as connection:
        asyncio.run(exchange(connection))
