"""An ingest of files that are stored already, unchanged, and of a hundred new ones among them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from geosim.ingest.known import decide_for
from geosim.ingest.store.factory import open_store
from geosim.ingest.sync import SyncReport, sync
from geosim.trainer.data.dataset import blocks, hash_dataset, open_dataset
from geosim.trainer.feature_cache import FeatureCache, Features
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.working import Working
from tests.benches import synthetic
from tests.benches.common import BenchError, Row, Settings, in_process, resources, timed

ABOUT = (
    "JPEG files of 8 x 8 pixels, all different, 5,000 in a folder, with synthetic features in the "
    "feature cache: what `geosim ingest` does from the opening of the collection to its end, in a "
    "process of its own. Nothing changed, then 100 new files among them; and the engine alone, "
    "which opens the collection. Seconds of a clock and of the processor, and peak resident memory "
    "in GB (10^9 bytes). One run each."
)
SIZES = (10_000, 100_000, 1_000_000)
PER_FOLDER = 5000
SIDE = 8
NEW = 100
DIFFERENT = 100
"""Pictures that differ in their pixels; the others differ from them in a comment."""


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Ingest at every size."""
    rows = []
    for size in settings.sizes(SIZES):
        folder = scratch / str(size)
        data = folder / "pictures"
        in_process(write_pictures, data, 0, size)
        in_process(fill_cache, folder, data)
        for _ in range(2):  # the times of the last files are trusted only in the second one
            in_process(ingest, folder, data, None)
        found = {
            "engine alone": in_process(open_alone, folder),
            "nothing changed": in_process(ingest, folder, data, (0, size)),
        }
        in_process(write_pictures, data, size, NEW)
        in_process(fill_cache, folder, data)
        found[f"{NEW} new"] = in_process(ingest, folder, data, (NEW, size))
        for name, figures in found.items():
            for unit, value in zip(("s", "s of a core", "GB at most"), figures, strict=True):
                rows.append(Row(f"{size:,} files", name, unit, [value]))
        shutil.rmtree(folder)
    return rows


def write_pictures(data: Path, first: int, count: int) -> None:
    """Write ``count`` pictures, numbered from ``first``."""
    drawn = list(_pictures())
    for number in range(first, first + count):
        folder = data / f"class-{number // PER_FOLDER:04d}"
        if number in (first, number // PER_FOLDER * PER_FOLDER):
            folder.mkdir(parents=True, exist_ok=True)
        picture = drawn[number % DIFFERENT]
        comment = b"\xff\xfe\x00\x0a%08d" % number
        (folder / f"{number:08d}.jpg").write_bytes(picture[:2] + comment + picture[2:])


def _pictures() -> Iterator[bytes]:
    random = np.random.default_rng(0)
    for _ in range(DIFFERENT):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, "JPEG")
        yield file.getvalue()


def fill_cache(folder: Path, data: Path) -> None:
    """Put features of all pictures into the cache."""
    working, random = Working(folder), np.random.default_rng(1)
    hashed, _ = hash_dataset(open_dataset(data), working.hashes)
    spec = synthetic.model(working.model).spec
    with closing(FeatureCache(working.features, spec, synthetic.FINGERPRINT)) as cached:
        for block in blocks(hashed, synthetic.BLOCK):
            drawn = random.standard_normal((len(block), EMBEDDING_DIM), np.float32)
            pairs = zip(block, drawn, strict=True)
            cached.put({one.sha256: Features(vector, SIDE, SIDE) for one, vector in pairs})


def ingest(
    folder: Path, data: Path, expected: tuple[int, int] | None
) -> tuple[float, float, float]:
    """Ingest; return wall seconds, processor seconds and peak memory.

    Raises:
        BenchError: not as many images as ``expected`` were added and unchanged.
    """
    working, reports = Working(folder), list[SyncReport]()

    def work() -> None:
        with open_store(None, "geosim", working=folder) as store:
            decide = decide_for(store, working.datasets)
            dataset = open_dataset(data, (), decide, hashes=working.hashes)
            reports.append(sync(dataset, synthetic.model(working.model), store, working))

    figures = _measured(work)
    found = reports[0].added, reports[0].unchanged
    if expected not in (None, found):
        raise BenchError(f"{found} images were added and unchanged, expected {expected}")
    return figures


def open_alone(folder: Path) -> tuple[float, float, float]:
    """Open the collection and count its points."""

    def work() -> None:
        with open_store(None, "geosim", working=folder) as store:
            store.count()

    return _measured(work)


def _measured(work: Callable[[], None]) -> tuple[float, float, float]:
    before = resources()[0]
    seconds = timed(work)
    after, peak = resources()
    return seconds, after - before, peak
