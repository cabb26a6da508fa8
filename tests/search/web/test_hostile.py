"""What a stranger may try: a clear 4xx in JSON, nothing leaked, nothing executed."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request

from geosim.ingest.plan import IMAGE_ROUTE
from geosim.ingest.schema import point_id
from geosim.search.web.access import HAS_KEY, Access
from geosim.search.web.app import FOLDER
from geosim.search.web.limits import MAX_BUFFERED_BYTES, MAX_REQUESTS, BodyLimit, limit_requests
from geosim.search.web.pictures import UPLOAD_BYTES
from geosim.search.web.protocol import TimeLimitedProtocol
from geosim.search.web.responses import HANDLERS
from geosim.trainer.errors import StoreError

KEY = "sésame, ouvre-toi"
STORED = point_id("rocks/marble/marble-0002.jpg")
JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}
TRICKS = [  # and the status of a path with each as an id: 404 where it has slashes
    ("../../../../etc/passwd", 404),
    ("..%2f..%2f..%2fetc%2fpasswd", 404),
    ("%2e%2e/%2e%2e/etc/passwd", 404),
    ("/etc/passwd", 404),
    ("//etc/passwd", 404),
    ("file:///etc/passwd", 404),
    ("..\\..\\windows\\win.ini", 422),
    ("rocks/marble/marble-0002.jpg", 404),
    ("%00", 422),
    ("%ff%fe", 422),
    ("{id}", 422),
    ("' OR 1=1 --", 422),
    ("<script>alert(1)</script>", 404),
    ("x" * 5000, 422),
]


def refused(answer: httpx.Response, served: Any, status: int) -> str:
    """Check that an answer is a clear refusal that tells nothing of the machine."""
    assert answer.status_code == status, answer.text[:300]
    body = json.loads(answer.text)
    assert list(body) in (["error"], ["error", "place"])
    assert body["error"]
    for word in (
        "root:",
        "Traceback",
        str(served.working.root),
        str(served.rocks),
        "site-packages",
    ):
        assert word not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/json"
    return str(body["error"])


def floats(*values: float) -> str:
    packed = np.resize(np.array(values, dtype="<f4"), 32).tobytes()
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


@pytest.mark.parametrize(("trick", "status"), TRICKS)
def test_no_parameter_reaches_the_file_system(
    client: httpx.Client, served: Any, trick: str, status: int
) -> None:
    for address in (
        f"/api/images/{trick}",
        f"/api/images/{trick}/region?box=0,0,9,9",
        f"/api/points/{trick}",
        f"/api/points/{trick}/similar",
    ):
        refused(client.get(address), served, status)
    refused(client.get(f"/api/images/{STORED}/region", params={"box": trick}), served, 422)
    for name in ("k", "class", "min_score", "one_per", "where", "not_same", "show", "crop", "path"):
        similar = f"/api/points/{STORED}/similar"
        refused(client.get(similar, params={name: trick}), served, 422)
    refused(client.get(f"/api/images/{STORED}", params={"side": trick}), served, 422)
    refused(client.get("/api/search", params={"embedding": trick}), served, 422)
    link = {"embedding": floats(1), "sha256": trick}
    refused(client.get("/api/search", params=link), served, 422)
    refused(client.post("/api/recommend", json={"positive": [trick]}), served, 422)
    refused(client.post("/api/recommend", json={"positive": [STORED], trick: 1}), served, 422)
    refused(client.get(f"/static/{trick}"), served, 404)
    refused(client.get(f"/{trick}"), served, 404)


def test_the_sources_are_not_served(served: Any) -> None:
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static//../app.py",
        "/static/index.html/../../app.py",
        f"/static/{FOLDER.parent / 'app.py'}",
    ):
        answer = exchange(served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith("HTTP/1.1 404")


@pytest.mark.parametrize(
    "parameters",
    [
        {"k": 0},
        {"k": -1},
        {"k": 1001},
        {"k": "1e3"},
        {"k": "9" * 400},
        {"k": ""},
        {"min_score": 1.01},
        {"min_score": "nan"},
        {"min_score": "inf"},
        {"min_score": "1e999"},
        {"class": "no such class"},
        {"class": ""},
        {"crop": ""},
        {"crop": "1,2,3"},
        {"crop": "nan,0,10,10"},
        {"crop": "0,0,1e999999999,10"},
        {"crop": "0,0,10%,10"},
        {"crop": "-1,0,10,10"},
        {"crop": "9" * 5000 + ",0,10,10"},
        {"unknown": 1},
    ],
)
def test_wishes_that_cannot_be_fulfilled(
    client: httpx.Client, served: Any, photo: Path, parameters: dict[str, Any]
) -> None:
    picture = photo.read_bytes()
    posted = client.post("/api/search", content=picture, headers=JPEG, params=parameters)
    name = next(iter(parameters))
    assert name in refused(posted, served, 422)
    refused(client.get(f"/api/points/{STORED}/similar", params=parameters), served, 422)
    link = {"embedding": floats(1), **parameters}
    refused(client.get("/api/search", params=link), served, 422)


@pytest.mark.parametrize(
    "parameters",
    [
        {"one_per": "no such fact"},
        {"one_per": ""},
        {"not_same": "no such fact"},
        {"show": "no such fact"},
        {"show": ",,"},
        {"show": '"'},
        {"show": "class," * 300},
        {"where": ""},
        {"where": "depth = 3"},
        {"where": "(" * 4000},
        {"where": "not " * 999 + "class = marble"},
        {"where": "class = marble or " * 999},
        {"where": "class = '" + "\u00fc" * 3980},
    ],
)
def test_fields_and_expressions_that_are_none(
    client: httpx.Client, served: Any, parameters: dict[str, Any]
) -> None:
    refused(client.get(f"/api/points/{STORED}/similar", params=parameters), served, 422)
    refused(client.post("/api/recommend", json={"positive": [STORED], **parameters}), served, 422)
    if "where" in parameters and "class" not in parameters["where"]:
        refused(client.get("/api/facets", params=parameters), served, 422)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 170,
        "A" * 171,  # zero
        "A" * 172,
        floats(1) + "=",
        floats(1)[:-1] + "B",  # bits that a decoder would drop
        floats(float("nan")),
        floats(1, float("inf")),
        floats(1).replace(floats(1)[4], "+"),
        floats(1)[:-2] + "\n" + floats(1)[-1],
        "Ａ" * 171,
    ],
)
def test_embeddings_that_are_none(client: httpx.Client, served: Any, text: str) -> None:
    refused(client.get("/api/search", params={"embedding": text}), served, 422)
    for body in (
        {"positive": [{"embedding": text}]},
        {"positive": [STORED], "negative": [{"embedding": text}]},
    ):
        refused(client.post("/api/recommend", json=body), served, 422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b"[" * 60_000, 400),
        (b'{"positive": []}', 422),
        (b'{"positive": "x"}', 422),
        (json.dumps({"positive": [STORED] * 101}).encode(), 422),
        (json.dumps({"positive": [STORED], "k": 10**400}).encode(), 422),
        (json.dumps({"positive": [STORED], "k": "5"}).encode(), 422),
        (json.dumps({"positive": [STORED], "min_score": "0.5"}).encode(), 422),
        (json.dumps({"positive": [STORED], "min_score": True}).encode(), 422),
        (json.dumps({"positive": [point_id("none")]}).encode(), 404),
        (json.dumps({"positive": [{"embedding": floats(1), "sha256": "../x"}]}).encode(), 422),
        (json.dumps({"positive": [{"embedding": floats(1), "path": "/etc/passwd"}]}).encode(), 422),
        (json.dumps({"positive": [{"sha256": "0" * 64}]}).encode(), 422),
        (json.dumps({"positive": [STORED, {"embedding": [0.5] * 32}]}).encode(), 422),
        (b" " * 70_000, 413),
    ],
)
def test_bodies_that_are_no_examples(
    client: httpx.Client, served: Any, body: bytes, status: int
) -> None:
    answer = client.post("/api/recommend", content=body, headers=JSON)
    refused(answer, served, status)


@pytest.mark.parametrize(
    "kind", ["text/html", "application/json", "multipart/form-data", "x", None]
)
def test_what_is_not_sent_as_a_picture(
    client: httpx.Client, served: Any, photo: Path, kind: str | None
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post("/api/search", content=photo.read_bytes(), headers=headers)
    refused(answer, served, 415)


def test_bytes_need_no_kind_of_picture(client: httpx.Client, photo: Path) -> None:
    for kind in ("application/octet-stream", "IMAGE/X-ANYTHING; q=1"):
        headers = {"Content-Type": kind}
        answer = client.post("/api/search", content=photo.read_bytes(), headers=headers)
        assert answer.status_code == 200


def test_what_is_no_picture(client: httpx.Client, served: Any, photo: Path) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    for data in (b"", b"text", svg, photo.read_bytes()[:300], b"\x89PNG\r\n\x1a\n"):
        refused(client.post("/api/search", content=data, headers=JPEG), served, 422)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "size", [(50_000, 50_000), (12_000, 12_000), (9_000, 9_000), (1, 2**31 - 1)]
)
def test_too_many_pixels(client: httpx.Client, served: Any, size: tuple[int, int]) -> None:
    answer = client.post("/api/search", content=png_header(*size), headers=JPEG)
    assert "64,000,000 pixels" in refused(answer, served, 413)


def exchange(served: Any, text: str, more: bytes = b"") -> str:
    """Send bytes as they are; return what comes back until the server pauses or closes."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(text.encode() + more)
        received = b""
        while part := connection.recv(65536):
            received += part
            head, _, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if length is not None and len(body) >= int(length[1]):
                break
    return received.decode()


def post_head(path: str = "/api/search", length: int = 9) -> str:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: image/jpeg",
        f"Content-Length: {length}",
    )
    return "\r\n".join(lines) + "\r\n\r\n"


def test_a_body_of_2_gb_is_refused_before_it_is_sent(served: Any) -> None:
    for path in ("/api/search", "/api/recommend", "/nowhere"):
        for length in (2 * 2**30, 10**19, 32 * 2**20 + 1):
            answer = exchange(served, post_head(path, length))
            assert answer.startswith("HTTP/1.1 413"), answer
            assert '{"error":"at most ' in answer


def test_a_body_that_does_not_end_is_refused_on_its_way(client: httpx.Client, served: Any) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(2**20)

    answer = client.post("/api/search", content=parts(), headers=JPEG)
    assert "33,554,432 bytes" in refused(answer, served, 413)


def test_a_slow_client_is_not_waited_for(serve: Any) -> None:
    with serve(body_seconds=0.2) as served:
        answer = exchange(served, post_head(), b"half")
    assert answer.startswith("HTTP/1.1 408")
    assert "connection: close" in answer
    assert '{"error":"the body took longer than 0.2 s' in answer


class Hasty(TimeLimitedProtocol):
    """Waits next to no time for a head."""

    head_seconds = 0.2


@pytest.fixture
def hasty_later() -> type[TimeLimitedProtocol]:
    """A protocol whose `head_seconds` a test reduces once its first request is answered."""

    class HastyLater(TimeLimitedProtocol):
        pass

    return HastyLater


class Pushing(TimeLimitedProtocol):
    """Waits next to no time for what was sent to be taken."""

    write_seconds = 0.2


def connected(served: Any) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def rest(connection: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    """Return what comes up to some bytes; fail where the server closes or pauses before them."""
    received = b""
    while end not in received:
        part = connection.recv(65536)
        assert part, received
        received += part
    return received


ASKED = b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_head_that_comes_slowly_is_not_waited_for(serve: Any) -> None:
    with serve(protocol=Hasty) as served:
        with connected(served) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            head, _, body = rest(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408")
        assert b"nosniff" in head
        assert json.loads(body) == {"error": "the request's head took longer than 0.2 s"}
        with connected(served) as connection:
            assert rest(connection) == b"", "nothing was asked, nothing is answered"


def test_one_connection_too_many_is_told_so_and_the_others_go_on(serve: Any) -> None:
    class Small(TimeLimitedProtocol):
        max_connections = 2

    with serve(protocol=Small) as served, connected(served) as first, connected(served) as second:
        for connection in (first, second):
            connection.sendall(ASKED)
            receive_until(connection, b"</svg>")
        with connected(served) as third:
            third.sendall(ASKED)
            head, _, body = rest(third).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"nosniff" in head
        assert json.loads(body) == {"error": "too many connections at once; try again"}
        first.sendall(ASKED)
        assert receive_until(first, b"</svg>").startswith(b"HTTP/1.1 200")


def test_a_second_head_that_comes_slowly_is_not_waited_for(
    serve: Any, hasty_later: type[TimeLimitedProtocol]
) -> None:
    with serve(protocol=hasty_later) as served, connected(served) as connection:
        connection.sendall(ASKED)
        receive_until(connection, b"</svg>")
        hasty_later.head_seconds = 0.2
        connection.sendall(ASKED[:9])
        assert rest(connection).startswith(b"HTTP/1.1 408")


def test_a_body_that_nobody_waits_for_is_not_taken_for_ever(
    serve: Any, hasty_later: type[TimeLimitedProtocol]
) -> None:
    with serve(protocol=hasty_later) as served, connected(served) as connection:
        connection.sendall(ASKED[:-2] + b"Content-Length: 1000\r\n\r\n")
        receive_until(connection, b"</svg>")
        hasty_later.head_seconds = 0.2
        connection.sendall(b"x")
        assert rest(connection) == b""


def test_a_request_that_takes_its_time_is_not_cut_off(serve: Any) -> None:
    class Brief(TimeLimitedProtocol):
        head_seconds = 2.0

    with serve(protocol=Brief, body_seconds=3) as served:
        answer = exchange(served, post_head(), b"half")
    assert "the body took longer than 3 s" in answer


def ask_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(ASKED * 100)


@pytest.mark.slow  # a socket takes many megabytes before it is full
def test_a_client_that_takes_no_answers_is_cut_off(serve: Any) -> None:
    with serve(protocol=Pushing) as served, connected(served) as connection:
        with pytest.raises(ConnectionError):
            ask_for_ever(connection)
        with served.client as client:
            assert client.get("/api/collection").status_code == 200


def test_what_is_no_http_after_an_answer_ends_the_connection(
    served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(served) as connection:
        connection.sendall(ASKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n")
        receive_until(connection, b"</svg>")
        connection.sendall(b"no number\r\n")
        assert rest(connection) == b""
    assert caplog.records == []


def test_what_is_no_http_is_refused_in_json(served: Any) -> None:
    answer = exchange(served, "GET / HTTP/1.1\r\nHost\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400")
    assert list(json.loads(answer.partition("\r\n\r\n")[2])) == ["error"]


def test_a_client_that_hangs_up_does_no_harm(served: Any, client: httpx.Client) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(post_head().encode() + b"ab")
    assert client.get("/api/collection").status_code == 200


def test_only_so_many_requests_at_once(serve: Any, eventually: Any) -> None:
    with serve() as served, served.client as client:
        waiting = [connected(served) for _ in range(MAX_REQUESTS)]
        for connection in waiting:
            connection.sendall(post_head().encode())

        def ask(unless: int) -> httpx.Response | None:
            answer = client.get("/api/collection")
            return None if answer.status_code == unless else answer

        answer = eventually(lambda: ask(unless=200))  # once all of them have arrived
        refused(answer, served, 503)
        assert answer.headers["retry-after"] == "1"
        for connection in waiting:
            connection.close()
        assert eventually(lambda: ask(unless=503)).status_code == 200


def test_pictures_in_flight_refuse_no_search() -> None:
    async def main() -> list[str]:
        held, done = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] != "/api/collection":
                await held.wait()
            done.append(scope["path"])

        limited = limit_requests(app)

        def ask(path: str) -> Any:
            return limited({"type": "http", "path": path, HAS_KEY: True}, None, None)

        pictures = [asyncio.ensure_future(ask(f"{IMAGE_ROUTE}{n}.jpg")) for n in range(66)]
        others = [asyncio.ensure_future(ask("/api/search")) for _ in range(MAX_REQUESTS - 1)]
        await asyncio.sleep(0)
        await ask("/api/collection")  # one place is left
        others.append(asyncio.ensure_future(ask("/api/search")))
        pictures.append(asyncio.ensure_future(ask(f"{IMAGE_ROUTE}66.jpg")))
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="too many requests at once"):
            await ask("/api/collection")
        held.set()
        await asyncio.gather(*pictures, *others)
        return done

    assert len(asyncio.run(main())) == 1 + MAX_REQUESTS + 67


def test_only_so_many_bytes_are_held_at_once() -> None:
    taken: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        taken.append(len(await Request(scope, receive).body()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limit = BodyLimit(app, {"/api/search": (UPLOAD_BYTES, 60.0)})
    answering = ExceptionMiddleware(limit, {HTTPException: HANDLERS[HTTPException]})
    headers = [(b"host", b"localhost"), (b"content-length", str(UPLOAD_BYTES).encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/search", "headers": headers}

    async def upload(size: int, rest: asyncio.Event | None = None) -> list[Any]:
        """Send all but a byte, and that when it is time; return what comes back."""
        parts = [bytes(size - 1), b"."]
        sent: list[Any] = []

        async def receive() -> Any:
            part = parts.pop(0)
            if not parts and rest is not None:
                await rest.wait()
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        await answering(dict(scope), receive, send)
        return sent

    async def all_at_once() -> None:
        rest = asyncio.Event()
        fitting = MAX_BUFFERED_BYTES // UPLOAD_BYTES
        slow = [asyncio.create_task(upload(UPLOAD_BYTES, rest)) for _ in range(fitting)]
        while limit.buffered < fitting * (UPLOAD_BYTES - 1):
            await asyncio.sleep(0)
        start, body = await upload(1000)
        assert start["status"] == 503
        assert (b"retry-after", b"1") in start["headers"]
        assert json.loads(body["body"]) == {"error": "too much is sent at once; try again"}
        rest.set()
        assert [(await one)[0]["status"] for one in slow] == [200] * fitting
        assert limit.buffered == 0
        assert (await upload(1000))[0]["status"] == 200

    asyncio.run(asyncio.wait_for(all_at_once(), 60))
    assert taken == [UPLOAD_BYTES] * (MAX_BUFFERED_BYTES // UPLOAD_BYTES) + [1000]


HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "0.0.0.0",
    "",
]


@pytest.mark.parametrize("host", HOSTS)
def test_another_name_for_this_machine_is_not_answered(
    client: httpx.Client, served: Any, host: str
) -> None:
    for path in ("/", "/api/collection", f"/api/images/{STORED}"):
        refused(client.get(path, headers={"Host": host}), served, 421)


def test_a_request_without_a_host_is_not_answered(served: Any) -> None:
    assert exchange(served, "GET / HTTP/1.0\r\n\r\n").startswith("HTTP/1.1 421")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1:8000", "127.9.9.9", "[::1]:80"]
)
def test_names_of_this_machine_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/api/collection", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_another_sites_page_posts_is_refused(
    client: httpx.Client, served: Any, photo: Path, headers: dict[str, str]
) -> None:
    picture = photo.read_bytes()
    answer = client.post("/api/search", content=picture, headers={**JPEG, **headers})
    refused(answer, served, 403)
    answer = client.post("/api/recommend", json={"positive": [STORED]}, headers=headers)
    refused(answer, served, 403)


def test_the_pages_own_posts_are_taken(client: httpx.Client, served: Any, photo: Path) -> None:
    own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    answer = client.post("/api/search", content=photo.read_bytes(), headers={**JPEG, **own})
    assert answer.status_code == 200


def test_browsers_are_told_to_run_nothing_else(client: httpx.Client) -> None:
    for path in ("/", "/static/app.js", "/api/collection", f"/api/images/{STORED}", "/nowhere"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page)


def test_names_that_are_code_are_data(client: httpx.Client) -> None:
    answer = client.get("/api/collection")
    assert answer.headers["content-type"] == "application/json"
    assert any(one["name"].startswith("<img") for one in answer.json()["classes"])


def test_without_a_key_there_is_no_login(client: httpx.Client, served: Any) -> None:
    refused(client.post("/login", json={"key": "x"}), served, 404)
    refused(client.post("/logout"), served, 404)


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreError("no /secret/place"), 503), (RuntimeError("at /secret/place"), 500)],
)
def test_what_breaks_inside_stays_inside(
    client: httpx.Client,
    served: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
) -> None:
    def broken(_: str) -> dict[str, int]:
        raise error

    monkeypatch.setattr(served.store, "values", broken)
    answer = client.get("/api/collection")
    assert "secret" not in refused(answer, served, status)


def test_a_picture_of_a_stored_path_that_leads_elsewhere_is_not_given(
    client: httpx.Client, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (point,) = served.store.fetch([STORED])
    foreign = type(point.payload)("rocks/../../../etc/passwd", "x", "0" * 64, 1, 1, "rocks")
    monkeypatch.setattr(type(point.payload), "id", property(lambda _: STORED))
    monkeypatch.setattr(served.store, "fetch", lambda *_, **__: [type(point)(foreign)])
    refused(client.get(f"/api/images/{STORED}"), served, 404)


# The key


def test_others_are_let_in_by_a_key_alone() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org"):
        with pytest.raises(ValueError, match="no key"):
            Access(host)
        assert not Access(host, KEY).loopback
        with pytest.raises(ValueError, match="can be guessed"):
            Access(host, "0123456789abcde")
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Access(host).loopback


def test_with_a_key_a_proxy_may_give_its_own_name(serve: Any) -> None:
    with serve(key=KEY) as served, served.client as client:
        named = {"Host": "rocks.example.org", "Authorization": f"Bearer {KEY}".encode()}
        assert client.get("/api/collection", headers=named).status_code == 200
        refused(client.get("/api/collection", headers={"Host": "rocks.example.org"}), served, 401)


def test_an_address_of_two_hundred_examples_comes_in_pieces(served: Any) -> None:
    example = "A" * 171 + "." + "0" * 64 + ".0123456789ab"
    address = "/?" + "&".join([f"like={example}"] * 100 + [f"unlike={example}"] * 100)
    head = f"GET {address} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    assert len(head) > 50_000
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(head), 1448):
            connection.sendall(head[start : start + 1448])
        with connection.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 200")


def test_a_page_with_a_key(serve: Any, photo: Path) -> None:
    with serve(host="0.0.0.0", key=KEY) as served, served.client as client:
        assert client.get("/").status_code == 200, "the page itself, with its login"
        described = client.get("/openapi.json").json()["paths"]["/api/collection"]["get"]
        assert described["security"] == [{"HTTPBearer": []}]
        for path in ("/api/collection", "/api/map", f"/api/images/{STORED}", "/api/nowhere"):
            refused(client.get(path), served, 401)
        picture = photo.read_bytes()
        refused(client.post("/api/search", content=picture, headers=JPEG), served, 401)
        for value in ("Bearer wrong", "Bearer", "Basic c8OpYW1l", "Bearer s", ""):
            headers = {"Authorization": value}
            refused(client.get("/api/collection", headers=headers), served, 401)
        refused(
            client.get("/api/collection", headers={"Cookie": b"geosim-session=x\xe9"}), served, 401
        )
        right = {"Authorization": f"Bearer {KEY}".encode()}
        assert client.get("/api/collection", headers=right).status_code == 200

        assert "key" in refused(client.post("/login", json={"key": "sesame"}), served, 401)
        refused(client.post("/login", json={}), served, 422)
        half_a_character = {"content": b'{"key": "\\ud800"}', "headers": JSON}
        refused(client.post("/login", **half_a_character), served, 401)
        foreign = {"Origin": "https://evil.example"}
        refused(client.post("/login", json={"key": KEY}, headers=foreign), served, 403)
        answer = client.post("/login", json={"key": KEY})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert "sesame" not in cookie
        assert client.get("/api/collection").status_code == 200, "by the cookie"
        named = {"Host": "geosim.example.org"}
        assert client.get("/", headers=named).status_code == 200, "any name leads here"


def test_pictures_with_a_bomb_in_them(client: httpx.Client, served: Any) -> None:
    bomb = io.BytesIO()
    Image.new("L", (8000, 8001)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 200_000
    answer = client.post("/api/search", content=bomb.getvalue(), headers=JPEG)
    assert "pixels" in refused(answer, served, 413)
