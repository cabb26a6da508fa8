"""``geosim serve`` under load while commands read and change its collection."""

from __future__ import annotations

import bisect
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from PIL import Image, ImageOps

from geosim.ingest.schema import point_id
from geosim.ingest.store.edge import EdgeStore
from geosim.search.explain import novelty_threshold
from geosim.search.index import Index
from geosim.trainer.working import Working

Run = Callable[..., Result]
Started = Callable[..., AbstractContextManager[tuple[str, subprocess.Popen[str]]]]

STORED = "rocks/marble/marble-0002.jpg"
ID = point_id(STORED)
JPEG = {"Content-Type": "image/jpeg"}


def start(*arguments: object) -> subprocess.Popen[str]:
    code = "from geosim.search.cli.main import geosim; geosim()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object) -> str:
    with start(*arguments) as command:
        stdout, stderr = command.communicate(timeout=120)
    assert command.returncode == 0, stderr
    assert "Traceback" not in stderr
    return stdout


class Load:
    """Threads that ask a page without pause, and note when they got which answer.

    Attributes:
        answers: (start, end, question, answer) of every request.
    """

    def __init__(self, url: str, photo: bytes) -> None:
        self.answers: list[tuple[float, float, str, Any]] = []
        self.client = httpx.Client(base_url=url, timeout=60)
        self._photo, self._done = photo, threading.Event()
        asked = ("collection", "similar", "picture", "both", "map", "thumbnail")
        self._threads = [threading.Thread(target=self._repeat, args=(one,)) for one in asked]
        for thread in self._threads:
            thread.start()

    def ask(self, question: str) -> Any:
        """Return what is compared of an answer."""
        client, k = self.client, {"k": 5}
        match question:
            case "collection":
                found = client.get("/api/collection")
            case "similar":
                found = client.get(f"/api/points/{ID}/similar", params=k)
            case "picture" | "usual":
                found = client.post("/api/search", content=self._photo, headers=JPEG, params=k)
            case "both":
                found = client.post("/api/recommend", json={"positive": [ID], **k})
            case "map":  # all its points
                found = client.post("/api/map/points", json={"rows": [*range(1000)]})
            case _:
                found = client.get(f"/api/images/{ID}", params={"side": 64})
        assert found.status_code in (200, 202), f"{question}: {found.status_code} {found.text}"
        if question == "thumbnail":
            return found.headers["content-type"]
        answer = found.json()
        if question == "collection":
            return answer["points"], {one["name"]: one["count"] for one in answer["classes"]}
        if question == "map":
            points = answer.get("points")  # none until it is drawn
            return points and sorted(one["image"]["path"] for one in points)
        if question == "usual":
            return answer["explanation"]["usual"]
        return [(hit["path"], hit["score"]) for hit in answer["hits"]]

    def _repeat(self, question: str) -> None:
        while not self._done.is_set():
            started = time.monotonic()
            try:
                answer = self.ask(question)
            except (AssertionError, httpx.HTTPError) as error:
                answer = error
            self.answers.append((started, time.monotonic(), question, answer))

    def stop(self) -> None:
        """Wait for the last answers."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        self.client.close()


def right_answers(working: Working, photo: Path) -> dict[str, Any]:
    """Return what the page must answer, through the Python API."""
    with EdgeStore(working.qdrant, "geosim", wait=60) as store:
        index = Index(store, working)
        found = {"similar": index.search(STORED, k=5), "picture": index.search(photo, k=5)}
        found["both"] = index.recommend([STORED], k=5)
        answers: dict[str, Any] = {
            question: [(hit.path, hit.score) for hit in hits] for question, hits in found.items()
        }
        answers["collection"] = len(index), index.classes
        answers["map"] = sorted(one.path for one in index.neighbours(1))
        answers["thumbnail"] = "image/jpeg"
        answers["usual"] = novelty_threshold(store, working)
    return answers


@pytest.fixture
def mirrored(sample: Path, tmp_path: Path) -> Callable[[Path], None]:
    """Put pictures of the sample, mirrored, into a folder."""

    def make(folder: Path, count: int = 5) -> None:
        folder.mkdir()
        for path in sorted((sample / "marble").glob("*.jpg"))[:count]:
            with Image.open(path) as image:
                ImageOps.mirror(image).save(folder / path.name)

    return make


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)


@pytest.mark.slow
def test_all_commands_work_and_every_answer_is_right(
    started: Started,
    indexed: Working,
    rocks: Path,
    photo: Path,
    mirrored: Callable[[Path], None],
    tmp_path: Path,
    eventually: Callable[[Callable[[], Any]], Any],
) -> None:
    common = ("--working", indexed.root)
    states, begun, completed = [right_answers(indexed, photo)], [0.0], [0.0]

    def change(*command: object) -> None:
        begun.append(time.monotonic())
        run(*command, *common)
        completed.append(time.monotonic())
        states.append(right_answers(indexed, photo))
        for question in questions:
            assert load.ask(question) == states[-1][question], "seen at once"
        eventually(lambda: load.ask("usual") == states[-1]["usual"])
        eventually(lambda: load.ask("map") == states[-1]["map"])

    questions = ("collection", "similar", "picture", "both", "thumbnail")
    with started(indexed.root) as (url, process), ending(process):
        load = Load(url, photo.read_bytes())
        try:
            hits = json.loads(run("search", STORED, "-k", 5, "--format", "json", *common))
            assert STORED in str(hits)
            assert "96" in run("status", *common)
            run("export", "--output", tmp_path / "graph.json", *common)
            assert len(json.loads((tmp_path / "graph.json").read_bytes())) == 96
            mirrored(rocks / "quartzite")
            change("ingest", rocks)
            for path in sorted((rocks / "marble").glob("*.jpg"))[3:]:
                path.unlink()
            change("ingest", rocks, "--replace")
            change("ingest", rocks, "--recreate")
            searches = [start("search", STORED, "-k", 3, *common) for _ in range(3)]
            for search in searches:
                assert search.communicate(timeout=120)[0]
                assert search.returncode == 0
        finally:
            load.stop()
    _, err = process.communicate()
    assert "Traceback" not in err
    assert [state["collection"][0] for state in states] == [96, 101, 92, 92]
    assert len(load.answers) > 100
    for start_, end, question, answer in load.answers:
        first = bisect.bisect(completed, start_) - 1
        last = bisect.bisect(begun, end) - 1
        allowed = [states[number][question] for number in range(first, last + 1)]
        if question == "map":  # None: it is computed, perhaps from a state a moment older
            allowed += [None, *(state["map"] for state in states[: last + 1])]
        assert answer in allowed, (question, start_, end, begun, completed)


@pytest.mark.slow
def test_a_killed_command_and_a_killed_page_keep_nobody_out(
    started: Started,
    indexed: Working,
    rocks: Path,
    mirrored: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    common = ("--working", indexed.root)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    mirrored(rocks / "quartzite")
    for number in range(12):
        mirrored(rocks / f"more-{number}")
    with started(indexed.root, TMPDIR=str(temporary)) as (url, process):
        with httpx.Client(base_url=url, timeout=60) as client:
            for requests in (0, 5, 20):
                ingest = start("ingest", rocks, "--wait", 60, *common)
                stored = indexed.qdrant / "geosim.json"
                before = stored.read_bytes()
                while stored.read_bytes() == before and ingest.poll() is None:
                    assert client.get("/api/collection").status_code == 200
                for _ in range(requests):
                    assert client.get("/api/collection").status_code == 200
                ingest.kill()
                ingest.communicate()
                points = client.get("/api/collection").json()["points"]
                assert 96 <= points <= 161
                run("status", "--wait", 5, *common)
            run("ingest", rocks, *common)
            assert client.get("/api/collection").json()["points"] == 161
            process.kill()
            process.wait(60)
        run("status", "--wait", 0, *common)
    (left,) = temporary.iterdir()
    with started(indexed.root, TMPDIR=str(temporary)) as (url, process), ending(process):
        assert httpx.get(f"{url}api/collection", timeout=60).json()["points"] == 161
        assert not left.exists()
    assert list(temporary.iterdir()) == []


def test_a_page_waits_for_an_ingest_that_runs_and_two_pages_share(
    started: Started, indexed: Working
) -> None:
    with EdgeStore(indexed.qdrant, "geosim") as writer:
        writer.delete([ID])
        with start("serve", "--port", 0, "--wait", 60, "--working", indexed.root) as first:
            try:
                assert first.stdout is not None
                assert first.stderr is not None
                assert first.stderr.readline() == "loading the model ...\n"
                line = first.stderr.readline()
                assert re.match(r"waiting for process \d+ \(.+\) to close collection", line)
                writer.close()
                url = first.stdout.readline().split(" ")[0]
                with started(indexed.root, "--wait", "0") as (other, second), ending(second):
                    for count in (95, 94):
                        for one in (url, other):
                            answer = httpx.get(f"{one}api/collection", timeout=60)
                            assert answer.json()["points"] == count
                        writer.delete([point_id("rocks/marble/marble-0003.jpg")])
                        writer.close()
            finally:
                first.send_signal(signal.SIGINT)
            assert first.communicate(timeout=60)[1] == "ended\n"


def test_the_page_follows_the_collection_to_another_model(
    started: Started, indexed: Working, sample: Path, photo: Path, geosim: Run
) -> None:
    def upload() -> dict[str, Any]:
        answer = client.post("/api/search", content=photo.read_bytes(), headers=JPEG)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    with (
        started(indexed.root) as (url, process),
        ending(process),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        given = upload()
        link = {name: given[name] for name in ("embedding", "sha256", "model")}
        assert client.get("/api/search", params=link).json()["hits"] == given["hits"]
        options = ("--backbone", "colour-grid", "--seed", 1, "--epochs", 2)
        for command in (("train", sample, *options), ("ingest", sample, "--recreate")):
            assert upload() == given
            done = geosim(*command, "--working", indexed.root)
            assert done.exit_code == 0, done.stderr
        found = upload()
        assert found["model"] != given["model"]
        expected = geosim("search", photo, "--format", "json", "--working", indexed.root)
        (answer,) = json.loads(expected.stdout)
        assert [(hit["path"], hit["score"]) for hit in found["hits"]] == [
            (hit["path"], hit["score"]) for hit in answer["hits"]
        ]
        assert found["explanation"]["predicted"] == answer["explanation"]["predicted"]
        assert client.get("/api/search", params=link).status_code == 409
        stored = client.get(f"/api/points/{ID}/similar").json()
        model = client.get("/api/collection").json()["model"]["fingerprint"]
        assert model.startswith(stored["model"])
        assert stored["model"] == found["model"]
        assert len(list(indexed.model.glob("head-*"))) == 1, "nothing needs the former model"
