"""`geosim outliers`: wrong labels by the vote of the nearest, and images unlike all."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.ingest.schema import Payload
from geosim.ingest.store.base import VectorStore
from geosim.search.outliers import UNLIKE_ALL, WRONG_LABEL, find_outliers
from geosim.trainer.working import Working

Run = Callable[..., Result]

PER_CLASS = 30


def upsert(store: VectorStore, images: list[tuple[str, str, str]], axes: list[int]) -> None:
    """Store images, each a path, a class and a hash, near an axis each."""
    noise = np.random.default_rng(len(images)).normal(scale=0.05, size=(len(images), 32))
    vectors = (np.eye(32)[axes] + noise).astype(np.float32)
    payloads = [Payload(path, label, sha, 8, 8, "rocks") for path, label, sha in images]
    store.upsert(payloads, vectors)


def test_wrong_labels_come_first_and_those_unlike_all_last(
    empty: VectorStore, tmp_path: Path
) -> None:
    rows = [(f"rocks/{c}/{n:02}.jpg", c, f"{c}{n}") for c in "ab" for n in range(PER_CLASS)]
    axes = [0] * PER_CLASS + [1] * PER_CLASS
    rows += [("rocks/b/wrong.jpg", "b", "wrong"), ("rocks/z.jpg", "", "foreign")]
    upsert(empty, rows, [*axes, 0, 5])
    report = find_outliers(empty, Working(tmp_path))
    assert (report.images, report.unlabelled, report.classes) == (62, 1, 2)
    wrong, foreign = report.found
    assert (wrong.kind, wrong.path, wrong.label, wrong.vote) == (
        *(WRONG_LABEL, "rocks/b/wrong.jpg", "b", "a"),
    )
    assert wrong.certainty is not None
    assert 0.9 < wrong.certainty < 1
    assert len(wrong.nearest) == 10
    assert (foreign.kind, foreign.path, foreign.vote) == (UNLIKE_ALL, "rocks/z.jpg", "")
    assert foreign.certainty is None
    assert foreign.score < wrong.score


def test_copies_neither_vote_for_themselves_nor_together(
    empty: VectorStore, tmp_path: Path
) -> None:
    rows = [(f"rocks/{c}/{n:02}.jpg", c, f"{c}{n}") for c in "ab" for n in range(PER_CLASS)]
    upsert(empty, rows, [0] * PER_CLASS + [1] * PER_CLASS)
    (point,) = empty.fetch([Payload(*rows[0], 8, 8, "rocks").id])
    assert point.vector is not None
    for number in range(20):  # of an image of class a, all of them under b
        copy = Payload(f"rocks/b/copy-{number:02}.jpg", "b", rows[0][2], 8, 8, "rocks")
        empty.upsert([copy], point.vector[None])
    found = find_outliers(empty, Working(tmp_path)).found
    assert {one.path for one in found if one.kind == WRONG_LABEL} == {
        f"rocks/b/copy-{number:02}.jpg" for number in range(20)
    }
    assert all(not one.path.startswith("rocks/b/copy") for hit in found for one in hit.nearest)


@pytest.mark.parametrize("labels", [("", ""), ("a", "a"), ("a", "")])
def test_without_two_classes_no_label_is_wrong(
    empty: VectorStore, tmp_path: Path, labels: tuple[str, str]
) -> None:
    rows = [(f"rocks/{n:02}.jpg", labels[n % 2], str(n)) for n in range(8)]
    upsert(empty, rows, [n % 4 for n in range(8)])
    report = find_outliers(empty, Working(tmp_path))
    assert report.found == (), "eight are too few to tell what is unlike all"
    assert report.classes == len({*labels} - {""})


def test_a_class_of_a_few_images_has_no_wrong_labels(empty: VectorStore, tmp_path: Path) -> None:
    rows = [(f"rocks/a/{n:02}.jpg", "a", f"a{n}") for n in range(PER_CLASS)]
    rows += [(f"rocks/b/{n}.jpg", "b", f"b{n}") for n in range(5)]
    upsert(empty, rows, [0] * len(rows))
    report = find_outliers(empty, Working(tmp_path))
    assert [one for one in report.found if one.kind == WRONG_LABEL] == []
    assert report.unchecked == 5
    upsert(empty, [("rocks/b/5.jpg", "b", "b5")], [0])
    report = find_outliers(empty, Working(tmp_path))
    assert {one.label for one in report.found if one.kind == WRONG_LABEL} == {"b"}
    assert report.unchecked == 0


def test_one_image_is_no_outlier(empty: VectorStore, tmp_path: Path) -> None:
    upsert(empty, [("rocks/a/1.jpg", "a", "1")], [0])
    assert find_outliers(empty, Working(tmp_path)).found == ()


def test_the_command_prints_and_draws_them(geosim: Run, indexed: Working, tmp_path: Path) -> None:
    options, sheet = ("--working", indexed.root), tmp_path / "outliers.png"
    done = geosim("outliers", "--format", "json", "--sheet", sheet, *options)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found
    assert {one["kind"] for one in found} <= {WRONG_LABEL, UNLIKE_ALL}
    wrong = [one for one in found if one["kind"] == WRONG_LABEL]
    shares = [one["vote_share"] for one in wrong]
    assert shares == sorted(shares, reverse=True), "there is no certainty to go by"
    assert all(one["class"] != one["vote"] for one in wrong)
    with Image.open(sheet) as drawn:
        assert drawn.width > 1000
    told = done.stderr.splitlines()
    assert f"{len(found)} outliers in 96 images: {len(wrong)} wrong label" in told[-2]

    text = geosim("outliers", "--format", "csv", *options).stdout_bytes.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [row["path"] for row in rows] == [one["path"] for one in found]
    table = geosim("outliers", *options).stdout.splitlines()
    assert table[0].split() == ["rank", "kind", "class", "vote", "sure", "score", "path"]
    assert [line.split()[-1] for line in table[1:]] == [one["path"] for one in found]


def test_a_folder_without_classes_is_told(
    geosim: Run, sample: Path, working: Working, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for path in sorted(sample.rglob("*.jpg"))[::16]:
        shutil.copy(path, tmp_path / "photos")
    options = ("--working", working.root)
    assert geosim("ingest", tmp_path / "photos", *options).exit_code == 0
    done = geosim("outliers", *options)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "0 outliers in 6 images",
        "no label was checked: that needs images of two classes",
    ]
    done = geosim("outliers", "--collection", "none", *options)
    assert done.exit_code == 1
    assert done.stderr.count("Error: ") == 1
