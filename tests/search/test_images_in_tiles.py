"""`geosim duplicates` and `geosim outliers` on a collection of tiles: by image, on both engines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.ingest.schema import Payload
from geosim.ingest.store.base import VectorStore
from geosim.search.duplicates import find_duplicates
from geosim.search.fact_columns import read_facts
from geosim.search.graph.collection import read_filled
from geosim.search.outliers import UNLIKE_ALL, WRONG_LABEL, find_outliers
from geosim.trainer.sample.textures import draw
from geosim.trainer.working import Working

Run = Callable[..., Result]

TILES = 3


def fill(store: VectorStore, images: list[tuple[str, str, str, int]]) -> None:
    """Store images, each a path, a class, a hash and an axis, in tiles near the axis."""
    random = np.random.default_rng(4)
    payloads, rows = [], []
    for path, label, sha, axis in images:
        for tile in range(TILES):
            box = (8 * tile, 0, 8, 8)
            payloads.append(Payload(path, label, sha, 24, 8, "d", facts={"axis": axis}, box=box))
            rows.append(np.eye(32)[axis] + random.normal(scale=0.1, size=32))
        rows[-1] = np.eye(32)[7] + 0.1 * rows[-1]  # each image has a corner that all have
    store.upsert(payloads, np.array(rows, np.float32))


def test_outliers_are_images_by_the_mean_of_their_tiles(empty: VectorStore, tmp_path: Path) -> None:
    images = [(f"d/{c}/{n:02}.png", c, f"{c}{n}", "ab".index(c)) for c in "ab" for n in range(15)]
    fill(empty, [*images, ("d/b/wrong#xywh=1.png", "b", "wrong", 0), ("d/z.png", "", "z", 3)])
    report = find_outliers(empty, Working(tmp_path))
    assert (report.images, report.unlabelled, report.classes) == (32, 1, 2)
    wrong, foreign = report.found
    assert (wrong.kind, wrong.path, wrong.label, wrong.vote) == (
        *(WRONG_LABEL, "d/b/wrong#xywh=1.png", "b", "a"),
    )
    assert (wrong.certainty, len(wrong.nearest)) == (None, 10)
    assert len({hit.path for hit in wrong.nearest}) == 10
    assert (foreign.kind, foreign.path) == (UNLIKE_ALL, "d/z.png")
    paths = [wrong.path, foreign.path, "d/gone.png"]
    assert read_facts(empty, paths) == {paths[0]: {"axis": 0}, paths[1]: {"axis": 3}}


def test_duplicates_elsewhere_are_images_with_equal_bytes_or_tiles(
    empty: VectorStore, tmp_path: Path
) -> None:
    images = [(f"d/{n}.png", "ab"[n % 2], f"{n}", n) for n in range(6)]
    fill(empty, [*images, ("d/copy.png", "b", "2", 2)])
    tiles = [point for batch in empty.scan(vectors=True) for point in batch]
    for point in tiles:
        if point.payload.path == "d/3.png":
            fields = point.payload.to_dict() | {"path": "d/saved.png", "sha256": "saved"}
            assert point.vector is not None
            empty.upsert([Payload.from_dict(fields)], point.vector[None])
    collection = read_filled(empty, "compare")
    assert len(collection.paths) == 8
    assert np.linalg.norm(collection.vectors, axis=1) == pytest.approx(np.ones(8), abs=1e-6)
    none = np.empty((0, 2), dtype=np.int64)
    found = find_duplicates(collection, Working(tmp_path), none)
    assert [(one.kind, [collection.paths[row] for row in one.rows]) for one in found.groups] == [
        ("identical", ["d/2.png", "d/copy.png"]),
        ("near-identical", ["d/3.png", "d/saved.png"]),
    ]
    assert found.groups[0].classes == ("a", "b")
    assert found.unread == 7


def test_the_commands_list_images(geosim: Run, working: Working, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for number in range(4):
        path = scans / ("basalt" if number % 2 else "marble") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(path.parent.name, number, size=96)).save(path)
    (scans / "basalt" / "same.png").write_bytes((scans / "marble" / "0.png").read_bytes())
    with Image.open(scans / "marble" / "2.png") as image:
        image.save(scans / "marble" / "saved.jpg", quality=92)
    table, at = tmp_path / "facts.csv", ("--working", working.root)
    table.write_text("file,sample\n" + "".join(f"{n}.png,S{n}\n" for n in range(4)))
    done = geosim("ingest", scans, "--tiles", 40, "--table", table, *at)
    assert done.exit_code == 0, done.output
    sheet = tmp_path / "groups.png"
    done = geosim("duplicates", "--format", "json", "--sheet", sheet, *at)
    assert done.exit_code == 0, done.output
    groups = json.loads(done.stdout)
    assert [(one["kind"], [image["path"] for image in one["images"]]) for one in groups] == [
        ("identical", ["scans/basalt/same.png", "scans/marble/0.png"]),
        ("near-identical", ["scans/marble/2.png", "scans/marble/saved.jpg"]),
    ]
    assert groups[0]["images"][1]["facts"] == {"sample": "S0"}
    assert "2 groups in 6 images" in done.stderr
    assert sheet.is_file()
    known = tmp_path / "known.csv"
    assert geosim("duplicates", "--ignore", known, "--accept", *at).exit_code == 0
    assert "0 groups" in geosim("duplicates", "--ignore", known, *at).stderr
    done = geosim("outliers", "--format", "csv", "--where", "has(sample)", *at)
    assert (done.exit_code, "in 4 images" in done.stderr) == (0, True), done.output
    rows = csv.DictReader(io.StringIO(done.stdout_bytes.decode("utf-8-sig"), newline=""))
    assert {row["path"] for row in rows} <= {
        f"scans/{c}/{n}.png" for c in ("basalt", "marble") for n in range(4)
    }
