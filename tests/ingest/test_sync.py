import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geosim.ingest.schema import Filter, ModelRef, point_id
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import SyncReport, sync
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import DatasetError, ModelMismatchError, StoreError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

IMAGES = 96


def ingest(data: Path, working: Working, store: VectorStore, **options: Any) -> SyncReport:
    return sync(open_dataset(data), load_model(working.model), store, working, **options)


def counts(report: SyncReport) -> tuple[int, int, int, int, int]:
    rejected = len(report.rejected)
    return report.added, report.changed, report.deleted, report.unchanged, rejected


def paths(store: VectorStore) -> set[str]:
    return {one.payload.path for batch in store.scan(vectors=False) for one in batch}


def test_a_first_ingest_stores_every_image_with_its_payload(
    sample: Path, working: Working, store: VectorStore
) -> None:
    report = ingest(sample, working, store)
    assert counts(report) == (IMAGES, 0, 0, 0, 0)
    assert report.computed == 0, "training has been through the same images"
    assert report.points == store.count() == IMAGES
    (point,) = [
        one
        for batch in store.scan(Filter(label="granite"), vectors=True)
        for one in batch
        if one.payload.path.endswith("granite-0003.jpg")
    ]
    assert point.payload.path == "rocks/granite/granite-0003.jpg"
    assert (point.payload.width, point.payload.height) == (64, 64)
    assert point.payload.dataset == "rocks"
    assert np.linalg.norm(point.vector) == pytest.approx(1.0, abs=1e-6)


def test_a_second_ingest_has_nothing_to_do(
    sample: Path, working: Working, store: VectorStore
) -> None:
    ingest(sample, working, store)
    report = ingest(sample, working, store)
    assert counts(report) == (0, 0, 0, IMAGES, 0)
    assert report.computed == 0


def test_points_have_the_url_of_their_image(
    rocks: Path, working: Working, store: VectorStore
) -> None:
    def addresses() -> set[str]:
        payloads = [one.payload for batch in store.scan(vectors=False) for one in batch]
        assert all(one.id in one.image_url for one in payloads if one.image_url)
        return {one.image_url.replace(one.id, "ID") for one in payloads}

    ingest(rocks, working, store)
    assert addresses() == {""}
    report = ingest(rocks, working, store, image_url="http://localhost:8000/")
    assert (report.changed, report.computed) == (IMAGES, 0)
    assert addresses() == {"http://localhost:8000/api/images/ID.jpg"}
    again = ingest(rocks, working, store, image_url="http://localhost:8000")
    assert counts(again) == (0, 0, 0, IMAGES, 0)
    image = rocks / "marble" / "marble-0001.jpg"
    image.write_bytes(image.read_bytes() + b"\0")  # an ingest without addresses keeps them
    assert counts(ingest(rocks, working, store)) == (0, 1, 0, IMAGES - 1, 0)
    assert addresses() == {"http://localhost:8000/api/images/ID.jpg"}


@pytest.mark.parametrize(
    "base", ["localhost:8000", "ftp://host", "http://", "http://host/?q", "http://user:pw@host"]
)
def test_an_invalid_image_url_is_refused_before_anything_is_stored(
    sample: Path, working: Working, store: VectorStore, base: str
) -> None:
    with pytest.raises(StoreError, match="expected http://HOST:8000"):
        ingest(sample, working, store, image_url=base)
    assert store.info() is None


def test_an_ingest_follows_the_folder(rocks: Path, working: Working, store: VectorStore) -> None:
    ingest(rocks, working, store)
    (rocks / "marble" / "marble-0000.jpg").unlink()
    shutil.rmtree(rocks / "basalt")
    with Image.open(rocks / "granite" / "granite-0000.jpg") as image:
        image.resize((80, 40)).save(rocks / "granite" / "granite-0001.jpg")
    with Image.open(rocks / "schist" / "schist-0000.jpg") as image:
        image.rotate(180).save(rocks / "schist" / "new.png")
    report = ingest(rocks, working, store)
    assert report.rejected == ()
    assert counts(report) == (1, 1, 13, IMAGES - 14, 0)
    assert report.computed == 2, "only what is new in content goes through the backbone"
    held = paths(store)
    assert "rocks/schist/new.png" in held
    assert not any("basalt" in path or "marble-0000" in path for path in held)
    (changed,) = store.fetch([point_id("rocks/granite/granite-0001.jpg")])
    assert (changed.payload.width, changed.payload.height) == (80, 40)


def test_other_data_sets_in_the_collection_stay(
    rocks: Path, working: Working, store: VectorStore, tmp_path: Path
) -> None:
    ingest(rocks, working, store)
    other = tmp_path / "thin-sections"
    (other / "marble").mkdir(parents=True)
    shutil.copy(rocks / "marble" / "marble-0000.jpg", other / "marble" / "a.jpg")
    assert counts(ingest(other, working, store)) == (1, 0, 0, 0, 0)
    assert store.count() == IMAGES + 1
    shutil.copy(rocks / "marble" / "marble-0001.jpg", other / "marble" / "b.jpg")
    (other / "marble" / "a.jpg").unlink()
    assert counts(ingest(other, working, store)) == (1, 0, 1, 0, 0)
    assert store.count(Filter(dataset="rocks")) == IMAGES


def test_an_undecodable_image_is_reported_and_its_point_stays(
    rocks: Path, working: Working, store: VectorStore
) -> None:
    ingest(rocks, working, store)
    broken = rocks / "marble" / "marble-0000.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    (rocks / "marble" / "empty.png").touch()
    (rocks / "marble" / "dangling.jpg").symlink_to(rocks / "nowhere.jpg")
    report = ingest(rocks, working, store)
    assert counts(report) == (0, 0, 0, IMAGES - 1, 3)
    assert {one.path.rpartition("/")[2] for one in report.rejected} == {
        "marble-0000.jpg",
        "empty.png",
        "dangling.jpg",
    }
    assert all(one.reason for one in report.rejected)
    assert store.count() == IMAGES


@pytest.mark.parametrize("loss", ["missing", "empty"])
def test_a_lost_folder_does_not_empty_the_collection(
    rocks: Path, working: Working, store: VectorStore, loss: str
) -> None:
    ingest(rocks, working, store)
    shutil.rmtree(rocks)
    if loss == "empty":
        rocks.mkdir()
    with pytest.raises(DatasetError):
        ingest(rocks, working, store)
    assert store.count() == IMAGES


def test_another_folder_of_the_same_name_does_not_replace_the_first(
    rocks: Path, working: Working, store: VectorStore, tmp_path: Path
) -> None:
    ingest(rocks, working, store)
    other = tmp_path / "2024" / "rocks"
    for number in range(8):
        (other / "marble").mkdir(parents=True, exist_ok=True)
        picture = Image.effect_noise((40, 40), 20 + 5 * number).convert("RGB")
        picture.save(other / "marble" / f"new-{number}.png")
    with pytest.raises(StoreError, match=r"96 of its 96 images would be deleted.*rename") as raised:
        ingest(other, working, store)
    assert str(rocks) in str(raised.value)
    assert store.count() == IMAGES
    moved = shutil.move(rocks, tmp_path / "moved" / "rocks")  # the same images elsewhere
    assert counts(ingest(Path(moved), working, store)) == (0, 0, 0, IMAGES, 0)
    assert ingest(other, working, store, recreate=True).points == 8


def test_another_models_collection_is_refused_and_can_be_rebuilt(
    sample: Path, working: Working, store: VectorStore
) -> None:
    store.create(ModelRef("f" * 64, "resnet50"))
    with pytest.raises(ModelMismatchError) as refused:
        ingest(sample, working, store)
    model = load_model(working.model)
    assert "resnet50 ffffffffffff" in str(refused.value)
    assert f"colour-grid {model.fingerprint[:12]}" in str(refused.value)
    assert "--recreate" in str(refused.value)
    assert counts(ingest(sample, working, store, recreate=True))[0] == IMAGES
    info = store.info()
    assert info is not None
    assert info.model.fingerprint == model.fingerprint


def test_equal_content_under_two_paths_makes_two_points(
    rocks: Path, working: Working, store: VectorStore
) -> None:
    shutil.copy(rocks / "marble" / "marble-0000.jpg", rocks / "schist" / "marble-0000.jpg")
    report = ingest(rocks, working, store)
    assert report.added == store.count() == IMAGES + 1
    assert report.computed == 0


KILLED = """
import os, signal, sys
from pathlib import Path
import geosim.ingest.sync
from geosim.ingest.store.edge import EdgeStore
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

class KilledStore(EdgeStore):
    writes = 0
    def upsert(self, payloads, vectors):
        super().upsert(payloads, vectors)
        KilledStore.writes += 1
        if KilledStore.writes == 2:
            os.kill(os.getpid(), signal.SIGKILL)

geosim.ingest.writing.UPSERT_BATCH = 20
data, working = Path(sys.argv[1]), Working(Path(sys.argv[2]))
store = KilledStore(working.qdrant, "geosim")
geosim.ingest.sync.sync(open_dataset(data), load_model(working.model), store, working)
"""


def test_a_killed_ingest_resumes(sample: Path, working: Working) -> None:
    shutil.rmtree(working.features)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(sample), str(working.root)], check=False, timeout=120
    )
    assert killed.returncode == -9
    with EdgeStore(working.qdrant, "geosim") as store:
        acknowledged = store.count()
        assert 0 < acknowledged < IMAGES
        report = ingest(sample, working, store)
        assert counts(report) == (IMAGES - acknowledged, 0, 0, acknowledged, 0)
        assert report.computed <= IMAGES - acknowledged
        assert store.count() == IMAGES
