"""`geosim label`: a table of predicted classes that damage and Ctrl-C cost nothing of."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image, ImageOps

from geosim.ingest.store.base import VectorStore
from geosim.search.label import label_pictures
from geosim.trainer.errors import QueryError
from geosim.trainer.working import Working
from tests.processes import COMMAND

Run = Callable[..., Result]

# The in-memory mode of qdrant-client says that it always searches exactly.
pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")


def read(content: bytes) -> list[dict[str, str]]:
    text = content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture
def new(sample: Path, tmp_path: Path) -> Path:
    """Eight new pictures, one that is unlike all, and one that is damaged."""
    folder = tmp_path / "new"
    (folder / "deeper").mkdir(parents=True)
    for path in sorted(sample.rglob("*-0001.jpg")):
        with Image.open(path) as image:
            ImageOps.mirror(image).save(folder / "deeper" / f"{path.stem}.png")
    Image.new("RGB", (64, 64), "magenta").save(folder / "magenta.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_a_folder_is_labelled(geosim: Run, indexed: Working, new: Path, tmp_path: Path) -> None:
    table, options = tmp_path / "tables" / "out.csv", ("--working", indexed.root)
    card = json.loads((indexed.model / "model.json").read_bytes())
    vote = {"offset": 0.0, "slope": 1.0, "closeness": 0.0, "most": 0.9}
    (indexed.model / "model.json").write_text(json.dumps(card | {"vote": vote}))
    done = geosim("label", new, "--table", table, *options)
    assert done.exit_code == 1
    rows = read(table.read_bytes())
    assert table.read_bytes().startswith(b"\xef\xbb\xbfpath,class,certainty,unlike,")
    assert [Path(row["path"]).name for row in rows][:1] == ["broken.jpg"]
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    broken, magenta = rows[0], rows[-1]
    assert "replace or remove it" in broken["error"]
    assert not any(broken[name] for name in ("class", "certainty", "unlike", "nearest"))
    assert (magenta["class"], magenta["certainty"], magenta["unlike"]) == ("", "", "yes")
    assert magenta["nearest"].startswith("rocks/")
    labelled = [row for row in rows if row["class"]]
    assert labelled
    assert all(0 < float(row["certainty"]) <= 0.9 for row in labelled)
    assert all(row["error"] == "" for row in rows[1:])
    assert done.stderr.splitlines()[-1] == (
        f"wrote {table}: 10 pictures, {len(labelled)} labelled, {9 - len(labelled)} unlike "
        "anything indexed, 1 not readable"
    )
    assert [path.name for path in table.parent.iterdir()] == ["out.csv"]

    printed = geosim("label", new, *options)
    assert (printed.exit_code, read(printed.stdout_bytes)) == (1, rows)
    (new / "broken.jpg").unlink()
    assert geosim("label", new, "--table", table, *options).exit_code == 0
    assert read(table.read_bytes()) == rows[1:]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_keeps_what_was_done_and_the_old_table(
    indexed: Working, sample: Path, tmp_path: Path
) -> None:
    new, table = tmp_path / "new", tmp_path / "out.csv"
    shutil.copytree(sample, new)
    for path in new.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"another file")
    table.write_text("old\n")
    command = ["label", str(new), "--table", str(table), "--working", str(indexed.root)]
    code = (
        "import os, signal, geosim.search.label as label\n"
        # Children of a shell's background ignore SIGINT.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "real, seen = label.explain, []\n"
        "def explain(*given):\n"
        "    seen.append(given)\n"
        "    if len(seen) == 20: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(*given)\n"
        "label.explain = explain\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + COMMAND, *command],
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    part = table.with_name("out.csv.part")
    rows = read(part.read_bytes())
    assert len(rows) == 19
    assert all(row["nearest"] for row in rows)
    assert table.read_text() == "old\n"
    told = [line for line in done.stderr.splitlines() if line]
    assert told[-2:] == [
        f"{part} has the 19 of 96 that were done",
        "interrupted; run the same command again, what was finished is kept",
    ]


def test_pictures_that_are_indexed_do_not_vote_for_themselves(
    any_store: VectorStore, indexed: Working, sample: Path
) -> None:
    pictures = [str(path) for path in sorted(sample.rglob("*.jpg"))[:12]]
    for path, one in zip(pictures, label_pictures(pictures, any_store, indexed), strict=True):
        assert one.path == path
        assert one.nearest is not None
        assert not path.endswith(one.nearest.removeprefix("rocks"))


def test_what_cannot_be_labelled_is_told_before_the_work(
    geosim: Run, working: Working, sample: Path, new: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for path in sorted(sample.rglob("*.jpg"))[::16]:
        shutil.copy(path, tmp_path / "photos")
    table, options = tmp_path / "out.csv", ("--working", working.root)
    assert geosim("ingest", tmp_path / "photos", *options).exit_code == 0
    for command in (
        ("label", new, "--table", table),
        ("label", new, "--table", table, "--collection", "none"),
        ("label", tmp_path / "nothing", "--table", table, "--collection", "none"),
    ):
        done = geosim(*command, *options)
        assert done.exit_code == 1
        (line,) = [one for one in done.stderr.splitlines() if one.startswith("Error: ")]
        assert "no image here has a class" in line or "fill it with" in line
    assert not list(tmp_path.glob("out.csv*"))
    assert geosim("label", new, "--table", tmp_path, *options).exit_code == 2


def test_the_library_says_so_too(any_store: VectorStore, indexed: Working) -> None:
    for batch in list(any_store.scan(vectors=True)):
        any_store.delete([point.payload.id for point in batch[1:]])
        bare = batch[0].payload.to_dict()
        del bare["class"]
        assert batch[0].vector is not None
        any_store.upsert([type(batch[0].payload).from_dict(bare)], batch[0].vector[None])
    with pytest.raises(QueryError, match="predicts no class: no image here has a class"):
        label_pictures([], any_store, indexed)
