"""A page that is served over a collection, odd names and all, as `geosim serve` does it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search.cli.serve import make_server
from geosim.search.index import Index
from geosim.search.web.access import Access
from geosim.search.web.app import BODY_SECONDS, make_app
from geosim.search.web.protocol import TimeLimitedProtocol
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.files import copy_sparse
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

SCRIPT_CLASS = "<img src=x onerror=window.hacked=1>"
SCRIPT_FILE = "<script>window.hacked=1<.jpg"
SECRET = b"taken by a named person at a named place"


@dataclass(frozen=True)
class Served:
    """A page under way.

    Attributes:
        url: its address.
        store: its collection.
        working: its working folder.
        rocks: the folder of the pictures.
    """

    url: str
    store: EdgeStore
    working: Working
    rocks: Path

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    @property
    def index(self) -> Index:
        """The same collection through the Python API; not to be closed."""
        return Index(self.store, self.working)


Serve = Callable[..., AbstractContextManager[Served]]
Eventually = Callable[[Callable[[], Any]], Any]


@pytest.fixture(scope="session")
def odd(ingested: Working, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """`ingested`, with a class and a file that a careless page would run; read only.

    One picture is large and carries a comment.
    """
    root = tmp_path_factory.mktemp("odd")
    rocks = Path(shutil.copytree(sample, root / "rocks"))
    (rocks / SCRIPT_CLASS).mkdir()
    Image.new("RGB", (50, 30), "#803020").save(rocks / SCRIPT_CLASS / SCRIPT_FILE)
    Image.effect_noise((900, 600), 60).save(rocks / "marble" / "large.jpg", comment=SECRET)
    working = Working(root / "working")
    copy_sparse(ingested.root, working.root)
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(rocks), load_model(working.model), store, working)
    return working


@pytest.fixture(scope="session")
def serve(odd: Working, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Serve a copy of `odd`: ``with serve(host=..., key=..., body_seconds=...) as served``.

    Or of another working folder: ``serve(of=...)``.
    """

    @contextmanager
    def serving(
        *,
        of: Working = odd,
        host: str = "127.0.0.1",
        key: str | None = None,
        body_seconds: float = BODY_SECONDS,
        protocol: type[TimeLimitedProtocol] = TimeLimitedProtocol,
    ) -> Iterator[Served]:
        root = tmp_path_factory.mktemp("served") / "working"
        working = Working(root)
        copy_sparse(of.root, root)
        listener = socket.create_server(("127.0.0.1", 0))
        with EdgeStore(working.qdrant, "geosim") as store:
            app = make_app(store, working, Access(host, key), body_seconds=body_seconds)
            server = make_server(app, protocol)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                yield Served(url, store, working, odd.root.parent / "rocks")
            finally:
                server.should_exit = True
                thread.join()

    return serving


@pytest.fixture(scope="session")
def started() -> Callable[..., AbstractContextManager[tuple[str, subprocess.Popen[str]]]]:
    """Start the command: ``with started(folder, *arguments, **environment) as (url, process)``."""

    @contextmanager
    def starting(
        working: Path, *arguments: str, before: str = "", **environment: str
    ) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        """Yield the address that is printed, and the process, which must end by itself."""
        code = f"{before}\nfrom geosim.search.cli.main import geosim; geosim()"
        command = [sys.executable, "-c", code, "serve", "--port", "0", "--working", str(working)]
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        deadline = threading.Timer(120, process.kill)  # ends `readline`, too
        deadline.start()
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split(" ")[0], process
            process.wait(60)
        finally:
            deadline.cancel()
            process.kill()
            process.communicate()

    return starting


@pytest.fixture(scope="session")
def served(serve: Serve) -> Iterator[Served]:
    """A page that all tests share; they only ask it."""
    with serve() as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client as one:
        yield one


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Poll until a condition is true, and return its value; fail after a minute."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (value := condition()):
            assert time.monotonic() < deadline, "not within a minute"
            time.sleep(0.01)
        return value

    return wait


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """A picture that is not in the collection: one that is, seen in a mirror."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    with Image.open(sample / "marble" / "marble-0003.jpg") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    return path
