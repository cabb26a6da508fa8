"""Commands as a user types them: what they print, where, and how they fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from geosim.trainer.working import Working

Run = Callable[..., Result]


def failed(result: Result) -> str:
    """Return the one line of a clean failure."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture
def filled(geosim: Run, sample: Path, working: Working) -> Working:
    result = geosim("ingest", sample, "--working", working.root)
    assert result.exit_code == 0, result.output
    return working


# What works


def test_ingest_reports_and_a_second_one_has_nothing_to_do(
    geosim: Run, sample: Path, working: Working
) -> None:
    first = geosim("ingest", sample, "--working", working.root)
    assert "added 96, changed 0, deleted 0, unchanged 0, rejected 0" in first.stdout
    second = geosim("ingest", sample, "--working", working.root)
    assert "added 0, changed 0, deleted 0, unchanged 96, rejected 0" in second.stdout
    assert "0 embedded by the backbone" in second.stdout


def test_search_prints_an_aligned_table(geosim: Run, filled: Working) -> None:
    result = geosim("search", "rocks/marble/marble-0003.jpg", "-k", 3, "--working", filled.root)
    lines = result.stdout.splitlines()
    assert lines[0] == "rocks/marble/marble-0003.jpg  (indexed, marble)"
    assert lines[1].split() == ["rank", "score", "class", "path"]
    column = lines[1].index("path")
    assert all(line[column:].startswith("rocks/") for line in lines[2:5])
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]


def test_search_prints_one_json_line_per_query(geosim: Run, filled: Working) -> None:
    paths = ["rocks/marble/marble-0003.jpg", "rocks/schist/schist-0001.jpg"]
    result = geosim("search", *paths, "-k", 2, "--format", "jsonl", "--working", filled.root)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == paths
    for answer in answers:
        assert [hit["rank"] for hit in answer["hits"]] == [1, 2]
        assert {"rank", "score", "path", "class", "id"} <= set(answer["hits"][0])
    array = geosim("search", *paths, "-k", 2, "--format", "json", "--working", filled.root)
    assert json.loads(array.stdout) == answers


@pytest.mark.parametrize("k", [8, 15])
def test_search_draws_a_sheet(
    geosim: Run, filled: Working, sample: Path, tmp_path: Path, k: int
) -> None:
    sheet = tmp_path / "sheet.png"
    image = sample / "marble" / "marble-0003.jpg"
    result = geosim("search", image, "-k", k, "--sheet", sheet, "--working", filled.root)
    assert result.exit_code == 0
    assert f"wrote {sheet}" in result.stderr
    with Image.open(sheet) as drawn:
        assert drawn.width > 1000


def test_options_are_read_from_the_environment(
    geosim: Run, filled: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSIM_WORKING", str(filled.root))
    assert geosim("search", "rocks/marble/marble-0003.jpg").exit_code == 0
    monkeypatch.setenv("GEOSIM_COLLECTION", "another")
    assert "'another'" in failed(geosim("search", "rocks/marble/marble-0003.jpg"))


def test_another_folder_for_the_embedded_engine(
    geosim: Run, sample: Path, working: Working, tmp_path: Path
) -> None:
    options = ("--working", working.root, "--qdrant", tmp_path / "elsewhere")
    assert geosim("ingest", sample, *options).exit_code == 0
    assert geosim("export", *options).exit_code == 0
    assert not working.qdrant.exists()
    assert len(json.loads(working.index.read_text())) == 96


def test_run_does_the_whole_job_and_again_repeats_nothing(
    geosim: Run, sample: Path, tmp_path: Path
) -> None:
    working = Working(tmp_path / "working")
    command = ("run", sample, "--backbone", "colour-grid", "--epochs", 3, "--working", working.root)
    first = geosim(*command, "--format", "jsonl")
    assert first.exit_code == 0, first.output
    answers = [json.loads(line) for line in first.stdout.splitlines()]
    assert len(answers) == 8, "one query per class"
    assert all(len(answer["hits"]) == 10 for answer in answers)
    assert len(json.loads(working.index.read_text())) == 96
    assert len(json.loads(working.embeddings.read_text())) == 96
    with Image.open(working.samples) as drawn:
        assert drawn.height > 1000
    card = (working.model / "model.json").read_bytes()
    second = geosim(*command, "--format", "jsonl")
    assert second.stdout == first.stdout
    assert "up to date" in second.stderr
    assert "unchanged 96" in second.stderr
    assert (working.model / "model.json").read_bytes() == card


def test_run_answers_sample_queries_of_a_dozen_classes(geosim: Run, tmp_path: Path) -> None:
    for number in range(14):
        folder = tmp_path / "boxes" / f"box-{number:02}"
        folder.mkdir(parents=True)
        for shade in range(2):
            colour = (number * 18, 255 - number * 18, shade * 40)
            Image.new("RGB", (40, 40), colour).save(folder / f"{number}-{shade}.png")
    options = ("--backbone", "colour-grid", "--epochs", 1, "-k", 2, "--format", "jsonl")
    result = geosim("run", tmp_path / "boxes", *options, "--working", tmp_path / "working")
    assert result.exit_code == 0, result.output
    assert "sample queries of 12 of 14 classes" in result.stderr.splitlines()
    assert len(result.stdout.splitlines()) == 12


def test_run_rebuilds_its_own_collection_for_a_new_model(
    geosim: Run, sample: Path, tmp_path: Path
) -> None:
    command = ("run", sample, "--backbone", "colour-grid", "--working", tmp_path / "working")
    assert geosim(*command, "--epochs", 2).exit_code == 0
    again = geosim(*command, "--epochs", 3)
    assert again.exit_code == 0, again.output
    assert "added 96" in again.stderr


def test_run_does_not_cost_other_data_sets_their_points(
    geosim: Run, filled: Working, rocks: Path, tmp_path: Path
) -> None:
    other = rocks.rename(tmp_path / "others")
    command = ("run", other, "--backbone", "colour-grid", "--working", filled.root, "--epochs", 2)
    model = (filled.model / "model.json").read_bytes()
    message = failed(geosim(*command))
    assert "96 of them of other data sets" in message
    assert (filled.model / "model.json").read_bytes() == model
    assert geosim("search", "rocks/marble/marble-0003.jpg", "--working", filled.root).exit_code == 0
    assert geosim(*command, "--recreate").exit_code == 0
    gone = geosim("search", "rocks/marble/marble-0003.jpg", "--working", filled.root)
    assert "neither a file nor an indexed image" in failed(gone)


@pytest.mark.parametrize("others", [False, True])
def test_run_leaves_the_collection_to_others_while_it_trains(
    geosim: Run,
    filled: Working,
    sample: Path,
    rocks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    others: bool,
) -> None:
    from geosim.trainer import train

    fit, model = train.fit_model, (filled.model / "model.json").read_bytes()
    command = ("ingest", rocks.rename(tmp_path / "others")) if others else ("status",)

    def fit_meanwhile(*arguments: Any, **keywords: Any) -> Any:
        done = geosim(*command, "--working", filled.root, "--wait", 0)
        assert done.exit_code == 0, done.output
        return fit(*arguments, **keywords)

    monkeypatch.setattr(train, "fit_model", fit_meanwhile)
    options = ("--backbone", "colour-grid", "--epochs", 2, "--working", filled.root)
    result = geosim("run", sample, *options)
    if not others:
        assert result.exit_code == 0, result.output
        assert "added 96" in result.stderr
        return
    assert "96 of them of other data sets" in failed(result)
    assert (filled.model / "model.json").read_bytes() == model
    status = json.loads(geosim("status", "--format", "json", "--working", filled.root).stdout)
    assert status["points"] == 192


def test_run_goes_on_with_a_collection_that_others_share(
    geosim: Run, sample: Path, rocks: Path, tmp_path: Path
) -> None:
    options = ("--working", tmp_path / "working")
    command = ("run", sample, "--backbone", "colour-grid", "--epochs", 2, *options)
    assert geosim(*command).exit_code == 0
    other = rocks.rename(tmp_path / "others")
    assert geosim("ingest", other, *options).exit_code == 0
    again = geosim(*command)
    assert again.exit_code == 0, again.output
    assert "192 points" in again.stderr


def test_run_passes_over_a_broken_image_in_its_sample_queries(
    geosim: Run, rocks: Path, tmp_path: Path
) -> None:
    (rocks / "basalt" / "basalt-0000.jpg").write_bytes(b"broken")
    options = ("--backbone", "colour-grid", "--epochs", 2, "--working", tmp_path / "working")
    result = geosim("run", rocks, *options, "--format", "jsonl")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 8
    assert json.loads(result.stdout.splitlines()[0])["query"] == "rocks/basalt/basalt-0001.jpg"


# What users do wrong


def test_no_model_yet(geosim: Run, sample: Path, tmp_path: Path) -> None:
    message = failed(geosim("ingest", sample, "--working", tmp_path / "new"))
    assert "geosim train" in message


@pytest.mark.parametrize("command", ["train", "ingest", "run"])
@pytest.mark.parametrize("kind", ["missing", "empty", "no images", "one class", "not a zip"])
def test_unusable_data(
    geosim: Run, working: Working, sample: Path, tmp_path: Path, command: str, kind: str
) -> None:
    data = tmp_path / "data"
    if kind != "missing":
        data.mkdir()
    if kind == "no images":
        (data / "marble").mkdir()
        (data / "marble" / "notes.txt").touch()
    if kind == "one class":
        shutil.copytree(sample / "marble", data / "marble")
    if kind == "not a zip":
        data = tmp_path / "data.zip"
        data.write_text("no archive")
    options = () if command == "ingest" else ("--backbone", "colour-grid")
    result = geosim(command, data, "--working", working.root, *options)
    if command == "ingest" and kind == "one class":
        assert result.exit_code == 0, "one class is enough to be searched"
    else:
        assert str(tmp_path) in failed(result)


def test_broken_pictures_are_named_and_strict_fails(
    geosim: Run, rocks: Path, tmp_path: Path
) -> None:
    (rocks / "marble" / "zero.jpg").touch()
    (rocks / "marble" / "text.jpg").write_text("not a picture")
    options = ("--backbone", "colour-grid", "--epochs", 1, "--working", tmp_path / "working")
    lenient = geosim("train", rocks, *options)
    assert lenient.exit_code == 0
    assert "rejected rocks/marble/zero.jpg: the file is empty" in lenient.stderr
    assert "rejected rocks/marble/text.jpg: not a JPEG" in lenient.stderr
    assert "2 images were rejected" in failed(geosim("train", rocks, *options, "--strict"))
    ingested = geosim("ingest", rocks, "--working", tmp_path / "working", "--strict")
    assert "2 images were rejected" in failed(ingested)
    assert "added 96" in ingested.stdout, "what is good is stored all the same"


def test_pictures_that_are_not_read_are_counted_and_strict_fails(
    geosim: Run, rocks: Path, tmp_path: Path
) -> None:
    for name in ("a.cr2", "b.CR2", "notes.txt", "list.csv"):
        (rocks / "marble" / name).touch()
    options = ("--backbone", "colour-grid", "--epochs", 1, "--working", tmp_path / "working")
    told = "2 .cr2 in marble passed over: not read; convert them to TIFF or JPEG\n"
    others = "2 other files passed over: .csv, .txt\n"
    for command in (("train", rocks, *options), ("ingest", rocks, *options[-2:])):
        lenient = geosim(*command)
        assert lenient.exit_code == 0
        assert lenient.stderr.count(told) == lenient.stderr.count(others) == 1
        assert "2 pictures were passed over" in failed(geosim(*command, "--strict"))
    done = geosim("run", rocks, *options)
    assert done.stderr.count(told) == done.stderr.count(others) == 1


def test_excluded_files_are_left_out_by_every_command(
    geosim: Run, rocks: Path, small_sample: Path, tmp_path: Path
) -> None:
    leave_out, working = ("--exclude", "marble"), ("--working", tmp_path / "working")
    options = ("--backbone", "colour-grid", "--epochs", 1, *leave_out, *working)
    for command in (("train", rocks, *options), ("run", rocks, *options)):
        assert "84 images of 7 classes" in geosim(*command).stderr
    ingested = geosim("ingest", rocks, *leave_out, *working)
    assert "unchanged 84" in ingested.stdout
    done = geosim("search", rocks / "marble", rocks / "schist", "--exclude", "*-000?.*", *working)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("schist-0011.jpg") == done.stdout.count("marble-0011.jpg") == 1
    study = ("--split", "random", "--report", tmp_path / "report")
    assert geosim("evaluate", small_sample, *options, *study).exit_code == 0
    assert b"marble" not in (tmp_path / "report" / "report.json").read_bytes()


def test_an_unknown_backbone(geosim: Run, sample: Path, tmp_path: Path) -> None:
    message = failed(geosim("train", sample, "--backbone", "vgg", "--working", tmp_path))
    assert "resnet50" in message
    assert "efficientnet-lite0" in message


def test_a_head_for_a_backbone_that_has_its_own(geosim: Run, sample: Path, tmp_path: Path) -> None:
    line = failed(
        geosim("train", sample, "--working", tmp_path / "w", "--backbone", "tile-resnet",
               "--head", "dense-relu")
    )  # fmt: skip
    assert "leave --head out" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", ".", "--validation-split", "nan"),
        ("evaluate", ".", "--test-share", "nan"),
        ("search", "x.jpg", "--min-score", "nan"),
    ],
)
def test_nan_is_no_share_and_no_score(geosim: Run, arguments: tuple[str, ...]) -> None:
    result = geosim(*arguments)
    assert result.exit_code == 2
    assert "'nan' is no number" in result.stderr


def test_weights_that_are_none(geosim: Run, sample: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"no weights")
    options = ("--weights", weights, "--working", tmp_path / "working")
    assert str(weights) in failed(geosim("train", sample, *options))
    assert not (tmp_path / "working" / "model").exists()


def test_an_unreachable_server(geosim: Run, sample: Path, working: Working) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        options = ("--working", working.root, "--qdrant", url, "--wait", 0)
        message = failed(geosim("ingest", sample, *options))
    assert url in message
    assert "docker compose up" in message


def test_a_store_in_use_by_another_process(geosim: Run, sample: Path, filled: Working) -> None:
    code = (
        "import sys; from pathlib import Path; from geosim.ingest.store.edge import EdgeStore\n"
        "store = EdgeStore(Path(sys.argv[1]), 'geosim'); store.info(); print('open', flush=True)\n"
        "sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(filled.qdrant)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        options = ("--wait", 0, "--working", filled.root)
        assert f"open in process {holder.pid} (" in failed(geosim("ingest", sample, *options))
        search = geosim("search", "rocks/marble/marble-0003.jpg", *options)
        assert f"open in process {holder.pid} (" in failed(search)
        holder.kill()
    assert geosim("search", "rocks/marble/marble-0003.jpg", "--working", filled.root).exit_code == 0


def test_a_search_without_a_collection(geosim: Run, working: Working) -> None:
    assert "geosim ingest" in failed(geosim("search", "x.jpg", "--working", working.root))


def test_a_query_that_is_nothing_fails_after_the_others_are_answered(
    geosim: Run, filled: Working
) -> None:
    paths = ("rocks/marble/marble-0003.jpg", "no/such.jpg")
    result = geosim("search", *paths, "--format", "jsonl", "--working", filled.root)
    assert "no/such.jpg" in failed(result)
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", ""])
def test_a_collection_name_that_is_a_path(
    geosim: Run, sample: Path, working: Working, name: str
) -> None:
    failed(geosim("ingest", sample, "--working", working.root, "--collection", name))


def test_a_sheet_that_cannot_be_written(geosim: Run, filled: Working, tmp_path: Path) -> None:
    sheet = tmp_path / "absent" / "sheet.png"
    query = "rocks/marble/marble-0003.jpg"
    result = geosim("search", query, "--sheet", sheet, "--working", filled.root)
    assert "absent" in failed(result)


def test_control_characters_in_a_name_do_not_reach_the_terminal(
    geosim: Run, rocks: Path, working: Working
) -> None:
    shutil.copy(rocks / "marble" / "marble-0003.jpg", rocks / "marble" / "\x1b[2Jx.jpg")
    geosim("ingest", rocks, "--working", working.root)
    result = geosim("search", "rocks/marble/marble-0003.jpg", "--working", working.root)
    assert "\\x1b[2Jx.jpg" in result.stdout
    assert "\x1b" not in result.stdout


# Ctrl-C


def test_ctrl_c_answers_and_says_how_to_go_on(sample: Path, tmp_path: Path) -> None:
    """Also where the tests run in the background of a shell, which has their children ignore it."""
    arguments = ["train", str(sample), "--backbone", "colour-grid", "--epochs", "100000"]
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeding}\nimport sys; from geosim.search.cli.main import geosim; geosim(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--working", str(tmp_path / "working")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        assert process.stderr is not None
        assert (
            "data set rocks: 96 pictures, classes by folder: basalt 12" in process.stderr.readline()
        )
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "run the same command again" in rest
    assert "Traceback" not in rest
