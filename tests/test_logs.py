"""``--log-format json``: stderr has one JSON object a line, and stdout the same data as before."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

Run = Callable[..., Result]
JSON = ("--log-format", "json")
EVIL = "none\x1b[2J\x7f\u202e\nError: forged\udce9.jpg"


def objects(text: str) -> list[dict[str, Any]]:
    """Return the object on every line; each has what all have."""
    assert all(character.isprintable() or character == "\n" for character in text), text
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        age = datetime.now(timezone.utc) - datetime.fromisoformat(one["time"])
        assert timedelta() <= age < timedelta(hours=1)
        assert {"level", "command", "logger", "message"} <= one.keys()
    return found


@pytest.fixture(scope="module")
def indexed(trained: Working, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A working folder whose collection holds `sample`; read only."""
    root = tmp_path_factory.mktemp("indexed") / "working"
    working = Working(Path(shutil.copytree(trained.root, root)))
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(sample), load_model(working.model), store, working)
    return working


@pytest.fixture
def closed() -> str:
    """The address of a server that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as ended:
        return f"http://127.0.0.1:{ended.getsockname()[1]}"


def test_messages_and_progress_are_objects_and_stdout_is_as_before(
    geosim: Run, sample: Path, working: Working
) -> None:
    logged = geosim("ingest", sample, "--working", working.root, *JSON)
    again = geosim("ingest", sample, "--working", working.root)
    assert logged.exit_code == again.exit_code == 0, logged.output
    assert "added 96, changed 0" in logged.stdout
    found = objects(logged.stderr)
    assert {one["command"] for one in found} == {"ingest"}
    assert {one["level"] for one in found} == {"info"}
    told = [one for one in found if one["message"].startswith("data set rocks: 96 pictures")]
    assert len(told) == 1
    progress = [one for one in found if one["message"] == "embedding"]
    assert (progress[0]["done"], progress[-1]["done"]) == (0, 96)
    assert {(one["total"], one["unit"]) for one in progress} == {(96, "image")}
    assert again.stderr.startswith("data set rocks: 96 pictures"), "text, as nothing is asked"


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (("search", "nowhere.jpg"), 1, "nowhere.jpg"),
        (("search", "nowhere.jpg", "-k", "many"), 2, "'many'"),
        (("search", "--no-such-option", "x"), 2, "--no-such-option"),
        (("export", "--output", "/dev/null/graph.json"), 1, "/dev/null"),
    ],
)
def test_an_error_is_one_object_and_its_status(
    geosim: Run, indexed: Working, arguments: tuple[str, ...], status: int, expected: str
) -> None:
    name, *others = arguments
    result = geosim(name, *JSON, *others, "--working", indexed.root)
    assert (result.exit_code, result.stdout) == (status, "")
    (error,) = [one for one in objects(result.stderr) if "done" not in one]
    assert error["level"] == "error"
    assert expected in error["message"]
    text = geosim(name, *others, "--working", indexed.root)
    assert text.exit_code == status
    assert f"Error: {error['message']}" in text.stderr


def test_without_arguments_a_command_is_told_what_it_needs(
    geosim: Run, indexed: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Missing argument 'DATA'" in geosim("ingest").stderr
    monkeypatch.setenv("GEOSIM_LOG_FORMAT", "json")
    result = geosim("ingest")
    (error,) = objects(result.stderr)
    assert (result.exit_code, error["message"]) == (2, "Missing argument 'DATA'.")
    assert "--log-format" in geosim("ingest", "--help").stdout
    bad = geosim("status", "--log-format", "xml", "--working", indexed.root)
    assert (bad.exit_code, "'xml'" in bad.stderr) == (2, True)


def test_the_format_comes_from_the_environment_and_warnings_are_objects(
    geosim: Run, working: Working, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GEOSIM_LOG_FORMAT", "json")
    result = geosim("status", "--qdrant", closed, "--wait", 0.2, "--working", working.root)
    warning, error = objects(result.stderr)
    assert (warning["level"], error["level"]) == ("warning", "error")
    assert warning["message"].endswith("trying again for 0.2 s")
    assert closed in error["message"]


def test_names_that_control_a_terminal_are_escapes(geosim: Run, indexed: Working) -> None:
    result = geosim("search", EVIL, *JSON, "--working", indexed.root)
    (error,) = objects(result.stderr)
    assert error["level"] == "error"
    assert error["message"].startswith(EVIL.replace("\udce9", "%E9"))


def test_a_bug_is_an_object_with_its_traceback(
    geosim: Run, sample: Path, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("of all things")

    monkeypatch.setattr("geosim.ingest.sync.sync", fail)
    result = geosim("ingest", sample, *JSON, "--working", working.root)
    error = objects(result.stderr)[-1]
    assert (result.exit_code, error["level"]) == (1, "error")
    assert "AssertionError: of all things" in error["exception"]


def test_ctrl_c_is_an_object(
    geosim: Run, sample: Path, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geosim.ingest.sync.sync", interrupt)
    result = geosim("ingest", sample, *JSON, "--working", working.root)
    told = objects(result.stderr)[-1]
    assert (result.exit_code, told["level"]) == (130, "warning")
    assert "what was finished is kept" in told["message"]
