"""HTTP/1.1 with patience that ends: no client holds a connection by being slow.

Owns how many connections there are, that answers leave at once, and the time for a request's head,
for what is left of a body that nobody waits for, and for taking an answer. The time of a body that
is waited for is `search/web/guard.py`; idle connections are uvicorn's, five seconds.
"""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from geosim.search.web.guard import HEADERS, refusal

MOST_CONNECTIONS = 256
"""Open connections at once; a browser holds up to six."""

HEAD_SECONDS = 20.0
"""Time for a whole request head: browsers send one in a packet or two."""

TAKING_SECONDS = 60.0
"""Time for a client to take what was sent: the map of 30,000 images, 3 MB, at 0.4 Mbit/s."""


class TimeLimitedProtocol(H11Protocol):
    """One connection; a subclass may set other limits.

    Attributes:
        head_seconds: from the connection, or from the first byte after an answer, to the whole head
            of the next request.
        taking_seconds: until everything that was sent has left this process.
        most_connections: one more is told to come back; those that are open go on.
    """

    head_seconds = HEAD_SECONDS
    taking_seconds = TAKING_SECONDS
    most_connections = MOST_CONNECTIONS
    _too_many = False
    _asking: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._too_many = len(self.connections) > self.most_connections
        # asyncio does this for its own sockets alone; without it the body of an answer waits for
        # the client to acknowledge the head, 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` as soon as anything waits
        self._asking = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._asking = _stopped(self._asking)
        self._taking = _stopped(self._taking)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; wait for the rest of its head, but not for ever."""
        if self._too_many:
            self._refuse(503, "too many connections at once; try again")
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._asking = _stopped(self._asking)
        elif self._asking is None and not self.transport.is_closing():
            self._asking = self.loop.call_later(self.head_seconds, self._too_slow)

    def pause_writing(self) -> None:
        """Wait for the client to take what it was sent."""
        super().pause_writing()
        self._taking = self.loop.call_later(self.taking_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: all of it was taken."""
        self._taking = _stopped(self._taking)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in JSON as all else."""
        self._refuse(400, msg)

    def _too_slow(self) -> None:
        """Close; say why to a client that has begun to ask."""
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            self._refuse(408, f"the request's head took longer than {self.head_seconds:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, error: str) -> None:
        about, body = refusal(error)
        headers = {**HEADERS, **about, "Connection": "close"}
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else there is an answer already
            for event in (
                h11.Response(status_code=status, headers=list(headers.items())),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Stop a timer; return none, to stand in its place."""
    if timer is not None:
        timer.cancel()
    return None
