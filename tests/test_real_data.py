"""The whole job on real tiles; skipped, and said so, where the data set is absent."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from geosim.search.pipeline import DATASET_QUERIES
from geosim.trainer.data.dataset import hash_records, open_dataset
from geosim.trainer.working import Working

PER_CLASS = 40


@pytest.fixture(scope="module")
def some(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the first tiles of each class and the owner's four queries."""
    archive = tmp_path_factory.mktemp("some") / "some.zip"
    taken: Counter[str] = Counter()
    with zipfile.ZipFile(real_data) as source, zipfile.ZipFile(archive, "w") as target:
        for name in source.namelist():
            label = name.split("/")[1]
            if name in DATASET_QUERIES or taken[label] < PER_CLASS:
                taken[label] += 1
                target.writestr(name, source.read(name))
    return archive


@pytest.mark.slow
def test_the_archive_is_read_whole(real_data: Path) -> None:
    dataset = open_dataset(real_data)
    assert dataset.name == "geological_similarity"
    assert len(dataset.records) == 29_998
    assert Counter(record.label for record in dataset.records)["marble"] == 4_998
    assert dataset.rejected == ()
    hashed, rejected = hash_records(dataset.source, dataset.records)
    assert not rejected
    assert len({item.sha256 for item in hashed}) == 29_998 - 7, "7 pairs are byte-identical"


@pytest.mark.slow
def test_run_on_real_tiles(geosim: Callable[..., Result], some: Path, tmp_path: Path) -> None:
    working = Working(tmp_path / "working")
    options = ("--backbone", "efficientnet-lite0", "--working", working.root)
    result = geosim("run", some, *options, "--format", "jsonl")
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert tuple(answer["query"] for answer in answers) == DATASET_QUERIES
    hits = [hit for answer in answers for hit in answer["hits"]]
    assert len(hits) == 40
    assert sum(hit["class"] == "marble" for hit in hits) >= 30
    index = json.loads(working.index.read_text())
    assert all(len(neighbours) == 10 for neighbours in index.values())
    with Image.open(working.samples) as sheet:
        assert sheet.height > 4 * 300
    again = geosim("ingest", some, "--working", working.root)
    assert "added 0, changed 0, deleted 0" in again.stdout
    assert "0 embedded by the backbone" in again.stdout
