"""HTTP/1.1 connections: their number, and the time for a request head and for taking a response.

A new connection takes the place of an old one that has not shown the key, so that strangers keep
nobody out who has it.

uvicorn has no such limits, so this subclasses its h11 protocol; `pyproject.toml` bounds the version
and `tests/search/web/test_protocol.py` checks what is used. uvicorn closes idle connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from geosim.search.web.access import HAS_KEY
from geosim.search.web.responses import SECURITY_HEADERS, error_response


class TimeLimitedProtocol(H11Protocol):
    """One connection; a subclass may set other limits."""

    max_connections = 256
    """Open connections; further ones take the place of one without the key, or are refused with
    503. A browser holds up to six."""

    head_seconds = 20.0
    """From the connection, or from the first byte after a response, to the end of the next request
    head. A body that the application does not read counts as such a head."""

    write_seconds = 60.0
    """Time for a client to take a response: the map of 30,000 images, 3 MB, at 0.4 Mbit/s."""

    _refused = False
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time of the first request head."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refused = not self._make_room()
        # asyncio sets this only on sockets that name their protocol. Without it a response body
        # waits 40 ms for the client to acknowledge the head.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=0)  # calls `pause_writing` as soon as data waits
        self._opened_at = self.loop.time()
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        _cancel(self._head_timer)
        _cancel(self._write_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request; while no request runs, the time of a head passes."""
        if self._refused:
            self._refuse(503, "too many connections at once; try again")
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None and not self.transport.is_closing():
            self._start_head_timer()

    def pause_writing(self) -> None:
        """Start the time of writing."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the time of writing: the client has taken everything."""
        _cancel(self._write_timer)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Refuse invalid HTTP, as JSON."""
        self._refuse(400, "this is no HTTP/1.1; send a request as /docs describes it")

    def _make_room(self) -> bool:
        """Close the oldest connection without the key, of the address that has most of them.

        Returns whether there was one.
        """
        others = [one for one in self._opened() if not one._has_key]
        count = Counter(one._address for one in others)
        last = max(others, key=lambda one: count[one._address], default=None)
        if last is not None:
            self.connections.discard(last)
            last.transport.abort()
        return last is not None

    def _opened(self) -> list[TimeLimitedProtocol]:
        """Return the other connections, oldest first."""
        opened = [cast(TimeLimitedProtocol, one) for one in self.connections if one is not self]
        return sorted(opened, key=lambda one: one._opened_at)

    @property
    def _has_key(self) -> bool:
        """Whether the last request on this connection had the key; without one, whether it came."""
        return self.scope is not None and bool(self.scope.get(HAS_KEY))

    @property
    def _address(self) -> str:
        return "" if self.client is None else self.client[0]

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_timeout)

    def _head_timeout(self) -> None:
        """Close the connection, with 408 if a head has begun."""
        if self.conn.trailing_data[0] and not self.transport.is_closing():
            self._refuse(408, f"the request's head took longer than {self.head_seconds:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, error: str) -> None:
        """Send an error, unless a response has begun, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = error_response(status, error, {**SECURITY_HEADERS, "Connection": "close"})
            head = h11.Response(status_code=status, headers=response.raw_headers)
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
