"""Pictures of more than 8 bits: told by `train` and `ingest`, and never from an old cache."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from PIL import Image

from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.train import train
from geosim.trainer.working import Working

DEEP = 3


@pytest.fixture(scope="module")
def mixed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three JPEGs, the same in 12 bits, and one in floating point."""
    root = tmp_path_factory.mktemp("mixed") / "rocks"
    for label in ("granite", "marble"):
        (root / label).mkdir(parents=True)
        for number in range(3):
            name = f"{label}-{number:04}.jpg"
            (root / label / name).write_bytes((sample / label / name).read_bytes())
    for number in range(DEEP):
        with Image.open(sample / "granite" / f"granite-{number + 3:04}.jpg") as image:
            pixels = np.asarray(image)
        deep = pixels.astype(np.uint16) << 4
        tifffile.imwrite(root / "granite" / f"deep-{number}.tif", deep, photometric="rgb")
    tifffile.imwrite(root / "marble" / "float.tif", (pixels / np.float32(255)), photometric="rgb")
    return root


@contextmanager
def cache(working: Working) -> Iterator[sqlite3.Connection]:
    (path,) = working.features.glob("*.sqlite")
    with closing(sqlite3.connect(path)) as database, database:
        yield database


def make_former(working: Working) -> None:
    """Turn the cache into that of the first version, with a vector of its own for each image."""
    with cache(working) as database:
        database.execute("DROP INDEX former")
        for name in ("decoder", "scaled_from"):
            database.execute(f"ALTER TABLE features DROP COLUMN {name}")
        for digest, blob in database.execute("SELECT sha256, vector FROM features").fetchall():
            halved = (np.frombuffer(blob, "<f4") / 2).astype("<f4").tobytes()
            database.execute("UPDATE features SET vector = ? WHERE sha256 = ?", (halved, digest))


def vectors(working: Working) -> dict[bytes, np.ndarray]:
    with cache(working) as database:
        rows = database.execute("SELECT sha256, vector FROM features").fetchall()
    return {digest: np.frombuffer(blob, "<f4") for digest, blob in rows}


def test_train_and_ingest_tell_how_many_pictures_were_scaled(
    mixed: Path, tmp_path: Path, geosim: Callable[..., Result]
) -> None:
    folder = ("--working", tmp_path / "working")
    told = "3 pictures of 12 bits in 16 and 1 of floating point were scaled to 8 bits\n"
    options = ("--backbone", "colour-grid", "--epochs", 2, *folder)
    for _ in range(2):  # the second time from the cache
        trained = geosim("train", mixed, *options)
        assert trained.exit_code == 0, trained.output
        assert trained.stderr.count(told) == 1
    ingested = geosim("ingest", mixed, *folder)
    assert ingested.exit_code == 0, ingested.output
    assert ingested.stderr.count(told) == 1
    assert "scaled" not in geosim("ingest", mixed, *folder).stderr, "nothing was stored"
    again = geosim("run", mixed, *options)
    assert again.stderr.count("scaled") == 1


def test_features_of_a_former_decoder_are_kept_where_it_did_the_same(
    mixed: Path, tmp_path: Path
) -> None:
    working, options = Working(tmp_path / "working"), TrainOptions(epochs=2)
    data, backbone = open_dataset(mixed), choose("colour-grid")[0]
    first = train(data, backbone, working, options)
    assert first.computed == 6 + DEEP + 1
    before = vectors(working)
    make_former(working)
    second = train(data, backbone, working, options)
    assert second.computed == DEEP + 1
    after = vectors(working)
    kept = [digest for digest in after if not np.array_equal(after[digest], before[digest])]
    assert len(kept) == 6
    for digest in kept:
        np.testing.assert_array_equal(after[digest], before[digest] / 2)
    assert train(data, backbone, working, options).computed == 0


def test_an_ingest_stores_anew_what_a_former_decoder_saw_otherwise(
    mixed: Path, tmp_path: Path
) -> None:
    working = Working(tmp_path / "working")
    data = open_dataset(mixed)
    model = train(data, choose("colour-grid")[0], working, TrainOptions(epochs=2)).model
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(data, model, store, working)
        make_former(working)
        report = sync(data, model, store, working)
        assert (report.changed, report.unchanged, report.added) == (DEEP + 1, 6, 0)
        assert report.scaled == {"12 bits in 16": DEEP, "floating point": 1}
        report = sync(data, model, store, working)
        assert (report.changed, report.unchanged, report.scaled) == (0, 6 + DEEP + 1, {})
