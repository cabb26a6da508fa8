"""Downloads against a real server on loopback."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest

from geosim.trainer.data import fetch as fetch_module
from geosim.trainer.errors import DownloadError
from geosim.trainer.data.fetch import fetch

CONTENT = np.random.default_rng(7).bytes(300_000)
HALF = len(CONTENT) // 2


@dataclass
class Remote:
    """What the server serves and how it behaves, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    break_at: int | None = None
    length: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    remote: Remote

    def do_GET(self) -> None:
        remote = self.remote
        self.close_connection = True
        remote.asked.append(dict(self.headers))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path != "/file":
            self.send_error(404)
            return
        body = remote.content
        wanted = self.headers.get("Range")
        fresh = self.headers.get("If-Range") in (remote.etag, remote.modified)
        if wanted and remote.ranges and fresh:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
        else:
            self.send_response(200)
        if remote.length:
            self.send_header("Content-Length", str(len(body)))
        if remote.etag:
            self.send_header("ETag", remote.etag)
        if remote.modified:
            self.send_header("Last-Modified", remote.modified)
        self.end_headers()
        self.wfile.write(body if remote.break_at is None else body[: remote.break_at])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def remote() -> Iterator[Remote]:
    served = Remote()
    handler = type("Bound", (Handler,), {"remote": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/file"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def interrupt(remote: Remote, target: Path) -> None:
    """Lets a first call break half way."""
    remote.break_at = HALF
    with pytest.raises(DownloadError, match="run again"):
        fetch(remote.url, target, timeout=5)
    remote.break_at = None
    assert not target.exists()
    assert target.with_name("data.bin.part").read_bytes() == remote.content[:HALF]


def assert_complete(target: Path, content: bytes = CONTENT) -> None:
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_comes_whole_and_leaves_nothing_beside_it(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "data.bin"
    result = fetch(remote.url, target, timeout=5, expected_bytes=len(CONTENT))
    assert result == target
    assert_complete(target)


def test_redirects_are_followed(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    fetch(remote.url.replace("/file", "/moved"), target, timeout=5)
    assert_complete(target)


def test_a_broken_download_goes_on_where_it_stopped(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    fetch(remote.url, target, timeout=5)
    assert remote.asked[-1]["Range"] == f"bytes={HALF}-"
    assert remote.asked[-1]["If-Range"] == '"one"'
    assert len(remote.asked) == 2
    assert_complete(target)


def test_a_weak_etag_is_not_used_but_the_date_is(remote: Remote, tmp_path: Path) -> None:
    remote.etag, remote.modified = 'W/"one"', "Wed, 21 Oct 2020 07:28:00 GMT"
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    fetch(remote.url, target, timeout=5)
    assert remote.asked[-1]["If-Range"] == remote.modified
    assert_complete(target)


def test_without_a_version_it_starts_over(remote: Remote, tmp_path: Path) -> None:
    remote.etag = ""
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    fetch(remote.url, target, timeout=5)
    assert "Range" not in remote.asked[-1]
    assert_complete(target)


def test_a_changed_remote_file_starts_over(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    remote.content, remote.etag = CONTENT[::-1], '"two"'
    fetch(remote.url, target, timeout=5)
    assert_complete(target, CONTENT[::-1])


def test_another_address_starts_over(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    fetch(f"{remote.url.replace('/file', '/moved')}", target, timeout=5)
    assert "Range" not in remote.asked[-1]
    assert_complete(target)


def test_a_server_that_ignores_range_starts_over(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    remote.ranges = False
    fetch(remote.url, target, timeout=5)
    assert "Range" in remote.asked[-1]
    assert_complete(target)


def test_a_partial_file_that_is_too_long_starts_over(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    target.with_name("data.bin.part").write_bytes(bytes(2 * len(CONTENT)))
    fetch(remote.url, target, timeout=5)
    assert_complete(target)


def test_a_damaged_note_starts_over(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    interrupt(remote, target)
    target.with_name("data.bin.part.json").write_text(json.dumps(["not", "ours"]))
    fetch(remote.url, target, timeout=5)
    assert_complete(target)


def test_an_unexpected_size_is_refused_before_the_body(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="300000 bytes, expected 12"):
        fetch(remote.url, tmp_path / "data.bin", timeout=5, expected_bytes=12)
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_size_is_refused_without_a_length(remote: Remote, tmp_path: Path) -> None:
    remote.length = False
    with pytest.raises(DownloadError, match="gave 300000 bytes, expected 300001"):
        fetch(remote.url, tmp_path / "data.bin", timeout=5, expected_bytes=len(CONTENT) + 1)
    assert list(tmp_path.iterdir()) == []


def test_a_status_is_one_line(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="answered 404 Not Found, expected 200") as caught:
        fetch(f"{remote.url}s", tmp_path / "data.bin", timeout=5)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nobody_listening_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError, match="check the address and the network") as caught:
        fetch(f"http://127.0.0.1:{port}/file", tmp_path / "data.bin", timeout=5)
    assert isinstance(caught.value.__cause__, httpx.HTTPError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["no address", "ftp://127.0.0.1/file", "http://[::1/file"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="cannot download"):
        fetch(url, tmp_path / "data.bin", timeout=5)


def test_a_folder_that_cannot_be_made_is_refused(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot write"):
        fetch(remote.url, tmp_path / "file" / "data.bin", timeout=5)


def test_an_interrupt_leaves_the_partial_file(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(fetch_module.tqdm):  # type: ignore[misc,type-arg]
        def update(self, *_: object) -> None:
            raise KeyboardInterrupt

    target = tmp_path / "data.bin"
    with monkeypatch.context() as patch:
        patch.setattr(fetch_module, "tqdm", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(remote.url, target, timeout=5)
    start = target.with_name("data.bin.part").stat().st_size
    assert 0 < start < len(CONTENT)
    fetch(remote.url, target, timeout=5)
    assert remote.asked[-1]["Range"] == f"bytes={start}-"
    assert_complete(target)
