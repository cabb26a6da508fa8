"""Overlaps: every pair that shares pixels is found, on any grid, and no pair that does not."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from geosim.trainer.data.dataset import hash_records, open_dataset
from geosim.trainer.data.split import overlap_free_split
from geosim.trainer.evaluation.overlap import (
    TILE_SIDE,
    Overlaps,
    find_overlaps,
    read_pictures,
    reduce_picture,
)
from geosim.trainer.evaluation.shifts import agree, find_shifts, pairs_at, strip_windows
from geosim.trainer.sample.textures import SAMPLE_CLASSES, draw

ROUGH = ("granite", "basalt", "conglomerate", "oolite")


def overlaps_of(images: Sequence[Image.Image], labels: Sequence[str] | None = None) -> Overlaps:
    """The overlaps of images that are all different files."""
    pictures = [reduce_picture(image) for image in images]
    return find_overlaps(pictures, labels or ["rock"] * len(images), range(len(images)))


def pairs_of(overlaps: Overlaps) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in overlaps.pairs}


def cut(
    picture: NDArray[np.uint8], side: int, step: int
) -> tuple[list[Image.Image], list[tuple[int, int]]]:
    """All tiles of a picture on a grid, and where they were cut."""
    last = len(picture) - side
    places = [(y, x) for y in range(0, last + 1, step) for x in range(0, last + 1, step)]
    return [Image.fromarray(picture[y : y + side, x : x + side]) for y, x in places], places


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize("step", [5, 8])
def test_tiles_of_any_grid_are_found_and_unrelated_ones_are_not(step: int) -> None:
    side = 28
    images: list[Image.Image] = []
    labels: list[str] = []
    places: list[tuple[int, int, int]] = []  # picture, row, column
    for number, label in enumerate(ROUGH * 2):
        tiles, where = cut(draw(label, number, size=side + 4 * step), side, step)
        images += tiles
        labels += [label] * len(tiles)
        places += [(number, *place) for place in where]
    for number, label in enumerate(ROUGH * 10):
        images.append(Image.fromarray(draw(label, 100 + number, size=side)))
        labels.append(label)
        places.append((100 + number, 0, 0))
    order = np.random.default_rng(0).permutation(len(images))
    overlaps = overlaps_of([images[i] for i in order], [labels[i] for i in order])

    reach = side - int(side * 3 / 8)
    expected = set()
    for i in range(len(order)):
        for j in range(i + 1, len(order)):
            (one, y, x), (other, v, u) = places[order[i]], places[order[j]]
            if one == other and abs(y - v) <= reach and abs(x - u) <= reach:
                expected.add((i, j))
    assert pairs_of(overlaps) == expected
    assert all(down % step == 0 and right % step == 0 for down, right in overlaps.shifts)
    assert {(0, step), (step, 0), (step, step), (step, -step)} <= set(overlaps.shifts)

    sources = np.array([places[i][0] for i in order])
    for number in range(8):
        assert len(set(overlaps.groups[sources == number])) == 1
    assert overlaps.groups.max() + 1 == 8 + 40
    assert (overlaps.grouped == (sources < 8)).all()


def test_jpeg_losses_do_not_hide_an_overlap() -> None:
    tiles, _ = cut(draw("granite", 0, size=52), 28, 6)
    overlaps = overlaps_of([jpeg(tile, 92) for tile in tiles])
    assert set(overlaps.groups) == {0}


def test_the_larger_tiles_are_reduced_and_the_shifts_are_native() -> None:
    tiles, _ = cut(draw("conglomerate", 1, size=224), 128, 32)
    overlaps = overlaps_of(tiles)
    assert set(overlaps.groups) == {0}
    assert (0, 32) in overlaps.shifts
    assert all(down % 32 == 0 and right % 32 == 0 for down, right in overlaps.shifts)


def test_tiles_of_two_classes_or_sizes_are_not_compared_at_shifts() -> None:
    tiles, _ = cut(draw("granite", 0, size=58), 28, 6)
    trimmed = [tile.crop((0, 0, 28, 28 - i % 2)) for i, tile in enumerate(tiles)]
    by_class = overlaps_of(tiles, [str(i % 2) for i in range(36)])
    by_size = overlaps_of(trimmed)
    for overlaps in (by_class, by_size):
        assert len(overlaps.pairs)
        assert ((overlaps.pairs[:, 0] - overlaps.pairs[:, 1]) % 2 == 0).all()


def test_identical_files_are_one_group_across_classes() -> None:
    images = [Image.fromarray(draw("granite", i, size=28)) for i in (0, 1, 0, 0)]
    pictures = [reduce_picture(image) for image in images]
    overlaps = find_overlaps(pictures, ["a", "b", "b", "a"], ["x", "y", "x", "x"])
    assert overlaps.pairs.tolist() == [[0, 2], [0, 3]]
    assert overlaps.groups.tolist() == [0, 1, 0, 0]
    assert overlaps.shifts == ()


def test_reencoded_and_resized_copies_are_found_and_other_pictures_are_not() -> None:
    images = [Image.fromarray(draw(c, i, size=112)) for c in SAMPLE_CLASSES for i in range(6)]
    wide = Image.fromarray(np.hstack([draw("granite", 50, size=150), draw("marble", 50, size=150)]))
    images += [jpeg(images[0], 60), images[20].resize((300, 300)), images[24].resize((64, 64))]
    images += [wide, jpeg(wide.resize((200, 100)), 80)]
    assert pairs_of(overlaps_of(images)) == {(0, 48), (20, 49), (24, 50), (51, 52)}


def test_flat_pictures_tell_nothing_unless_they_are_the_same_file() -> None:
    flat = [Image.new("RGB", (28, 28), (grey, grey, grey)) for grey in (100, 100, 101)]
    assert overlaps_of(flat).groups.tolist() == [0, 1, 2]
    pictures = [reduce_picture(image) for image in flat]
    assert find_overlaps(pictures, "aaa", "xxy").groups.tolist() == [0, 0, 1]


def test_noise_has_no_main_directions_and_is_compared_all_the_same() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (68, 68, 3)).astype(np.uint8)
    tiles, places = cut(noise, 28, 8)
    found = pairs_of(overlaps_of(tiles))
    near = [
        (i, j)
        for i, (y, x) in enumerate(places)
        for j, (v, u) in enumerate(places)
        if i < j and abs(y - v) <= 18 and abs(x - u) <= 18
    ]
    assert found == set(near)


def test_nothing_and_one_picture() -> None:
    nothing = find_overlaps([], [], [])
    assert nothing.groups.shape == (0,)
    assert nothing.pairs.shape == (0, 2)
    one = overlaps_of([Image.fromarray(draw("granite", 0, size=28))])
    assert one.groups.tolist() == [0]
    assert one.grouped.tolist() == [False]


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="received 0 pictures, 1 labels and 0 digests"):
        find_overlaps([], ["a"], [])


def test_the_result_is_the_same_every_time_and_progress_adds_up() -> None:
    tiles, _ = cut(draw("oolite", 0, size=48), 28, 5)
    done: list[int] = []
    pictures = [reduce_picture(tile) for tile in tiles]
    first = find_overlaps(pictures, ["a"] * 25, range(25), progress=done.append)
    second = find_overlaps(pictures, ["a"] * 25, range(25))
    assert sum(done) == 25
    assert (first.pairs == second.pairs).all()
    assert first.shifts == second.shifts
    assert first.pairs.dtype == first.groups.dtype == np.int64
    assert (first.pairs[:, 0] < first.pairs[:, 1]).all()


def test_a_picture_keeps_its_size_and_little_else() -> None:
    picture = reduce_picture(Image.fromarray(draw("granite", 0, size=130)[:100]))
    assert picture.size == (100, 130)
    assert picture.factor == 3
    assert picture.tile.shape == (34, 44)
    assert max(picture.tile.shape) <= TILE_SIDE
    assert picture.tile.dtype == picture.thumbnail.dtype == np.uint8


def test_read_pictures_keeps_the_order_and_gives_reasons(rocks: Path) -> None:
    broken = rocks / "granite" / "broken.jpg"
    broken.write_bytes(b"no picture")
    dataset = open_dataset(rocks)
    hashed, _ = hash_records(dataset.source, dataset.records)
    done: list[int] = []
    items, pictures, rejected = read_pictures(
        dataset.source, hashed, reduce_picture, progress=done.append
    )
    assert [item for item in hashed if item.record.source != str(broken)] == items
    assert len(pictures) == len(items) == len(hashed) - 1
    assert [one.path for one in rejected] == ["rocks/granite/broken.jpg"]
    assert "not a JPEG" in rejected[0].reason
    assert sum(done) == len(hashed)


def test_strip_windows_show_the_same_part_of_a_picture() -> None:
    picture = np.arange(400).reshape(20, 20)
    for down, right in ((0, 3), (4, 0), (2, -5), (-3, 1), (0, 0)):
        first, second = picture[5:15, 5:15], picture[5 + down : 15 + down, 5 + right : 15 + right]
        one, other = strip_windows((10, 10), (down, right))
        assert (first[one] == second[other]).all()
        assert first[one].size == (10 - abs(down)) * (10 - abs(right))


def test_smooth_ground_that_only_looks_alike_does_not_agree() -> None:
    ramp = np.linspace(60, 180, 28)[None, :] + np.zeros((28, 1))
    other = np.linspace(61, 180, 28)[None, :] + np.linspace(0, 3, 28)[:, None]
    tiles = np.stack([ramp, other]).astype(np.uint8)
    assert not agree(tiles, np.array([[0, 1]]), (0, 0)).any()


def test_tiles_too_small_are_not_compared_at_shifts() -> None:
    tiles, _ = cut(draw("granite", 0, size=30), 10, 4)
    assert overlaps_of(tiles).shifts == ()
    assert find_shifts([]) == ()


@pytest.mark.slow
def test_the_rock_tiles_were_cut_on_a_grid_of_six_pixels(real_data: Path) -> None:
    dataset = open_dataset(real_data)
    hashed, _ = hash_records(dataset.source, dataset.records)
    items, pictures, rejected = read_pictures(dataset.source, hashed, reduce_picture)
    assert not rejected
    labels = np.array([item.record.label for item in items])
    overlaps = find_overlaps(pictures, labels.tolist(), [item.sha256 for item in items])
    grid = {(0, 6), (6, 0), (6, 6), (6, -6), (0, 12), (12, 0)}
    assert grid <= set(overlaps.shifts)

    # What the six shifts alone show, measured first by a search through all pairs.
    least = {
        "andesite": 0.32,
        "gneiss": 0.95,
        "marble": 0.34,
        "quartzite": 0.39,
        "rhyolite": 0.56,
        "schist": 0.99,
    }
    for label, share in least.items():
        assert overlaps.grouped[labels == label].mean() >= share

    # Between the grid's points pairs agree a hundred times less often.
    schist = np.stack([pictures[i].tile for i in np.flatnonzero(labels == "schist")])
    assert len(pairs_at(schist, (6, 0))) > 100 * len(pairs_at(schist, (3, 4)))

    numbers = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    kept, held = overlap_free_split(numbers, overlaps.groups, 0.2, seed=0)
    assert not set(overlaps.groups[kept]) & set(overlaps.groups[held])
    assert np.bincount(numbers[held]) / np.bincount(numbers) == pytest.approx(
        np.full(6, 0.2), abs=0.005
    )
