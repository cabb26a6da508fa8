"""`geosim duplicates`: groups of the same picture, wrong labels first, and what a user accepts."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search import reduced
from geosim.search.duplicates import find_duplicates
from geosim.search.graph.collection import read_filled
from geosim.search.pairs import Pairs
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.evaluation.overlap import Picture
from geosim.trainer.files import copy_sparse
from geosim.trainer.model import load_model
from geosim.trainer.sample.generate import write_sample
from geosim.trainer.sample.textures import draw
from geosim.trainer.working import Working

Run = Callable[..., Result]
SIDE, STEP = 28, 5
KEPT = "pictures.sqlite"


def tiles(rocks: Path) -> None:
    """Cut a picture to 25 tiles that overlap, one of them of another class."""
    picture = draw("granite", 99, size=SIDE + 4 * STEP)
    for number in range(25):
        top, left = (STEP * step for step in divmod(number, 5))
        tile = picture[top : top + SIDE, left : left + SIDE]
        label = "basalt" if number == 12 else "granite"
        Image.fromarray(tile).save(rocks / label / f"tile-{number:02}.png")


@pytest.fixture(scope="module")
def doubled(trained: Working, tmp_path_factory: pytest.TempPathFactory) -> tuple[Working, Path]:
    """A collection with copies of each kind; the working folder is read only."""
    root = tmp_path_factory.mktemp("doubled")
    rocks = write_sample(root / "rocks", per_class=4, size=SIDE)
    marble = rocks / "marble"
    shutil.copy(marble / "marble-0001.jpg", marble / "=copy.jpg")
    shutil.copy(marble / "marble-0002.jpg", rocks / "basalt" / "stray.jpg")
    with Image.open(marble / "marble-0003.jpg") as image:
        image.save(marble / "saved.jpg", quality=80)
        image.resize((96, 96)).save(rocks / "marble" / "large.png")
    tiles(rocks)
    working = Working(Path(shutil.copytree(trained.root, root / "working")))
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(rocks), load_model(working.model), store, working)
    return working, rocks


@pytest.fixture
def elsewhere(doubled: tuple[Working, Path], tmp_path: Path) -> Working:
    """A copy of the working folder that does not know where the pictures are."""
    working = Working(tmp_path / "working")
    copy_sparse(doubled[0].root, working.root)
    working.datasets.unlink()
    (working.derived / KEPT).unlink(missing_ok=True)
    return working


def rows(done: Result) -> list[dict[str, str]]:
    assert done.exit_code == 0, done.output
    text = done.stdout_bytes.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_groups_of_each_kind_and_wrong_labels_first(
    geosim: Run, doubled: tuple[Working, Path], tmp_path: Path
) -> None:
    options = ("--working", doubled[0].root)
    sheet = tmp_path / "groups.png"
    done = geosim("duplicates", "--format", "json", "--sheet", sheet, *options)
    assert done.exit_code == 0, done.output
    groups = json.loads(done.stdout)
    paths = [[one["path"] for one in group["images"]] for group in groups]
    assert [(group["kind"], group["classes"]) for group in groups] == [
        ("identical", ["basalt", "marble"]),
        ("overlapping", ["basalt", "granite"]),
        ("identical", ["marble"]),
        ("near-identical", ["marble"]),
    ]
    assert paths[0] == ["rocks/basalt/stray.jpg", "rocks/marble/marble-0002.jpg"]
    assert len(paths[1]) == 25
    assert paths[2] == ["rocks/marble/=copy.jpg", "rocks/marble/marble-0001.jpg"]
    assert paths[3] == [f"rocks/marble/{n}" for n in ("large.png", "marble-0003.jpg", "saved.jpg")]
    told = done.stderr.splitlines()
    assert told[-2] == (
        "4 groups in 61 images: 2 identical, 1 overlapping, 1 near-identical; 2 under two classes "
        "or more"
    )
    assert told[-1] == f"wrote {sheet}"
    with Image.open(sheet) as drawn:
        assert drawn.height > 4 * 216
    table = geosim("duplicates", *options).stdout.splitlines()
    assert table[0] == "group 1: identical, under 2 classes"
    assert table[1].split() == ["basalt", "rocks/basalt/stray.jpg"]


def test_accepted_pairs_are_left_out_from_then_on(
    geosim: Run, elsewhere: Working, tmp_path: Path
) -> None:
    known = tmp_path / "known.csv"
    command = ("duplicates", "--format", "csv", "--ignore", known, "--working", elsewhere.root)
    assert geosim(*command).exit_code == 1
    found = rows(geosim(*command, "--accept"))
    assert [one["two_classes"] for one in found] == ["yes", "yes", "no", "no"]
    assert known.read_bytes() == (
        b"\xef\xbb\xbfpath,other\r\n"
        b"rocks/basalt/stray.jpg,rocks/marble/marble-0002.jpg\r\n"
        b"rocks/marble/=copy.jpg,rocks/marble/marble-0001.jpg\r\n"
    )
    assert rows(geosim(*command)) == []

    # As a spreadsheet elsewhere saves it
    lines = ["path;other", "rocks/marble/marble-0001.jpg;rocks/marble/=copy.jpg", "gone.jpg;lost"]
    known.write_text("\n".join([*lines, ""]))
    done = geosim(*command, "--accept")
    assert {one["path"] for one in rows(done)} == {found[0]["path"], found[1]["path"]}
    assert f"1 of 2 pairs of {known} are not indexed" in done.stderr
    assert len(known.read_text("utf-8-sig").splitlines()) == 4, "none is lost"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one,two\na,b\n", "columns path and other"),
        (b"path,other\na\n", "line 2 of"),
        ("path,other\nü,ö\n".encode("cp1252"), "is not in UTF-8"),
        (b'path,other\n"a,b\n', "columns path and other"),
    ],
)
def test_a_list_that_is_none_is_told_in_one_line(
    geosim: Run, doubled: tuple[Working, Path], tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "known.csv").write_bytes(content)
    command = ("duplicates", "--ignore", tmp_path / "known.csv", "--working", doubled[0].root)
    for more in ((), ("--accept",)):
        done = geosim(*command, *more)
        assert done.exit_code == 1
        (line,) = done.stderr.splitlines()
        assert message in line
    assert (tmp_path / "known.csv").read_bytes() == content


def test_what_cannot_be_done_is_told_before_the_work(
    geosim: Run, doubled: tuple[Working, Path], tmp_path: Path
) -> None:
    options = ("--working", doubled[0].root)
    assert geosim("duplicates", "--accept", *options).exit_code == 2
    done = geosim("duplicates", "--sheet", tmp_path / "sheet.gif", *options)
    assert (done.exit_code, done.stderr.count("\n"), done.stdout) == (1, 1, "")
    done = geosim("duplicates", "--working", tmp_path)
    assert done.exit_code == 1
    assert "holds nothing to compare; fill it with `geosim ingest DATA`" in done.stderr


def test_pictures_elsewhere_are_compared_by_bytes_and_embedding(
    geosim: Run, elsewhere: Working
) -> None:
    done = geosim("duplicates", "--format", "json", "--working", elsewhere.root)
    assert done.exit_code == 0, done.output
    groups = json.loads(done.stdout)
    assert [one["kind"] for one in groups].count("identical") == 2
    assert "59 pictures were compared by bytes and embedding alone: not on this" in done.stderr


def test_a_picture_is_decoded_once(
    geosim: Run, doubled: tuple[Working, Path], elsewhere: Working
) -> None:
    def compare(working: Working) -> tuple[str, str]:
        done = geosim("duplicates", "--format", "json", "--working", working.root)
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    expected = compare(doubled[0])
    kept = (doubled[0].derived / KEPT).read_bytes()
    (elsewhere.derived / KEPT).write_bytes(kept)
    assert compare(elsewhere) == expected, "no file is there"
    compare(doubled[0])
    assert (doubled[0].derived / KEPT).read_bytes() == kept, "nothing is new"


@pytest.mark.parametrize("content", [b"no database", b"", None])
def test_pictures_are_decoded_again_where_those_kept_are_of_no_use(
    geosim: Run, doubled: tuple[Working, Path], content: bytes | None
) -> None:
    command = ("duplicates", "--format", "json", "--working", doubled[0].root)
    expected, file = geosim(*command), doubled[0].derived / KEPT
    if content is None:  # each picture is damaged
        with closing(sqlite3.connect(file)) as database, database:
            (table,) = database.execute("SELECT name FROM sqlite_master").fetchone()
            database.execute(f"UPDATE {table} SET picture = substr(picture, 1, 40)")
    else:
        file.write_bytes(content)
    done = geosim(*command)
    assert (done.exit_code, done.stdout, done.stderr) == (0, expected.stdout, expected.stderr)
    if content == b"no database":
        assert file.read_bytes() == content, "a file of another program is left alone"
        file.unlink()


def test_what_was_decoded_before_a_kill_is_kept(
    geosim: Run, doubled: tuple[Working, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("duplicates", "--working", doubled[0].root)
    expected = geosim(*command)
    (doubled[0].derived / KEPT).unlink()
    monkeypatch.setattr(reduced, "BLOCK", 8)
    decoded: list[int] = []
    decode = reduced.reduce_picture

    def reduce(image: Image.Image) -> Picture:
        decoded.append(1)
        if len(decoded) == 30:
            raise KeyboardInterrupt
        return decode(image)

    monkeypatch.setattr(reduced, "reduce_picture", reduce)
    assert geosim(*command).exit_code != 0
    before = len(decoded)
    done = geosim(*command)
    assert (done.exit_code, done.stdout) == (0, expected.stdout)
    assert len(decoded) - before < 57 - 16


def test_it_is_the_same_on_a_server_and_without_classes(
    any_store: VectorStore, tmp_path: Path
) -> None:
    elsewhere, none = Working(tmp_path / "none"), np.empty((0, 2), dtype=np.int64)
    point = next(iter(any_store.scan(vectors=True)))[0]
    assert point.vector is not None
    fields = point.payload.to_dict() | {"path": "rocks/twin.jpg"}
    del fields["class"]
    any_store.upsert([type(point.payload).from_dict(fields)], point.vector[None])
    collection = read_filled(any_store, "compare")
    found = find_duplicates(collection, elsewhere, none)
    (group,) = found.groups
    assert found.unread == 96
    assert {collection.paths[row] for row in group.rows} == {point.payload.path, "rocks/twin.jpg"}
    assert (group.kind, group.classes) == ("identical", (point.payload.label,))
    pairs = Pairs(((point.payload.path, "rocks/twin.jpg"),))
    assert find_duplicates(collection, elsewhere, pairs.rows(collection.paths)).groups == ()
