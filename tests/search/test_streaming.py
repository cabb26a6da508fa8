"""``--format jsonl`` prints each answer when it is known, and keeps what is printed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosim.trainer.working import Working

GEOSIM = (
    # Children of a shell's background ignore SIGINT.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from geosim.search.cli.main import geosim; geosim()"
)

Search = tuple["subprocess.Popen[bytes]", list[str]]


@pytest.fixture
def search(indexed: Working, rocks: Path) -> Iterator[Search]:
    """A search that waits for the reader: each line has 10 KB, and a pipe takes 64 KB."""
    pictures = [str(path) for path in sorted(rocks.rglob("*.jpg"))]
    late, broken = rocks / "late.jpg", rocks / "broken.jpg"
    shutil.copy(pictures[0], late)
    broken.write_bytes(b"no picture")
    queries = [pictures[0], str(broken), *pictures, *pictures, str(late)]
    options = ["--format", "jsonl", "-k", "95", "--working", str(indexed.root)]
    process = subprocess.Popen(
        [sys.executable, "-c", GEOSIM, "search", *queries, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # `communicate` reads what `readline` leaves
    )
    yield process, queries
    process.kill()
    process.communicate(timeout=60)


def test_the_first_answers_are_printed_before_the_last_queries_are_read(search: Search) -> None:
    process, queries = search
    assert process.stdout is not None
    first = process.stdout.readline()
    Path(queries[-1]).unlink()
    rest, messages = process.communicate(timeout=60)
    answers = [json.loads(line) for line in (first + rest).splitlines()]
    assert [answer["query"] for answer in answers] == queries, "in order"
    assert len(answers[0]["hits"]) == 95
    assert "error" in answers[1]
    assert "neither a file nor an indexed image" in answers[-1]["error"], "it was gone when read"
    told = [line.partition(": ")[2] for line in messages.decode().splitlines()]
    assert [line.partition(": ")[0] for line in told] == [queries[1], queries[-1]]
    assert process.returncode == 1


def test_ctrl_c_keeps_what_was_printed(search: Search) -> None:
    process, queries = search
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, messages = process.communicate(timeout=60)
    answers = [json.loads(line) for line in (first + rest).splitlines()]
    assert process.returncode == 130
    assert 1 < len(answers) < len(queries)
    assert [answer["query"] for answer in answers] == queries[: len(answers)]
    assert messages.decode().splitlines()[-1].startswith("interrupted;")


def test_a_closed_pipe_ends_quietly(search: Search) -> None:
    process, _ = search
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    messages = process.stderr.read().decode()
    assert len(messages.splitlines()) <= 1, "of the picture that cannot be read"
    assert "Traceback" not in messages
