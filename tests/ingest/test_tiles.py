"""Pictures in tiles, on both engines: found by their best part, and mirrored as whole ones are."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from geosim.ingest.schema import Filter, Payload, VectorQuery, point_id
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import SyncReport, sync
from geosim.search.searcher import Searcher
from geosim.search.types import SearchOptions
from geosim.trainer.data import regions, sources
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.layout import decide_anew
from geosim.trainer.data.tiles import parse_tile_size, tile_boxes
from geosim.trainer.errors import DatasetError, ImageError, StoreError
from geosim.trainer.facts.collect import FactOptions, open_described
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

SIZE = 64


pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")


def pixels(seed: int, height: int = 200, width: int = 300) -> NDArray[np.uint8]:
    """Blobs of random colours; no two tiles look alike."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 20 + 1, width // 20 + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((20, 20, 1), np.uint8))[:height, :width]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three scans of two classes: 20 tiles each of 64 pixels."""
    root = tmp_path / "scans"
    for seed, name in enumerate(("basalt/a.png", "basalt/b.png", "granite/c.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(seed)).save(root / name)
    return root


def ingest(
    scans: Path,
    working: Working,
    store: VectorStore,
    size: str | None = str(SIZE),
    **options: object,
) -> SyncReport:
    tiles = None if size is None else parse_tile_size(size)
    table = options.pop("table", None)
    dataset = (
        open_dataset(scans)
        if table is None
        else open_described(scans, (), decide_anew, FactOptions(table=Path(str(table))))
    )
    return sync(dataset, load_model(working.model), store, working, tiles=tiles, **options)  # type: ignore[arg-type]


def stored(store: VectorStore) -> dict[str, set[tuple[int, ...]]]:
    """The tiles of each picture."""
    found: dict[str, set[tuple[int, ...]]] = {}
    for batch in store.scan(vectors=False):
        for point in batch:
            assert point.payload.box is not None
            found.setdefault(point.payload.path, set()).add(point.payload.box)
    return found


def expected(width: int, height: int, side: int) -> set[tuple[int, ...]]:
    return {(x, y, r - x, b - y) for x, y, r, b in tile_boxes(width, height, side)}


@pytest.mark.parametrize(
    ("size", "side", "boxes"),
    [
        ((10, 9), 16, [(0, 0, 10, 9)]),
        ((32, 16), 16, [(0, 0, 16, 16), (16, 0, 32, 16)]),
        ((40, 16), 16, [(0, 0, 16, 16), (16, 0, 32, 16), (24, 0, 40, 16)]),
        ((10, 25), 16, [(0, 0, 10, 10), (0, 10, 10, 20), (0, 15, 10, 25)]),
    ],
)
def test_tiles_cover_a_picture(
    size: tuple[int, int], side: int, boxes: list[tuple[int, ...]]
) -> None:
    assert tile_boxes(*size, side) == boxes


@pytest.mark.parametrize("text", ["", "0", "15", "-4", "5cm", "20.5", "1e3", "mm", "12,5"])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(DatasetError, match=f"such as 5mm; received '{text}'"):
        parse_tile_size(text)


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(ImageError, match="at most 100,000 are stored"):
        tile_boxes(100_000, 100_000, 16)


def test_a_picture_is_found_by_its_best_tile(
    scans: Path, working: Working, store: VectorStore
) -> None:
    report = ingest(scans, working, store)
    assert (report.added, report.points, report.rejected) == (3, 60, ())
    assert stored(store) == dict.fromkeys(
        (f"scans/{one}.png" for one in ("basalt/a", "basalt/b", "granite/c")),
        expected(300, 200, SIZE),
    )
    searcher = Searcher(store, working)
    for seed, path in enumerate(("basalt/a.png", "basalt/b.png", "granite/c.png")):
        part = pixels(seed)[128:192, 64:128]
        (result,) = searcher.search([part])
        assert [hit.rank for hit in result.hits] == [1, 2, 3]
        assert len({hit.path for hit in result.hits}) == 3
        best = result.hits[0]
        assert (best.path, best.score) == (f"scans/{path}", pytest.approx(1, abs=1e-5))
        assert best.box is not None
        assert (best.box.x, best.box.y, best.box.width, best.box.height) == (64, 128, 64, 64)
        assert (best.box.picture_width, best.box.picture_height) == (300, 200)
        assert best.id == point_id(f"scans/{path}#xywh=64,128,64,64")


def test_an_indexed_picture_is_searched_as_a_whole_and_not_its_own_hit(
    scans: Path, working: Working, store: VectorStore
) -> None:
    shutil.copy(scans / "basalt/a.png", scans / "granite/copy.png")
    ingest(scans, working, store)
    searcher = Searcher(store, working)
    for query in (str(scans / "basalt/a.png"), "scans/basalt/a.png"):
        (result,) = searcher.search([query])
        assert result.error is None
        assert result.indexed is not None
        assert result.indexed.path == "scans/basalt/a.png"
        paths = [hit.path for hit in result.hits]
        assert paths[0] == "scans/granite/copy.png"
        assert sorted(paths[1:]) == ["scans/basalt/b.png", "scans/granite/c.png"]
        assert [hit.identical for hit in result.hits] == [True, False, False]
    (one,) = searcher.search(["scans/basalt/a.png"], SearchOptions(one_per="class", k=1))
    assert len(one.hits) == 1


def test_the_nearest_pictures_are_exact_where_one_has_most_of_the_nearest_tiles(
    working: Working, store: VectorStore
) -> None:
    from geosim.ingest.schema import ModelRef

    random = np.random.default_rng(3)
    vectors = random.normal(size=(900, 32)).astype(np.float32)
    query = random.normal(size=32).astype(np.float32)
    vectors[:400] = query + random.normal(size=(400, 32)).astype(np.float32) / 50
    owners = ["a"] * 200 + ["b"] * 200 + [f"c{row % 40:02}" for row in range(500)]
    payloads = [
        Payload(f"d/{owner}.png", "", owner * 8, 9000, 10, "d", box=(10 * row, 0, 10, 10))
        for row, owner in enumerate(owners)
    ]
    store.create(ModelRef("f", "colour-grid"))
    store.upsert(payloads, vectors)
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    best: dict[str, tuple[float, int]] = {}
    for row in np.argsort(-cosines):
        best.setdefault(payloads[row].path, (float(cosines[row]), int(row)))
    for k in (1, 2, 3, 10, 42, 50):
        (found,) = store.query([VectorQuery(query)], k)
        assert [(p.payload.path, p.payload.box) for p in found] == [
            (path, payloads[row].box) for path, (_, row) in [*best.items()][:k]
        ]
    others = Filter(exclude_paths=frozenset({"d/a.png"}))
    (found,) = store.query([VectorQuery(query, others)], 2)
    assert [p.payload.path for p in found] == [path for path in best if path != "d/a.png"][:2]


def test_tiles_mirror_the_folder(scans: Path, working: Working, store: VectorStore) -> None:
    ingest(scans, working, store)
    again = ingest(scans, working, store)
    assert (again.unchanged, again.added, again.changed, again.computed) == (3, 0, 0, 0)

    Image.fromarray(pixels(9, 100, 130)).save(scans / "basalt/a.png")
    (scans / "granite/c.png").unlink()
    Image.fromarray(pixels(8, 30, 200)).save(scans / "granite/core.png")
    report = ingest(scans, working, store)
    assert (report.added, report.changed, report.deleted, report.unchanged) == (1, 1, 1, 1)
    assert stored(store) == {
        "scans/basalt/a.png": expected(130, 100, SIZE),
        "scans/basalt/b.png": expected(300, 200, SIZE),
        "scans/granite/core.png": {(x, 0, 30, 30) for x in (0, 30, 60, 90, 120, 150, 170)},
    }

    report = ingest(scans, working, store, "100px")
    assert (report.added, report.changed, report.unchanged) == (0, 2, 1)  # the core stays
    assert stored(store)["scans/basalt/b.png"] == expected(300, 200, 100)
    back = ingest(scans, working, store)
    assert (back.changed, back.computed) == (2, 0)  # from the cache


def test_what_a_killed_ingest_left_is_completed(
    scans: Path, working: Working, store: VectorStore
) -> None:
    ingest(scans, working, store)
    points = [point for batch in store.scan(vectors=True) for point in batch]
    old = [one.payload for one in points if one.payload.path.endswith("a.png")]
    store.delete([one.id for one in old[:5]])  # new tiles that were not stored yet
    mixed = next(one for one in points if one.payload.path.endswith("b.png"))
    former = {**mixed.payload.to_dict(), "sha256": "0" * 64}  # a tile of the former content
    assert mixed.vector is not None
    store.upsert([Payload.from_dict(former)], mixed.vector[None])
    report = ingest(scans, working, store)
    assert (report.changed, report.unchanged, report.computed) == (2, 1, 0)
    assert all(len(boxes) == 20 for boxes in stored(store).values())
    assert "0" * 64 not in store.values("sha256")


def test_whole_pictures_and_tiles_do_not_mix(
    scans: Path, working: Working, store: VectorStore
) -> None:
    ingest(scans, working, store)
    with pytest.raises(StoreError, match=r"holds tiles, .* --tiles 512, .* --recreate"):
        ingest(scans, working, store, None)
    assert ingest(scans, working, store, None, recreate=True).points == 3
    with pytest.raises(StoreError, match=f"holds whole pictures, .* tiles of {SIZE} pixels; leave"):
        ingest(scans, working, store)
    assert store.count() == 3


def test_classes_and_facts_change_without_embedding(
    scans: Path, working: Working, store: VectorStore, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,depth\na.png,10\nb.png,20\nc.png,30\n")
    ingest(scans, working, store, table=table)
    table.write_text("file,depth\na.png,10\nb.png,25\nc.png,\n")
    report = ingest(scans, working, store, table=table)
    assert (report.updated, report.changed, report.unchanged, report.computed) == (2, 0, 1, 0)
    found = {
        (p.payload.path[-5:], p.payload.facts.get("depth"))
        for b in store.scan(vectors=False)
        for p in b
    }
    assert found == {("a.png", 10), ("b.png", 25), ("c.png", None)}


def test_tiles_in_millimetres(
    scans: Path, working: Working, store: VectorStore, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,mm_per_pixel\na.png,0.1\nb.png,0.05\nc.png,\n")
    report = ingest(scans, working, store, "5mm", table=table)
    (rejected,) = report.rejected
    assert rejected.path == "scans/granite/c.png"
    assert rejected.reason.startswith("no mm_per_pixel, which tiles of 5 mm need; give it")
    assert stored(store) == {
        "scans/basalt/a.png": expected(300, 200, 50),
        "scans/basalt/b.png": expected(300, 200, 100),
    }
    assert ingest(scans, working, store, "5mm").unchanged == 2  # by the stored facts
    table.write_text("file,mm_per_pixel\na.png,0.1\nb.png,0.1\nc.png,1\n")
    report = ingest(scans, working, store, "5mm", table=table)
    assert (report.changed, report.unchanged) == (1, 1)
    assert "5 mm are 5 pixels at 1" in report.rejected[0].reason
    assert stored(store)["scans/basalt/b.png"] == expected(300, 200, 50)


def test_a_renamed_folder_takes_its_tiles_along(
    scans: Path, working: Working, store: VectorStore
) -> None:
    ingest(scans, working, store)
    report = ingest(scans.rename(scans.with_name("moved")), working, store)
    assert (report.moved, report.left, report.computed) == ({"scans": 3}, {}, 0)
    assert all(path.startswith("moved/") for path in stored(store))
    assert report.points == 60


def test_a_damaged_picture_keeps_no_half_of_its_tiles(
    scans: Path, working: Working, store: VectorStore
) -> None:
    data = (scans / "basalt/a.png").read_bytes()
    (scans / "basalt/a.png").write_bytes(data[: len(data) // 2])
    report = ingest(scans, working, store)
    assert [one.path for one in report.rejected] == ["scans/basalt/a.png"]
    assert len(stored(store)) == 2


@pytest.mark.parametrize("layout", ["held", "by parts"])
def test_the_commands_know_tiles(
    layout: str,
    scans: Path,
    working: Working,
    tmp_path: Path,
    geosim: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if layout == "by parts":  # as large pictures are read
        monkeypatch.setattr(sources, "HELD_BYTES", 10)
        monkeypatch.setattr(regions, "MAX_PIXELS", 10)
    at = ("--working", working.root)
    facts = tmp_path / "samples.csv"
    facts.write_text("file,sample\na.png,A\nb.png,A\nc.png,B\n")
    done = geosim("ingest", scans, "--tiles", SIZE, "--table", facts, *at)
    assert (done.exit_code, "60 points" in done.output) == (0, True), done.output
    part, sheet = tmp_path / "part.png", tmp_path / "sheet.png"
    Image.fromarray(pixels(2)[64:128, 236:300]).save(part)
    done = geosim("search", part, "-k", 2, "--format", "json", "--sheet", sheet, *at)
    hit = json.loads(done.stdout)[0]["hits"][0]
    assert hit["path"] == "scans/granite/c.png"
    assert hit["box"] == {
        "x": 236,
        "y": 64,
        "width": 64,
        "height": 64,
        "picture_width": 300,
        "picture_height": 200,
    }
    assert sheet.is_file()
    assert "scans/granite/c.png  (tile 236,64,64,64)" in geosim("search", part, *at).stdout
    line = geosim("search", part, "--format", "csv", *at).stdout.splitlines()[1]
    assert '"236,64,64,64"' in line
    done = geosim("search", part, "--where", 'sample = "A"', "--one-per", "class", *at)
    assert "scans/basalt/" in done.stdout.splitlines()[2]
    done = geosim("search", "scans/basalt/a.png", "--together-by", "sample", *at)
    assert "searched by sample: 40 tiles of 2 images of A" in done.stderr
    assert "scans/granite/c.png  (tile " in done.stdout
    assert "scans/basalt" not in done.stdout.partition("\n")[2], "A is not its own hit"
    done = geosim("search", scans / "basalt/a.png", "--crop", "64,64,64,64", *at)
    assert "scans/basalt/a.png  (tile 64,64,64,64)" in done.stdout.splitlines()[2]
    assert "60 of 3 images" in geosim("status", *at).stdout
    assert geosim("export", "-k", 3, *at).exit_code == 0
    graph = json.loads(working.index.read_text())
    assert len(graph) == 60
    assert "scans/granite/c.png#xywh=236,64,64,64" in graph
    table = tmp_path / "table.csv"
    assert geosim("export", "--format", "csv", "--output", table, *at).exit_code == 0
    header, *rows = csv.reader(table.read_text("utf-8-sig").splitlines())
    assert len(rows) == 60
    assert {row[header.index("sample")] for row in rows} == {"A", "B"}
    done = geosim("duplicates", *at)
    assert (done.exit_code, "0 groups in 3 images" in done.stderr) == (0, True), done.output
    assert "outliers in 3 images" in geosim("outliers", *at).stderr
    done = geosim("remove", "scans", "--yes", *at)
    assert "removed 3 images of scans" in done.output
    with EdgeStore(working.qdrant, "geosim") as store:
        assert store.count() == 0
