"""One backbone pass per image content, whatever happens in between."""

import io
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from geosim.trainer import features as features_module
from geosim.trainer.backbones.colour_grid import ColourGrid
from geosim.trainer.backbones.registry import spec_of
from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.data import views as views_module
from geosim.trainer.data.dataset import Dataset, HashedRecord, Rejected, hash_records, open_dataset
from geosim.trainer.data.images import prepare
from geosim.trainer.data.reasons import FORMAT_NAMES
from geosim.trainer.data.views import prepare_views
from geosim.trainer.errors import ModelError
from geosim.trainer.features import CONCURRENT_BATCHES, Extracted, FeatureExtractor
from geosim.trainer.runtime.machine import CPU_BATCH

SPEC = spec_of("colour-grid")
FINGERPRINT = "ab" * 32

SCRIPT = """
import os, signal, sys
from pathlib import Path
from geosim.trainer.backbones.registry import spec_of
from geosim.trainer.backbones.colour_grid import ColourGrid
from geosim.trainer.data.dataset import hash_records, open_dataset
from geosim.trainer.features import FeatureExtractor

data, cache, fingerprint, last = sys.argv[1:]
grid, calls = ColourGrid(64), 0

def backbone(images):
    global calls
    calls += 1
    if calls == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    return grid(images)

dataset = open_dataset(Path(data))
hashed, _ = hash_records(dataset.source, dataset.records)
extractor = FeatureExtractor(
    spec_of("colour-grid"), fingerprint, lambda: backbone, Path(cache)
)
print("ready", flush=True)
sys.stdin.readline()
count = sum(len(b) for b in extractor.extract(dataset.source, hashed, reject=print))
print(count, extractor.computed)
"""


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (number, 255 - number, number // 2)).save(buffer, "PNG")
    return buffer.getvalue()


def rocks(root: Path, count: int) -> Path:
    for number in range(count):
        path = root / f"class{number % 2}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return root


def hashed_of(dataset: Dataset) -> list[HashedRecord]:
    return hash_records(dataset.source, dataset.records)[0]


def extractor(cache: Path, fingerprint: str = FINGERPRINT) -> FeatureExtractor:
    return FeatureExtractor(SPEC, fingerprint, lambda: ColourGrid(SPEC.input_size), cache)


def must_not_load() -> ColourGrid:
    raise AssertionError("the backbone was loaded")


def run(
    one: FeatureExtractor, dataset: Dataset, items: Sequence[HashedRecord]
) -> tuple[dict[str, Extracted], list[Rejected]]:
    """Extract everything; every item must come out exactly once, extracted or rejected."""
    rejected: list[Rejected] = []
    found: dict[str, Extracted] = {}
    for batch in one.extract(dataset.source, items, reject=rejected.append):
        for extracted in batch:
            assert extracted.item.record.path not in found
            found[extracted.item.record.path] = extracted
    outcomes = sorted([*found, *(reject.path for reject in rejected)])
    assert outcomes == sorted(item.record.path for item in items)
    return found, rejected


def start(data: Path, cache: Path, last: int = 0) -> subprocess.Popen[str]:
    """A process that has hashed the data, and extracts once it is given a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(data), str(cache), FINGERPRINT, str(last)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_features_are_the_backbone_s_and_sizes_the_picture_s(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 5))
    first = extractor(tmp_path / "cache")
    found, rejected = run(first, dataset, hashed_of(dataset))
    assert not rejected
    assert first.computed == 5
    for number, path in enumerate(sorted(found, key=lambda path: path[-7:])):
        expected = ColourGrid(64)(prepare(picture(number), 64).pixels[None])[0]
        np.testing.assert_array_equal(found[path].features.vector, expected)
        assert (found[path].features.width, found[path].features.height) == (4, 3)


def test_a_second_pass_runs_no_backbone_and_gives_the_same(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 40))
    before, _ = run(extractor(tmp_path / "cache"), dataset, hashed_of(dataset))
    second = FeatureExtractor(SPEC, FINGERPRINT, must_not_load, tmp_path / "cache")
    after, _ = run(second, dataset, hashed_of(dataset))
    assert second.computed == 0
    for path, extracted in before.items():
        np.testing.assert_array_equal(after[path].features.vector, extracted.features.vector)
        assert after[path].features.vector.dtype == np.float32


def test_moved_images_are_still_known_and_new_ones_are_computed(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 6))
    run(extractor(tmp_path / "cache"), dataset, hashed_of(dataset))
    moved = Path(shutil.move(tmp_path / "rocks", tmp_path / "stones"))
    (moved / "class0" / "new.png").write_bytes(picture(99))
    dataset = open_dataset(moved)
    second = extractor(tmp_path / "cache")
    run(second, dataset, hashed_of(dataset))
    assert second.computed == 1


@pytest.mark.parametrize("chunk", [4, 2048])
def test_equal_content_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(features_module, "LOOKUP_SIZE", chunk)
    root = rocks(tmp_path / "rocks", 6)
    for number in range(6):
        (root / "class1" / f"copy{number}.png").write_bytes(picture(number % 3))
    dataset = open_dataset(root)
    one = extractor(tmp_path / "cache")
    found, _ = run(one, dataset, hashed_of(dataset))
    assert len(found) == 12
    assert one.computed == 6


def test_another_fingerprint_has_its_own_features(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 4))
    for fingerprint in (FINGERPRINT, "cd" * 32):
        one = extractor(tmp_path / "cache", fingerprint)
        run(one, dataset, hashed_of(dataset))
        assert one.computed == 4
    again = extractor(tmp_path / "cache", FINGERPRINT)
    run(again, dataset, hashed_of(dataset))
    assert again.computed == 0


def several(cache: Path, views: int, fingerprint: str = FINGERPRINT) -> FeatureExtractor:
    return FeatureExtractor(SPEC, fingerprint, lambda: ColourGrid(SPEC.input_size), cache, views)


def test_the_features_of_views_are_the_same_from_the_cache_and_computed(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 40))
    items = hashed_of(dataset)
    first = several(tmp_path / "cache", 5)
    fresh, _ = run(first, dataset, items)
    assert first.computed == 40
    cached, _ = run(
        FeatureExtractor(SPEC, FINGERPRINT, must_not_load, tmp_path / "cache", 5), dataset, items
    )
    for path, one in fresh.items():
        vector = one.features.vector
        assert vector.shape == (5 * 384,)
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(cached[path].features.vector, vector)
        data = dataset.source.read(one.item.record)
        np.testing.assert_array_equal(first.features(data), vector)
        expected = ColourGrid(64)(prepare_views(data, 64, 5).pixels)
        np.testing.assert_array_equal(vector[:384], expected[0])
        np.testing.assert_allclose(vector[384:], expected[1:].ravel(), atol=1e-3)


def test_a_row_serves_fewer_views_and_is_not_replaced_by_a_shorter_one(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 6))
    items, cache = hashed_of(dataset), tmp_path / "cache"
    computed = {}
    for views in (1, 4, 2, 1, 4, 6, 4):
        one = several(cache, views)
        found, _ = run(one, dataset, items)
        computed[views, len(computed)] = one.computed
        assert {e.features.vector.shape for e in found.values()} == {(views * 384,)}
    assert [*computed.values()] == [6, 6, 0, 0, 0, 6, 0]
    # Another process that finds no row in time may write a shorter one.
    with closing(features_module.FeatureCache(cache, SPEC, FINGERPRINT)) as shorter:
        shorter.put(shorter.get(item.sha256 for item in items))
    again = several(cache, 6)
    run(again, dataset, items)
    assert again.computed == 0


def test_views_of_another_table_are_computed_again_and_the_first_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 6))
    items, cache = hashed_of(dataset), tmp_path / "cache"
    run(several(cache, 4), dataset, items)
    monkeypatch.setattr(views_module, "VERSION", 99)
    for views, count in ((1, 0), (3, 6), (3, 0), (4, 6)):
        one = several(cache, views)
        run(one, dataset, items)
        assert one.computed == count, views


def test_the_cache_of_an_earlier_version_holds_the_first_view(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 6))
    items, cache = hashed_of(dataset), tmp_path / "cache"
    expected, _ = run(extractor(cache), dataset, items)
    database = sqlite3.connect(the_file(cache))
    database.execute("ALTER TABLE features DROP COLUMN views")
    database.close()
    found, _ = run(FeatureExtractor(SPEC, FINGERPRINT, must_not_load, cache), dataset, items)
    for path, one in expected.items():
        np.testing.assert_array_equal(found[path].features.vector, one.features.vector)
    more = several(cache, 2)
    run(more, dataset, items)
    assert more.computed == 6


def test_large_features_of_views_are_stored_as_the_largest_number(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 2))

    def backbone(images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 384), 1e6, np.float32)

    one = FeatureExtractor(SPEC, FINGERPRINT, lambda: backbone, tmp_path / "cache", 2)
    for _ in range(2):
        found, _ = run(one, dataset, hashed_of(dataset))
        for extracted in found.values():
            assert extracted.features.vector[0] == 1e6
            assert extracted.features.vector[-1] == np.finfo(np.float16).max


def test_features_of_another_width_are_computed_again(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 3))
    run(extractor(tmp_path / "cache"), dataset, hashed_of(dataset))
    wider: BackboneSpec = replace(SPEC, feature_width=400)
    one = FeatureExtractor(
        wider,
        FINGERPRINT,
        lambda: lambda x: np.zeros((len(x), 400), np.float32),
        tmp_path / "cache",
    )
    found, _ = run(one, dataset, hashed_of(dataset))
    assert one.computed == 3
    assert {extracted.features.vector.shape for extracted in found.values()} == {(400,)}


def test_images_that_cannot_be_decoded_are_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = rocks(tmp_path / "rocks", 40)
    (root / "class0" / "empty.png").write_bytes(b"")
    (root / "class0" / "text.jpg").write_text("notes")
    (root / "class1" / "text too.jpg").write_text("notes")
    dataset = open_dataset(root)
    one = extractor(tmp_path / "cache")
    found, rejected = run(one, dataset, hashed_of(dataset))
    assert len(found) == one.computed == 40
    no_picture = f"not a {FORMAT_NAMES} picture but text; replace or remove it"
    assert sorted((reject.path, reject.reason) for reject in rejected) == [
        ("rocks/class0/empty.png", "the file is empty"),
        ("rocks/class0/text.jpg", no_picture),
        ("rocks/class1/text too.jpg", no_picture),
    ]


def test_nothing_to_extract_is_fine(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 1))
    assert run(extractor(tmp_path / "cache"), dataset, []) == ({}, [])


def test_a_file_changed_after_it_was_hashed_is_rejected_and_not_cached(tmp_path: Path) -> None:
    root = rocks(tmp_path / "rocks", 2)
    dataset = open_dataset(root)
    stale = hashed_of(dataset)
    (root / "class0" / "000.png").write_bytes(picture(200))
    one = extractor(tmp_path / "cache")
    _, rejected = run(one, dataset, stale)
    assert [(reject.path, reject.reason) for reject in rejected] == [
        (
            "rocks/class0/000.png",
            "changed while it was read; run again, with --rehash if that repeats",
        )
    ]
    (root / "class1" / "old.png").write_bytes(picture(0))
    dataset = open_dataset(root)
    found, rejected = run(one, dataset, hashed_of(dataset))
    assert not rejected
    for path, number in (("rocks/class0/000.png", 200), ("rocks/class1/old.png", 0)):
        expected = ColourGrid(64)(prepare(picture(number), 64).pixels[None])[0]
        np.testing.assert_array_equal(found[path].features.vector, expected)


def test_a_changed_file_does_not_take_its_twin_with_it(tmp_path: Path) -> None:
    root = rocks(tmp_path / "rocks", 2)
    for name in ("twin.png", "twin2.png"):
        (root / "class1" / name).write_bytes(picture(0))
    dataset = open_dataset(root)
    stale = hashed_of(dataset)
    (root / "class0" / "000.png").unlink()
    one = extractor(tmp_path / "cache")
    found, rejected = run(one, dataset, stale)
    assert [reject.path for reject in rejected] == ["rocks/class0/000.png"]
    assert "No such file" in rejected[0].reason
    assert one.computed == 2
    assert "rocks/class1/twin2.png" in found


@pytest.mark.parametrize("call", [1, 2, 5])
def test_a_killed_pass_is_resumed_where_it_was(tmp_path: Path, call: int) -> None:
    data, cache = rocks(tmp_path / "rocks", 80), tmp_path / "cache"
    killed = start(data, cache, last=call)
    killed.communicate("\n")
    assert killed.returncode == -signal.SIGKILL
    resumed = start(data, cache)
    output, _ = resumed.communicate("\n")
    # Batches before the one that was killed may be at work, or finished and not stored yet.
    stored = range(max(0, call - 1 - CONCURRENT_BATCHES), call)
    assert output in [f"80 {80 - CPU_BATCH * batches}\n" for batches in stored]
    dataset = open_dataset(data)
    again = FeatureExtractor(SPEC, FINGERPRINT, must_not_load, cache)
    found, _ = run(again, dataset, hashed_of(dataset))
    fresh, _ = run(extractor(tmp_path / "other"), dataset, hashed_of(dataset))
    for path, extracted in fresh.items():
        np.testing.assert_array_equal(found[path].features.vector, extracted.features.vector)


def test_several_processes_may_fill_one_cache(tmp_path: Path) -> None:
    data, cache = rocks(tmp_path / "rocks", 80), tmp_path / "cache"
    processes = [start(data, cache) for _ in range(3)]
    for process in processes:  # all stand at the line: go
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0
        count, computed = map(int, output.split())
        assert count == 80
        assert computed <= 80
    last = start(data, cache)
    assert last.communicate("\n")[0] == "80 0\n"


def test_opening_a_new_cache_at_once_never_fails(tmp_path: Path) -> None:
    # SQLite gives up at once where two connections turn on the write-ahead log together.

    barrier = Barrier(4)

    def open_it(folder: Path) -> None:
        barrier.wait(timeout=30)
        features_module.FeatureCache(folder, SPEC, FINGERPRINT).close()

    with ThreadPoolExecutor(4) as pool:
        for number in range(25):
            folder = tmp_path / str(number)
            for future in [pool.submit(open_it, folder) for _ in range(4)]:
                future.result()


def the_file(cache: Path) -> Path:
    (path,) = cache.glob("*.sqlite")
    return path


def damage_header(path: Path) -> None:
    path.write_bytes(b"this is no data base" * 500)


def damage_pages(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def damage_schema(path: Path) -> None:
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE features (something BLOB)")
    database.commit()
    database.close()


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [damage_header, damage_pages, damage_schema, put_a_folder_there])
def test_a_damaged_cache_is_one_clear_error_and_no_more(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 40))
    cache = tmp_path / "cache"
    run(extractor(cache), dataset, hashed_of(dataset))
    damage(the_file(cache))
    with pytest.raises(ModelError, match=r"feature cache .*\.sqlite cannot be used.*delete") as e:
        run(extractor(cache), dataset, hashed_of(dataset))
    assert "\n" not in str(e.value)
    shutil.rmtree(cache)  # the remedy
    one = extractor(cache)
    run(one, dataset, hashed_of(dataset))
    assert one.computed == 40


def test_a_cache_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    dataset = open_dataset(rocks(tmp_path / "rocks", 1))
    with pytest.raises(ModelError, match=r"feature cache .* cannot be used"):
        run(extractor(tmp_path / "cache"), dataset, hashed_of(dataset))


def test_a_read_only_cache_is_passed_over(
    tmp_path: Path, make_read_only: Callable[[Path], None]
) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 4))
    cache = tmp_path / "cache"
    expected, _ = run(extractor(cache), dataset, hashed_of(dataset))
    make_read_only(cache)
    for folder in (cache, cache / "missing"):
        one = extractor(folder)
        found, rejected = run(one, dataset, hashed_of(dataset))
        assert (one.computed, rejected) == (4, [])
        for path, extracted in found.items():
            assert np.allclose(extracted.features.vector, expected[path].features.vector)


def test_a_caller_that_stops_early_keeps_what_it_got(tmp_path: Path) -> None:
    dataset = open_dataset(rocks(tmp_path / "rocks", 80))
    items = hashed_of(dataset)
    batches = extractor(tmp_path / "cache").extract(dataset.source, items, reject=print)
    assert len(next(batches)) == CPU_BATCH
    batches.close()
    again = extractor(tmp_path / "cache")
    run(again, dataset, items)
    assert again.computed == 80 - CPU_BATCH
    assert not list((tmp_path / "cache").glob("*-wal"))
