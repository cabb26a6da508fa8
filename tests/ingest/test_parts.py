"""An ingest in parts, and the run that finishes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from qdrant_client import QdrantClient

from geosim.ingest.store.base import VectorStore
from geosim.ingest.sync import SyncReport, sync
from geosim.ingest.work import Part, Work
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.tiles import parse_tile_size
from geosim.trainer.errors import StoreBusyError, StoreError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.ingest.test_at_once import server
from tests.memory import memory_store
from tests.processes import COMMAND

__all__ = ["server"]

Run = Callable[..., Result]

IMAGES = 96


def ingest(data: Path, working: Working, store: VectorStore, **options: Any) -> SyncReport:
    return sync(open_dataset(data), load_model(working.model), store, working, **options)


def in_parts(data: Path, working: Working, store: VectorStore, n: int, **options: Any) -> list[int]:
    """Ingest all parts; return the number of images that each added."""
    parts = [Part(number, n) for number in range(1, n + 1)]
    return [ingest(data, working, store, part=part, **options).added for part in parts]


def points(store: VectorStore) -> dict[str, Any]:
    return {one.payload.name: one.payload for batch in store.scan(vectors=False) for one in batch}


@pytest.mark.parametrize("tiles", [None, "32"])
def test_the_parts_and_their_finish_make_what_one_ingest_makes(
    rocks: Path, working: Working, store: VectorStore, tiles: str | None
) -> None:
    size = None if tiles is None else parse_tile_size(tiles)
    added = in_parts(rocks, working, store, 4, tiles=size)
    assert sum(added) == IMAGES
    assert min(added) > 10, "the parts are of about the same size"
    report = ingest(rocks, working, store, finish=True, tiles=size)
    assert (report.added, report.changed, report.unchanged, report.rejected) == (0, 0, IMAGES, ())
    whole = memory_store("whole")
    ingest(rocks, working, whole, tiles=size)
    assert points(store) == points(whole)
    again = ingest(rocks, working, store, tiles=size)
    assert (again.added, again.unchanged) == (0, IMAGES)


@pytest.mark.parametrize("tiles", [None, "32"])
def test_parts_add_and_change_and_only_the_finish_deletes(
    rocks: Path, working: Working, store: VectorStore, tiles: str | None
) -> None:
    size = None if tiles is None else parse_tile_size(tiles)
    ingest(rocks, working, store, tiles=size)
    (rocks / "marble" / "marble-0000.jpg").unlink()
    (rocks / "marble" / "marble-0001.jpg").rename(rocks / "marble" / "renamed.jpg")
    Image.new("RGB", (64, 64), (9, 99, 200)).save(rocks / "schist" / "schist-0000.jpg")
    shutil.copytree(rocks / "gneiss", rocks / "another")
    parts = [
        ingest(rocks, working, store, part=Part(number, 3), tiles=size) for number in (1, 2, 3)
    ]
    assert [sum(one.added for one in parts), sum(one.changed for one in parts)] == [13, 1]
    assert [one.deleted for one in parts] == [0, 0, 0]
    assert len({one.path for one in points(store).values()}) == IMAGES + 13
    report = ingest(rocks, working, store, finish=True, tiles=size)
    assert (report.added, report.changed, report.deleted) == (0, 0, 2)
    assert len({one.path for one in points(store).values()}) == IMAGES + 11


def test_a_finish_tells_the_parts_that_are_missing(
    rocks: Path, working: Working, store: VectorStore
) -> None:
    (rocks / "marble" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    first, third = (ingest(rocks, working, store, part=Part(n, 3)) for n in (1, 3))
    with pytest.raises(StoreError) as raised:
        ingest(rocks, working, store, finish=True)
    missing = IMAGES - first.added - third.added
    told = re.search(r"such as rocks/\S+; run these parts.*: .*2/3 \((\d+)\)", str(raised.value))
    assert told is not None, str(raised.value)
    assert int(told[1]) in (missing, missing + 1)
    assert store.count() == IMAGES - missing, "nothing was changed"
    second = ingest(rocks, working, store, part=Part(2, 3))
    assert sum(len(one.rejected) for one in (first, second, third)) == 1
    report = ingest(rocks, working, store, finish=True)
    assert [one.path for one in report.rejected] == ["rocks/marble/broken.jpg"]
    assert store.count() == IMAGES
    assert ingest(rocks, working, store, finish=True).unchanged == IMAGES


def test_a_finish_without_parts_or_a_collection_tells_what_to_do(
    rocks: Path, working: Working, store: VectorStore
) -> None:
    with pytest.raises(StoreError, match=r"no collection .* ingest the parts first"):
        ingest(rocks, working, store, finish=True)
    assert store.info() is None
    ingest(rocks, working, store)
    shutil.copy(rocks / "marble" / "marble-0000.jpg", rocks / "marble" / "new.jpg")
    with pytest.raises(StoreError, match=r"1 of 97 images of rocks .*new\.jpg; ingest them with"):
        ingest(rocks, working, store, finish=True)


def test_more_parts_than_pictures(tmp_path: Path, working: Working, store: VectorStore) -> None:
    for number in range(3):
        (tmp_path / "few" / "marble").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (80 * number, 9, 9)).save(
            tmp_path / "few" / "marble" / f"{number}.png"
        )
    assert sorted(in_parts(tmp_path / "few", working, store, 8)) in (
        [0] * 5 + [1] * 3,
        [0] * 6 + [1, 2],
        [0] * 7 + [3],
    )
    assert ingest(tmp_path / "few", working, store, finish=True).points == 3


def test_a_renamed_data_set_moves_with_the_finish(
    rocks: Path, working: Working, store: VectorStore
) -> None:
    ingest(rocks, working, store)
    renamed = rocks.rename(rocks.with_name("stones"))
    shutil.rmtree(working.features)
    assert sum(in_parts(renamed, working, store, 2)) == IMAGES
    assert store.count() == 2 * IMAGES
    report = ingest(renamed, working, store, finish=True)
    assert report.moved == {"rocks": IMAGES}
    assert store.values("dataset") == {"stones": IMAGES}
    assert {*store.origins()} == {"stones"}


def test_the_hashes_of_all_parts_are_kept(
    rocks: Path, working: Working, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(working.hashes, ignore_errors=True)
    for path in rocks.rglob("*.jpg"):
        os.utime(path, (1e9, 1e9))
    monkeypatch.setattr("geosim.trainer.data.hashes.SETTLED_NS", -1)
    in_parts(rocks, working, store, 3)
    read: list[object] = []
    monkeypatch.setattr("geosim.trainer.data.dataset.sha256_of", read.append)
    ingest(rocks, working, store, part=Part(2, 3))
    assert ingest(rocks, working, store, finish=True).unchanged == IMAGES
    assert read == []


@pytest.mark.parametrize(
    ("held", "options"),
    [
        (Work("rocks", Part(1, 2)), {"finish": True}),
        (Work("rocks", Part(1, 2)), {}),
        (Work("rocks", Part(1, 2)), {"part": Part(1, 2)}),
        (Work("rocks", Part(1, 2)), {"part": Part(1, 3)}),
        (Work("rocks"), {"part": Part(1, 2)}),
    ],
)
def test_parts_and_what_is_not_to_run_beside_them(
    sample: Path, working: Working, held: Work, options: dict[str, Any]
) -> None:
    client = QdrantClient(":memory:")
    store = memory_store("geosim", client, wait=0)
    in_parts(sample, working, store, 2)
    with (
        memory_store("geosim", client).lease(held),
        pytest.raises(StoreBusyError, match=f"works on {held}"),
    ):
        ingest(sample, working, store, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--part", "9/8"), "'9/8' is no part; expected NUMBER/COUNT, as 2/8"),
        (("--part", "1/2", "--finish"), "of different runs"),
        (("--part", "1/2", "--recreate"), "of different runs"),
        (("--finish", "--recreate"), "of different runs"),
    ],
)
def test_options_that_exclude_each_other(
    geosim: Run, sample: Path, working: Working, options: tuple[str, ...], words: str
) -> None:
    done = geosim("ingest", sample, *options, "--working", working.root)
    assert done.exit_code in (1, 2)
    assert words in " ".join(done.stderr.split())
    assert not working.qdrant.exists()


def test_parts_at_the_same_time_on_a_server(
    geosim: Run, server: tuple[object, ...], sample: Path
) -> None:
    command = [sys.executable, "-c", COMMAND, "ingest", str(sample), *map(str, server)]
    parts = [
        subprocess.Popen(
            [*command, "--part", f"{number}/3"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for number in (1, 2, 3)
    ]
    told = []
    threads = [
        threading.Thread(target=lambda one=one: told.append(one.communicate(timeout=200)))
        for one in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert [one.returncode for one in parts] == [0, 0, 0], told
    done = geosim("ingest", sample, *server, "--finish")
    assert done.exit_code == 0, done.output
    assert f": {IMAGES} points" in done.stdout
    assert f"unchanged {IMAGES}" in done.stdout
