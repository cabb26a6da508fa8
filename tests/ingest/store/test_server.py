"""Connections, errors and retries of the server engine, and the choice of an engine."""

import base64
import http.server
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from geosim.ingest.schema import ModelRef
from geosim.ingest.store import server_client, server_requests
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.factory import open_store
from geosim.ingest.store.server import ServerStore, connect
from geosim.trainer.errors import StoreDeniedError, StoreError, StoreUnreachableError
from tests.memory import memory_store
from tests.threads import answering

MODEL = ModelRef("abc123", "efficientnet-lite0")
SECRET = "s3cret-key"
NO_OTHERS = (200, {"result": {"collections": []}, "status": "ok", "time": 0.0})
ABSENT = (200, {"result": {"exists": False}, "status": "ok", "time": 0.0})


class Stub(http.server.ThreadingHTTPServer):
    """Gives the scripted answers in turn, and then repeats the last; None closes the connection."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script: list[tuple[int, object] | None] = []
        self.requests: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        script = self.server.script
        if self.path.endswith("/collections"):  # looked at where a collection is missing
            answer: tuple[int, object] | None = NO_OTHERS
        else:
            self.server.requests.append((self.path, headers))
            answer = script.pop(0) if len(script) > 1 else script[0]
        if answer is None:
            return
        status, content = answer
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815, the names are the library's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as server:
        yield server


def running(port: int = 0) -> AbstractContextManager[Stub]:
    return answering(Stub(port))


def refusal(status: int, words: str) -> tuple[int, object]:
    return status, {"status": {"error": words}, "time": 0.0}


def test_a_closed_port_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with (
        connect(f"http://127.0.0.1:{port}", None, "rocks", wait=0.3) as store,
        pytest.raises(StoreUnreachableError) as caught,
    ):
        store.info()
    message = str(caught.value)
    assert f"http://127.0.0.1:{port}" in message
    assert "docker compose up -d --wait" in message
    assert "\n" not in message


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_but_not_shown(stub: Stub, status: int) -> None:
    stub.script = [refusal(status, "Invalid API key or JWT")]
    with (
        connect(stub.url, SECRET, "rocks", wait=0) as store,
        pytest.raises(StoreDeniedError, match="GEOSIM_QDRANT_API_KEY") as caught,
    ):
        store.info()
    assert SECRET not in str(caught.value)
    assert len(stub.requests) == 1
    assert stub.requests[0][1]["api-key"] == SECRET


def test_a_transient_failure_is_retried_and_told(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.script = [(503, b"busy"), None, ABSENT]
    with connect(stub.url, None, "rocks", wait=30) as store:
        assert store.info() is None
    assert len(stub.requests) == 3
    assert caplog.messages == [
        f"no Qdrant server answers behind {stub.url} (503 Service Unavailable); trying again for "
        "30 s"
    ]


def test_retries_are_bounded(stub: Stub) -> None:
    stub.script = [refusal(503, "still\nstarting")]
    with (
        connect(stub.url, None, "rocks", wait=0.5) as store,
        pytest.raises(StoreError, match=r"503 .*still starting"),
    ):
        store.info()
    assert 2 <= len(stub.requests) <= 4


def test_a_connection_that_always_breaks_is_unreachable(stub: Stub) -> None:
    stub.script = [None]
    with (
        connect(stub.url, None, "rocks", wait=0.3) as store,
        pytest.raises(StoreUnreachableError, match="broke"),
    ):
        store.info()
    assert len(stub.requests) >= 2


def test_a_server_that_goes_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as first:
        first.script = [ABSENT]
        port = first.server_port
        store = connect(first.url, None, "rocks", wait=30)
        assert store.info() is None
    back: list[Stub] = []

    def return_at_first_retry(_: float) -> None:
        if not back:
            back.append(stack.enter_context(running(port)))
            back[0].script = [ABSENT]

    monkeypatch.setattr(server_requests.time, "sleep", return_at_first_retry)
    with ExitStack() as stack, store:
        assert store.info() is None
        assert len(back[0].requests) == 1


def test_a_server_that_hangs_is_told_from_one_that_is_away(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_client, "FIRST_ANSWER_S", 0.2)
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen()  # the system accepts connections, and nobody reads
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        with (
            connect(url, None, "rocks", wait=0) as store,
            pytest.raises(StoreUnreachableError, match=r"does not answer within .*overloaded"),
        ):
            store.info()


def test_another_node_answers_for_one_that_is_away(stub: Stub) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}"
        stub.script = [ABSENT]
        with connect(f"{away}, {stub.url}", None, "rocks", wait=0) as store:
            assert store.location == f"{away},{stub.url}"
            for _ in range(3):
                assert store.info() is None
    assert len(stub.requests) == 3


def test_a_cluster_of_which_no_node_answers_is_unreachable(stub: Stub) -> None:
    stub.script = [refusal(500, "0 of 0 read operations failed")]
    with running() as other:
        other.script = [refusal(500, "0 of 0 read operations failed")]
        with (
            connect(f"{other.url},{stub.url}", None, "rocks", wait=0) as store,
            pytest.raises(StoreError, match="0 of 0 read operations failed"),
        ):
            store.info()
        assert (len(other.requests), len(stub.requests)) == (1, 1)


def test_what_an_ingest_decides_by_is_read_from_all_replicas_that_answer(stub: Stub) -> None:
    nothing = (200, {"result": {"points": []}, "status": "ok", "time": 0.0})
    stub.script = [nothing, nothing, refusal(500, "a replica is away"), nothing]
    with connect(stub.url, None, "rocks", wait=30) as store:
        assert list(store.scan(vectors=False)) == []
        store._scrolled.compare_replicas()  # as during a lease
        for _ in range(3):
            assert list(store.scan(vectors=False)) == []
    asked = ["consistency=all" in path for path, _ in stub.requests]
    assert asked == [False, True, True, False, False]


def test_the_answer_of_a_node_is_told_before_the_silence_of_another(stub: Stub) -> None:
    stub.script = [refusal(500, "the disk is full")]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for urls in (f"{away},{stub.url}", f"{stub.url},{away}"):
            with (
                connect(urls, None, "rocks", wait=0) as store,
                pytest.raises(StoreError, match="the disk is full"),
            ):
                store.info()


def test_a_final_refusal_is_not_retried(stub: Stub) -> None:
    stub.script = [refusal(400, "Wrong input")]
    with (
        connect(stub.url, None, "rocks", wait=0) as store,
        pytest.raises(StoreError, match=r"400 .*Wrong input"),
    ):
        store.count()
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>hello</html>"),
        (200, []),
        (404, b"<html>not found</html>"),
        (404, {"detail": "Not Found"}),
        (405, b""),
        (400, b"\xff"),
    ],
)
def test_an_answer_of_another_program_is_an_error(stub: Stub, answer: tuple[int, object]) -> None:
    stub.script = [answer]
    with (
        connect(stub.url, None, "rocks", wait=0) as store,
        pytest.raises(StoreError, match=r"not a Qdrant server's.*check the URL") as caught,
    ):
        store.info()
    assert "\n" not in str(caught.value)


def test_an_old_server_is_refused(stub: Stub) -> None:
    stub.script = [(200, {"title": "qdrant - vector search engine", "version": "1.15.5"})]
    with (
        connect(stub.url, None, "rocks", wait=0) as store,
        pytest.raises(StoreError, match=r"1\.15\.5, expected 1\.16 or later"),
    ):
        store.create(MODEL)
    assert len(stub.requests) == 1


def test_user_name_path_and_password_reach_the_server_but_no_message(stub: Stub) -> None:
    stub.script = [ABSENT]
    url = stub.url.replace("://", "://ann:p%40ss@") + "/prefix/"
    with connect(url, None, "rocks", wait=0) as store:
        assert store.info() is None
        assert store.location == f"{stub.url}/prefix"
    path, headers = stub.requests[0]
    assert path == "/prefix/collections/rocks/exists"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"ann:p@ss").decode()
    assert "api-key" not in headers


def test_an_empty_key_is_no_key(stub: Stub) -> None:
    stub.script = [ABSENT]
    with connect(stub.url, "", "rocks", wait=0) as store:
        assert store.info() is None
    assert "api-key" not in stub.requests[0][1]


def test_an_unencrypted_key_to_another_machine_gives_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        connect("http://localhost:6333", SECRET, "rocks").close()
        connect("https://qdrant.example", SECRET, "rocks").close()
        assert caplog.messages == []
        connect("http://qdrant.example", SECRET, "rocks").close()
    assert len(caplog.messages) == 1
    assert "http://qdrant.example:6333" in caplog.messages[0]
    assert SECRET not in caplog.messages[0]


@pytest.mark.parametrize(
    "url", ["http://", "http://host:port", "http://u:secret@host:99999", "http://u:secret/@host"]
)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="http://HOST:6333") as caught:
        connect(url, None, "rocks")
    assert "secret" not in str(caught.value)


def test_an_ipv6_host_keeps_its_brackets() -> None:
    with connect("http://[::1]", None, "rocks") as store:
        assert store.location == "http://[::1]:6333"


def test_a_collection_of_another_program_is_left_alone() -> None:
    client = QdrantClient(":memory:")
    settings = models.VectorParams(size=32, distance=models.Distance.COSINE)
    client.create_collection("rocks", vectors_config=settings)
    client.upsert("rocks", [models.PointStruct(id=1, vector=[1.0] * 32, payload={})])
    with memory_store("rocks", client) as store:
        for call in (store.info, store.drop):
            with pytest.raises(StoreError, match="not made by geosim"):
                call()
        with pytest.raises(StoreError, match="exists already"):
            store.create(MODEL)
        assert client.collection_exists("rocks")


@pytest.mark.parametrize(
    ("size", "distance", "received"),
    [(16, models.Distance.COSINE, "Cosine vectors of size 16"), (32, models.Distance.DOT, "Dot")],
)
def test_other_settings_are_refused_and_can_be_dropped(
    size: int, distance: models.Distance, received: str
) -> None:
    client = QdrantClient(":memory:")
    client.create_collection(
        "rocks",
        vectors_config=models.VectorParams(size=size, distance=distance),
        metadata={"geosim": {"fingerprint": "f", "backbone": "b"}},
    )
    with memory_store("rocks", client) as store:
        with pytest.raises(StoreError, match=f"{received}.*expected Cosine vectors of size 32"):
            store.info()
        store.drop()
        assert store.info() is None


def test_a_point_of_another_program_is_an_error() -> None:
    client = QdrantClient(":memory:")
    with memory_store("rocks", client) as store:
        store.create(MODEL)
        client.upsert("rocks", [models.PointStruct(id=1, vector=[1.0] * 32, payload={})])
        with pytest.raises(StoreError, match="no payload field 'path'"):
            list(store.scan(vectors=False))


def test_the_backend_is_chosen_by_the_target(tmp_path: Path) -> None:
    embedded = open_store(None, "rocks", working=tmp_path)
    assert isinstance(embedded, EdgeStore)
    assert embedded.location == str(tmp_path / "qdrant")
    folder = open_store(str(tmp_path / "other"), "rocks", working=tmp_path)
    assert isinstance(folder, EdgeStore)
    assert folder.location == str(tmp_path / "other")
    with open_store("HTTP://localhost", "rocks", working=tmp_path) as server:
        assert isinstance(server, ServerStore)
        assert (server.name, server.location) == ("rocks", "http://localhost:6333")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["grpc://host:6334", "localhost:6333", "ftp://u:secret@host"])
def test_a_target_of_another_kind_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(StoreError, match="expected http://HOST:6333") as caught:
        open_store(target, "rocks", working=tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("target", [None, "http://localhost:6333"])
def test_a_bad_collection_name_is_refused_by_both_backends(
    tmp_path: Path, target: str | None
) -> None:
    with pytest.raises(StoreError, match="cannot name a collection"):
        open_store(target, "../rocks", working=tmp_path)


def test_the_embedded_engine_does_not_import_qdrant_client(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom geosim.ingest.store.factory import open_store\n"
        "assert 'qdrant_edge' not in sys.modules\n"
        "open_store(None, 'rocks', working=Path(sys.argv[1])).info()\n"
        "assert 'qdrant_client' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, timeout=60)


@pytest.mark.parametrize("key", ["schl\u00fcssel", "top\rsecret", "a\0b"])
def test_an_invalid_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(StoreDeniedError, match="GEOSIM_QDRANT_API_KEY") as refused:
        connect("http://127.0.0.1:6333", key, "geosim")
    assert key not in str(refused.value)


def test_an_invalid_host_is_refused() -> None:
    with pytest.raises(StoreError, match=r"expected http://HOST:6333"):
        connect("http://exa mple:6333", None, "geosim")
