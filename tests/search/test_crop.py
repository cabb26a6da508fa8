"""A search by a part of a picture: the part is embedded as a picture of its own."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from click.testing import Result as Run
from PIL import Image

from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search import open_index
from geosim.search.crop import CropBox, parse_crop
from geosim.search.given import cut_out
from geosim.search.searcher import Searcher
from geosim.search.types import Result
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.images import open_rgb
from geosim.trainer.errors import QueryError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.search.test_given import path, vector

__all__ = ["path"]

STORED = "rocks/marble/marble-0002.jpg"
PART = "8,16,40,32"
"""Of pictures of 64 x 64 pixels."""


def part(searcher: Searcher, query: Any, crop: str) -> Result:
    (result,) = searcher.search([query], crop=parse_crop(crop))
    return result


@pytest.fixture
def saved(sample: Path, tmp_path: Path) -> Path:
    """`PART` of `STORED`, as Pillow cuts and saves it."""
    with Image.open(sample / "marble" / "marble-0002.jpg") as image:
        image.crop((8, 16, 48, 48)).save(tmp_path / "part.png")
    return tmp_path / "part.png"


@pytest.mark.parametrize("crop", [PART, "12.5%,25%,62.5%,50%", " 8, 16, 40, 32 "])
def test_a_part_gives_the_vector_of_the_file_that_pillow_saves_of_it(
    searcher: Searcher, sample: Path, saved: Path, crop: str
) -> None:
    whole = sample / "marble" / "marble-0002.jpg"
    expected = vector(searcher, saved)
    for query in (whole, STORED, whole.read_bytes(), np.asarray(open_rgb(whole.read_bytes()))):
        found = searcher.resolve(query, parse_crop(crop))
        assert found.vector is not None
        np.testing.assert_array_equal(found.vector, expected)
        assert found.crop == CropBox(8, 16, 40, 32, 64, 64)
    (alone,) = searcher.search([saved])
    assert part(searcher, whole, crop).hits == alone.hits


def test_a_part_is_the_file_that_pillow_saves(sample: Path, saved: Path) -> None:
    """Byte for byte, since the random views of a picture depend on its bytes."""
    cut = cut_out((sample / "marble" / "marble-0002.jpg").read_bytes(), parse_crop(PART))
    assert cut is not None
    assert cut[0] == saved.read_bytes()


def test_the_orientation_is_applied_first_and_the_part_has_its_native_pixels(
    searcher: Searcher, path: Path, tmp_path: Path
) -> None:
    """The picture is of 1600 x 1200 pixels as it is stored, and a small part is decoded in full."""
    upright = open_rgb(path.read_bytes())
    assert upright.size == (1200, 1600)
    upright.crop((1100, 1500, 1200, 1600)).save(tmp_path / "corner.png")
    found = searcher.resolve(path, parse_crop("1100,1500,100,100"))
    assert found.vector is not None
    np.testing.assert_array_equal(found.vector, vector(searcher, tmp_path / "corner.png"))
    with pytest.raises(QueryError, match="1200 x 1600 pixels"):
        searcher.resolve(path, parse_crop("1500,1100,100,100"))


@pytest.mark.parametrize("crop", ["0,0,64,64", "0%,0%,100%,100%"])
def test_the_whole_as_a_part_is_no_part(searcher: Searcher, sample: Path, crop: str) -> None:
    other = sample / "schist" / "schist-0001.jpg"
    for query in (STORED, other, other.read_bytes()):
        (expected,) = searcher.search([query])
        assert part(searcher, query, crop) == expected
        whole = searcher.resolve(query, parse_crop(crop))
        np.testing.assert_array_equal(vector(searcher, query), whole.vector)


def test_an_indexed_picture_is_among_the_hits_of_its_part(
    searcher: Searcher, sample: Path, indexed: Working
) -> None:
    shutil.copy(sample / "marble" / "marble-0002.jpg", indexed.root / "copy.jpg")
    found = [
        part(searcher, query, "2%,2%,94%,94%")
        for query in (STORED, sample / "marble" / "marble-0002.jpg", indexed.root / "copy.jpg")
    ]
    assert STORED in [hit.path for hit in found[0].hits]
    assert not any(hit.identical for hit in found[0].hits)
    assert found[0].hits == found[1].hits == found[2].hits
    assert [one.indexed and one.indexed.path for one in found] == [STORED, STORED, None]
    together = searcher.recommend([STORED], crop=parse_crop("2%,2%,94%,94%"))
    assert [hit.path for hit in together.hits] == [hit.path for hit in found[0].hits]


def test_examples_are_cut_and_what_they_are_to_be_unlike_is_not(
    searcher: Searcher, saved: Path, sample: Path
) -> None:
    other = "rocks/schist/schist-0001.jpg"
    found = searcher.recommend([STORED], [other], crop=parse_crop(PART))
    assert found.hits == searcher.recommend([saved], [other]).hits
    assert other not in [hit.path for hit in found.hits]


def test_an_indexed_picture_in_an_archive_is_cut_too(
    trained: Working, sample: Path, saved: Path, tmp_path: Path
) -> None:
    archive, working = tmp_path / "rocks.zip", Working(tmp_path / "working")
    shutil.copytree(trained.root, working.root)
    with zipfile.ZipFile(archive, "w") as file:
        for image in (sample / "marble").glob("*.jpg"):
            file.write(image, f"rocks/marble/{image.name}")
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(archive), load_model(working.model), store, working)
        searcher = Searcher(store, working)
        found = searcher.resolve(STORED, parse_crop(PART))
        assert found.vector is not None
        np.testing.assert_array_equal(found.vector, vector(searcher, saved))
        archive.unlink()
        assert "not on this machine" in str(part(searcher, STORED, PART).error)


def test_a_picture_that_is_gone_or_was_changed_is_not_cut(
    indexed: Working, rocks: Path, tmp_path: Path
) -> None:
    with EdgeStore(indexed.qdrant, "geosim") as store:
        sync(open_dataset(rocks), load_model(indexed.model), store, indexed)
        searcher = Searcher(store, indexed)
        image = rocks / "marble" / "marble-0002.jpg"
        Image.new("RGB", (64, 64), "red").save(image)
        assert "was changed since it was indexed" in str(part(searcher, STORED, PART).error)
        image.unlink()
        assert "not on this machine" in str(part(searcher, STORED, PART).error)
        assert part(searcher, STORED, PART).hits == ()


BAD = {
    "not four numbers": ("1,2,3", "X,Y,W,H in pixels or per cent"),
    "five": ("1,2,3,4,5", "X,Y,W,H in pixels or per cent"),
    "nothing": ("", "X,Y,W,H in pixels or per cent"),
    "no number": ("nan,2,30,40", "received 'nan,2,30,40'"),
    "endless": ("0,0,inf,40", "X,Y,W,H in pixels or per cent"),
    "powers": ("0,0,1e999999999,40", "X,Y,W,H in pixels or per cent"),
    "long": ("9" * 5000 + ",0,10,10", "X,Y,W,H in pixels or per cent"),
    "other digits": ("٠,٠,٣٢,٣٢", "X,Y,W,H in pixels or per cent"),
    "mixed": ("10%,20,50%,50%", "not in both"),
    "half pixels": ("0.5,0,32,32", "whole numbers"),
    "before": ("-1,0,32,32", "outside"),
    "negative": ("0,0,-32,32", "outside"),
    "empty": ("0,0,0,32", "is empty"),
    "no per cent": ("0%,0%,0%,50%", "is empty"),
    "over": ("60%,0%,40.5%,50%", "at most 100%"),
    "beside": ("33,0,32,32", "64 x 64 pixels; X + W is at most 64"),
    "beyond": ("999999999,999999999,8,8", "does not lie inside"),
    "small": ("0,0,7,32", "has 7 x 32 pixels of the picture's 64 x 64; a part has at least 8 x 8"),
    "tiny": ("0%,0%,0.000001%,50%", "at least 8 x 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_part_of_a_picture_is_refused(searcher: Searcher, name: str) -> None:
    crop, reason = BAD[name]
    try:
        error = part(searcher, STORED, crop).error
    except QueryError as raised:  # whatever the picture
        error = str(raised)
    assert reason in str(error)
    assert len(str(error).splitlines()) == 1


def test_an_embedding_has_no_parts(searcher: Searcher) -> None:
    result = part(searcher, np.ones(32, np.float32), PART)
    assert "an embedding has no picture" in str(result.error)


def test_per_cents_that_share_an_edge_share_its_pixels() -> None:
    random = Random(16)
    for _ in range(500):
        width, edge = random.randint(100, 9000), random.randint(1000, 9000) / 100
        left = parse_crop(f"0%,0%,{edge:.2f}%,100%").box(width, 100)
        right = parse_crop(f"{edge:.2f}%,0%,{100 - edge:.2f}%,100%").box(width, 100)
        assert left.x == 0
        assert left.width == right.x
        assert right.x + right.width == width


def test_a_part_lies_inside_of_the_picture() -> None:
    random, boxes = Random(16), 0
    for _ in range(3000):
        width, height = random.randint(1, 100), random.randint(1, 100)
        text = ",".join(f"{random.randint(0, 100_000) / 1000}%" for _ in range(4))
        try:
            box = parse_crop(text).box(width, height)
        except QueryError:
            continue
        boxes += 1
        assert 0 <= box.x < box.x + box.width <= width
        assert 0 <= box.y < box.y + box.height <= height
        assert parse_crop(str(box)).box(width, height) == box
    assert boxes > 200


def test_parts_in_the_python_api(indexed: Working, sample: Path, saved: Path) -> None:
    with open_index(indexed.root) as index:
        expected = index.search(saved)
        for crop in (PART, (8, 16, 40, 32), np.array([8, 16, 40, 32])):
            assert index.search(STORED, crop=crop) == expected
        found = list(index.search_many([STORED, sample / "gabbro" / "none.jpg"], crop=PART))
        assert found[0].hits == expected
        assert found[0].crop == CropBox(8, 16, 40, 32, 64, 64)
        assert found[1].error is not None
        assert index.recommend([STORED], crop=PART) == index.recommend([saved])
        with pytest.raises(QueryError, match="outside"):
            index.search_many([], crop=(0, 0, -1, 10))


def test_parts_in_the_command_line(
    geosim: Callable[..., Run], indexed: Working, sample: Path, saved: Path, tmp_path: Path
) -> None:
    other = sample / "schist" / "schist-0001.jpg"
    small = tmp_path / "small.png"
    Image.new("RGB", (30, 90), "#806040").save(small)
    options = ("--crop", PART, "--format", "json", "--working", indexed.root)
    done = geosim("search", STORED, other, small, *options)
    assert done.exit_code == 1
    assert "small.png: the part 8,16,40,32 does not lie inside" in done.stderr
    first, second, third = json.loads(done.stdout)
    crop = {"x": 8, "y": 16, "width": 40, "height": 32, "picture_width": 64, "picture_height": 64}
    assert first["crop"] == second["crop"] == crop
    assert "crop" not in third
    alone = geosim("search", saved, "--format", "json", "--working", indexed.root)
    assert first["hits"] == json.loads(alone.stdout)[0]["hits"]
    table = geosim("search", STORED, "--crop", PART, "--working", indexed.root)
    assert f"{STORED}  (part 8,16,40,32 of 64 x 64 pixels)  (indexed, marble)" in table.stdout
    refused = geosim("search", STORED, "--crop", "1,2", "--working", indexed.root)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: a part of a picture is X,Y,W,H")


def test_the_sheet_shows_the_part(
    geosim: Callable[..., Run], indexed: Working, tmp_path: Path
) -> None:
    grey, sheet = tmp_path / "grey.png", tmp_path / "sheet.png"
    Image.new("RGB", (400, 200), (120, 60, 60)).save(grey)
    drawn = []
    for crop in ((), ("--crop", "50%,50%,50%,50%")):
        done = geosim("search", grey, "--sheet", sheet, "--working", indexed.root, *crop)
        assert done.exit_code == 0, done.output
        drawn.append(np.asarray(Image.open(sheet).convert("RGB")).astype(int))
    down, right = np.nonzero(np.abs(drawn[0] - drawn[1]).sum(axis=2)[:300, :260])
    shown = np.argwhere((drawn[0][:300, :260] == (120, 60, 60)).all(axis=2))
    (top, left), (bottom, end) = shown.min(axis=0), shown.max(axis=0)
    assert (right.max(), down.max()) == (end, bottom)
    assert abs(int(right.min()) - (left + end + 1) // 2) <= 1
    assert abs(int(down.min()) - (top + bottom + 1) // 2) <= 1
    inside = drawn[1][down.min() + 6 : bottom - 5, right.min() + 6 : end - 5]
    assert (inside == (120, 60, 60)).all(), "only the outline is drawn"
