"""The key: who has it is kept out by nobody, and who has not finds it out by no guesses."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException

from geosim.search.web.guesses import MAX_ADDRESSES, MAX_WRONG, SECONDS, Guesses
from geosim.search.web.limits import MAX_REQUESTS
from geosim.search.web.protocol import TimeLimitedProtocol

KEY = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {KEY}"}
STRANGER = "127.0.0.2"  # another address of this machine, as Linux has them
HALF = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
ASKED = b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Small(TimeLimitedProtocol):
    max_connections = 3


@pytest.fixture(scope="module")
def locked(serve: Any) -> Iterator[Any]:
    with serve(host="0.0.0.0", key=KEY) as served:
        yield served


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Open a connection to a page that is closed at the end of the test."""
    with ExitStack() as opened:

        def connecting(served: Any, source: str = "127.0.0.1", sent: bytes = b"") -> socket.socket:
            host, port = served.url.removeprefix("http://").split(":")
            one = socket.create_connection((host, int(port)), 30, (source, 0))
            opened.enter_context(one)
            one.sendall(sent)
            return one

        yield connecting


def client_of(served: Any, source: str = "127.0.0.1") -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=source)
    return httpx.Client(base_url=served.url, timeout=60, transport=transport)


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server says something; return whether it closes."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def log_in(client: httpx.Client, **headers: str) -> httpx.Response:
    answer = client.post("/login", json={"key": KEY}, headers=headers)
    assert answer.status_code == 204, answer.text
    return answer


def test_half_open_requests_without_the_key_keep_nobody_out(
    locked: Any, connect: Any, eventually: Any
) -> None:
    for _ in range(MAX_REQUESTS):
        connect(locked, sent=HALF)

    def running() -> bool:
        told = client.get("/metrics", headers=BEARER).text
        found = re.search(r"^geosim_requests_running (\S+)$", told, re.MULTILINE)
        return found is not None and float(found[1]) > MAX_REQUESTS

    with client_of(locked) as client:
        eventually(running)  # all of them have arrived
        assert client.get("/api/collection", headers=BEARER).status_code == 200
        log_in(client)


def test_connections_without_the_key_give_way_to_new_ones(serve: Any, connect: Any) -> None:
    with serve(host="0.0.0.0", key=KEY, protocol=Small) as served, client_of(served) as client:
        assert client.get("/api/collection", headers=BEARER).status_code == 200, "kept alive"
        halves = [connect(served, sent=ASKED[:9]) for _ in range(4)]
        assert is_closed(halves[0])
        assert is_closed(halves[1])
        with client_of(served) as other:
            assert other.get("/api/collection", headers=BEARER).status_code == 200
        assert client.get("/api/collection", headers=BEARER).status_code == 200


def test_an_address_with_many_connections_gives_way_first(serve: Any, connect: Any) -> None:
    with serve(host="0.0.0.0", key=KEY, protocol=Small) as served:
        visitor = connect(served, STRANGER, ASKED[:9])
        flood = [connect(served, sent=ASKED[:9]) for _ in range(4)]
        assert is_closed(flood[0])
        assert is_closed(flood[1])
        visitor.sendall(ASKED[9:])
        assert visitor.recv(12) == b"HTTP/1.1 200"


def test_two_pages_on_one_host_have_a_session_each(locked: Any, serve: Any) -> None:
    with serve(host="0.0.0.0", key=KEY) as second, httpx.Client(timeout=60) as browser:
        for page in (locked, second):
            assert browser.post(f"{page.url}/login", json={"key": KEY}).status_code == 204
        for page in (locked, second):
            assert browser.get(f"{page.url}/api/collection").status_code == 200


def test_a_cookie_is_secure_where_a_proxy_with_tls_is_believed(locked: Any) -> None:
    tls = {"X-Forwarded-Proto": "https"}
    with client_of(locked) as proxy, client_of(locked, STRANGER) as stranger:
        assert "secure" in log_in(proxy, **tls).headers["set-cookie"].lower()
        assert "secure" not in log_in(proxy).headers["set-cookie"].lower()
        assert "secure" not in log_in(stranger, **tls).headers["set-cookie"].lower()


def test_a_session_ends(locked: Any) -> None:
    with client_of(locked) as client, client_of(locked) as thief, client_of(locked) as other:
        for one in (client, other):
            log_in(one)
        assert client.get("/api/collection").json()["key"] is True
        thief.cookies = httpx.Cookies(client.cookies)
        assert thief.get("/api/collection").status_code == 200
        foreign = client.post("/logout", headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert client.post("/logout").status_code == 204
        assert not client.cookies
        assert [one.get("/api/collection").status_code for one in (client, thief)] == [401, 401]
        assert other.get("/api/collection").status_code == 200
        assert client.post("/logout").status_code == 204, "nothing to end"


def test_guesses_stop_the_address_that_they_come_from_and_nobody_else(serve: Any) -> None:
    with serve(host="0.0.0.0", key=KEY) as served, client_of(served, STRANGER) as inside:
        log_in(inside)  # at the address of the one who guesses
        with client_of(served, STRANGER) as stranger, client_of(served) as visitor:
            for number in range(MAX_WRONG):
                wrong = {"Authorization": f"Bearer wrong {number}"}
                if number % 2:
                    asked = stranger.get("/api/collection", headers=wrong)
                else:
                    asked = stranger.post("/login", json={"key": f"wrong {number}"})
                assert asked.status_code == 401
            for answer in (
                stranger.post("/login", json={"key": KEY}),
                stranger.get("/api/collection", headers=BEARER),
            ):
                assert answer.status_code == 429
                assert 0 < int(answer.headers["retry-after"]) <= SECONDS
                assert "too many wrong keys from this address" in answer.json()["error"]
            assert stranger.get("/").status_code == 200
            assert inside.get("/api/collection").status_code == 200, "by its session"
            assert visitor.get("/api/collection", headers=BEARER).status_code == 200
            log_in(visitor, **{"X-Forwarded-For": "203.0.113.5"})
        with client_of(served) as proxy:
            told = proxy.get("/api/collection", headers=BEARER | {"X-Forwarded-For": STRANGER})
            assert told.status_code == 429, "it says for whom it asks"


def test_the_count_of_guesses_ends_and_takes_little_memory() -> None:
    now = 100.0
    guesses = Guesses(lambda: now)

    def stopped(address: str) -> bool:
        try:
            guesses.check(address)
        except HTTPException as error:
            return error.status_code == 429
        return False

    for _ in range(MAX_WRONG):
        assert not stopped("2001:db8::1")
        guesses.wrong("2001:db8::1")
    assert stopped("2001:db8::2"), "one customer has 64 bits"
    assert not stopped("2001:db8:0:1::1")
    now += SECONDS
    assert not stopped("2001:db8::1")
    for _ in range(MAX_WRONG):
        guesses.wrong("2001:db8::1")
    for number in range(MAX_ADDRESSES):
        guesses.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guesses._wrong) == MAX_ADDRESSES
    assert not stopped("2001:db8::1"), "it was forgotten, not kept out"
