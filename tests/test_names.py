"""Names that control a terminal, hide, are no UTF-8 or do not fit the output, in every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
GEOSIM = Path(sys.executable).with_name("geosim")
QUICK = ("--backbone", "colour-grid", "--epochs", 1, "-k", 2)
Run = Callable[..., Result]

EVIL = {
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "line": "a\nError: forged",
    "return": "a\rb\x08\x7f",
    "C1": "\x9b31m\x85x",
    "direction": "\u202egpj\u2066x\u061c",
    "hidden": "gra\u200bnite\ufeff\u2060\u00ad",
    "separator": "a\u2028b\u2029c",
    "tag": "\U000e0041x\ufe0f",
}


def run(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    settings = {name: value for name, value in os.environ.items() if "GEOSIM" not in name}
    settings = {**settings, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [os.fsencode(GEOSIM), *(os.fsencode(str(one)) for one in arguments)]
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, timeout=240, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return done


def assert_safe(output: bytes) -> None:
    text = output.decode()
    bad = {c for c in text if (c != "\n" and not c.isprintable()) or c in "\ufe0f"}
    assert not bad, text
    assert "\nError: forged" not in text


def draw(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (number * 37 % 256, number * 91 % 256, 255 - number * 53 % 256)
    Image.new("RGB", (32, 32), colour).save(path, "PNG")


def make(root: Path, classes: list[str], per_class: int = 3) -> Path:
    for number in range(len(classes) * per_class):
        label = classes[number // per_class]
        draw(root / label / f"{label}-{number}.png", number)
    return root


@pytest.fixture(scope="module")
def evil(geosim: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `geosim run` has indexed a data set of such names."""
    folder = tmp_path_factory.mktemp("evil")
    data = make(folder / f"set{EVIL['escape']}", [*EVIL.values()])
    label = EVIL["line"]
    (data / label / f"broken{EVIL['escape']}.png").write_bytes(b"x")
    (data / label / f"x{EVIL['C1']}.heic{EVIL['return']}").write_bytes(b"x")
    (data / f"stray{EVIL['line']}.png").write_bytes(b"x")
    (data / EVIL["hidden"] / f"x{EVIL['escape']}.psd").write_bytes(b"x")
    done = geosim("run", data, *QUICK, "--working", folder / "working")
    assert done.exit_code == 0, done.output
    assert_safe(done.stdout_bytes + done.stderr_bytes)
    return folder


def commands(folder: Path) -> Iterator[tuple[Any, ...]]:
    """Every command but those without names: ``demo``, ``download`` and ``serve``."""
    (data,) = (path for path in folder.iterdir() if path.name.startswith("set"))
    picture = next(data.joinpath(EVIL["escape"]).iterdir())
    stored = str(picture.relative_to(folder))
    train = ("--backbone", "colour-grid", "--epochs", 1)
    yield "train", data, *train
    yield "ingest", data
    yield "ingest", data, "--strict"
    yield "evaluate", data, *train, "--split", "random", "--report", f"report{EVIL['escape']}"
    yield "export", "--output", f"graph{EVIL['line']}.json"
    yield ("duplicates",)
    yield "duplicates", "--ignore", f"none{EVIL['line']}.csv"
    yield "outliers", "--sheet", f"sheet{EVIL['C1']}.png"
    yield "label", f"none{EVIL['escape']}.jpg", "--table", f"table{EVIL['line']}.csv"
    yield ("status",)
    yield "search", picture, stored, f"none{EVIL['escape']}.jpg"
    yield "search", data / f"stray{EVIL['line']}.png"
    yield "search", picture, "--class", EVIL["hidden"], "--sheet", f"sheet{EVIL['C1']}.png"
    yield "search", picture, "--class", f"none{EVIL['line']}"
    yield "search", picture, "--sheet", f"sheet.{EVIL['escape']}"
    yield "search", stored, "--together", "--unlike", f"none{EVIL['escape']}"
    yield "search", picture, "--qdrant", f"http://{EVIL['escape']}"
    yield "search", picture, "--collection", EVIL["line"]
    yield "search", picture, "-k", EVIL["line"]
    yield "search", picture, f"--{EVIL['line']}"
    yield "train", data, EVIL["line"]
    yield "train", f"none{EVIL['line']}"
    yield (f"no{EVIL['line']}",)
    yield "status", "--working", f"none{EVIL['line']}"
    yield "ingest", data, "--working", f"none{EVIL['escape']}"


def test_no_command_prints_what_controls_a_terminal_or_hides(
    evil: Path, geosim: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evil)
    for command in commands(evil):
        result = geosim(*command)
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert_safe(result.stdout_bytes + result.stderr_bytes)


def test_tables_have_a_line_per_row_and_no_hidden_characters(
    evil: Path, geosim: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evil)
    (data,) = evil.glob("set*")

    def assert_safe_table(table: bytes) -> None:
        assert table.startswith("\ufeff".encode())
        assert_safe(table.removeprefix("\ufeff".encode()).replace(b"\r\n", b"\n"))

    for command in (
        ("search", data, "--format", "csv"),
        ("duplicates", "--format", "csv"),
        ("outliers", "--format", "csv"),
        ("label", data),
    ):
        assert_safe_table(geosim(*command).stdout_bytes)
    geosim("export", "--format", "csv", "--output", "table.csv")
    table = Path("table.csv").read_bytes()
    assert_safe_table(table)
    assert table.count(b"\n") == 1 + 3 * len(EVIL)


def test_json_has_the_exact_names_in_escapes(evil: Path) -> None:
    status = run(evil, "status", "--format", "json").stdout
    assert_safe(status)
    assert set(json.loads(status)["classes"]) == set(EVIL.values())
    query = next(next(evil.glob("set*")).joinpath(EVIL["tag"]).iterdir()).relative_to(evil)
    for form in ("json", "jsonl"):
        answer = run(evil, "search", query, "-k", 30, "--format", form).stdout
        assert_safe(answer)
        parsed = json.loads(answer)
        result = parsed[0] if form == "json" else parsed
        assert result["query"] == str(query)
        assert {hit["class"] for hit in result["hits"]} == set(EVIL.values())


# Narrow encodings

SCRIPTS = ["花岗岩", "Grünstein", "гранит", "😀", "granite"]


@pytest.fixture(scope="module")
def scripts(geosim: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    data = make(folder / "岩石", SCRIPTS)
    done = geosim("run", data, *QUICK, "--working", folder / "working")
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("encoding", ["cp1252", "ascii:strict", "gbk"])
def test_a_narrow_encoding_costs_no_data(scripts: Path, encoding: str) -> None:
    codec = encoding.partition(":")[0]
    query = "岩石/granite/granite-12.png"
    options = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for command in (("search", query, "-k", 20), ("status",), ("ingest", "岩石")):
        done = run(scripts, *command, **options)
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode(codec)
        if command[0] == "status":
            for name in SCRIPTS:
                assert name.encode(codec, "backslashreplace").decode(codec) in text
    for form in ("json", "jsonl"):
        done = run(scripts, "search", query, "-k", 20, "--format", form, **options)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()
        parsed = json.loads(done.stdout)
        result = parsed[0] if form == "json" else parsed
        assert {hit["class"] for hit in result["hits"]} == set(SCRIPTS)
    parsed = json.loads(run(scripts, "status", "--format", "json", **options).stdout)
    assert set(parsed["classes"]) == set(SCRIPTS)


def test_an_output_in_utf8_is_not_escaped(scripts: Path) -> None:
    for command in (("status",), ("search", "岩石/花岗岩/花岗岩-0.png", "--format", "jsonl")):
        done = run(scripts, *command, PYTHONIOENCODING="utf-8")
        assert "花岗岩" in done.stdout.decode()


def test_the_locale_c_works(scripts: Path) -> None:
    settings = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = run(scripts, "search", "岩石/花岗岩/花岗岩-0.png", "--format", "jsonl", **settings)
    assert done.returncode == 0, done.stderr
    assert "花岗岩" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


# Paths that are no UTF-8


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A folder of an old disk, with a Latin-1 name."""
    folder = tmp_path / os.fsdecode(b"G\xe9ologie")
    folder.mkdir()
    return folder


@LINUX
def test_every_command_works_below_a_folder_that_is_no_utf8(latin: Path, geosim: Run) -> None:
    name = os.fsdecode(b"gr\xe8s")
    data = make(latin / os.fsdecode(b"r\xf4ches"), [name, "granite"], per_class=8)
    picture = data / name / f"{name}-0.png"
    new = latin / os.fsdecode(b"n\xe9.png")
    draw(new, 77)
    train = ("--backbone", "colour-grid", "--epochs", 1)
    options = ("--working", latin / os.fsdecode(b"\xe9"))
    commands: list[tuple[Any, ...]] = [
        ("run", data, *train, "-k", 2),
        ("search", picture),
        ("search", new, "--format", "json"),
        ("ingest", data),
        ("search", data),
        ("search", picture, "--sheet", latin / "sheet.png"),
        ("search", "r%F4ches/gr%E8s/gr%E8s-0.png", "--class", name),
        ("search", "r%F4ches/gr%E8s/gr%E8s-0.png", "--class", "gr%E8s"),
        ("export", "--output", latin / os.fsdecode(b"\xe9.json")),
        ("status",),
        ("status", "--format", "json"),
        ("evaluate", data, *train, "--split", "random", "--format", "json"),
    ]
    for command in commands:
        result = geosim(*command, *options)
        assert result.exit_code == 0, (command, result.output)
        assert_safe(result.stdout_bytes + result.stderr_bytes)
        if "json" in command:
            assert "gr%E8s" in str(json.loads(result.stdout))


@LINUX
def test_relative_paths_below_a_folder_that_is_no_utf8_work(
    geosim: Run, latin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(latin / "rocks", ["marble", "granite"])
    monkeypatch.chdir(latin)
    done = geosim("run", "rocks", *QUICK)
    assert done.exit_code == 0, done.output
    assert (latin / "working" / "samples.png").is_file()


@LINUX
def test_the_network_of_a_model_below_a_folder_that_is_no_utf8_is_loaded(
    latin: Path, lite0_trained: Any, sample: Path
) -> None:
    working = latin / "working"
    shutil.copytree(lite0_trained.root, working)
    shutil.rmtree(working / "features", ignore_errors=True)
    data = lite0_trained.root.parent / "rocks"
    done = run(latin, "ingest", data, "--working", working)
    assert done.returncode == 0, done.stderr
    assert b"4 embedded by the backbone" in done.stdout
