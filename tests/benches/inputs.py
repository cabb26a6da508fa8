"""Inputs of the parts: pictures, and a working folder with a model and a collection of them."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from geosim.trainer.data.dataset import Dataset, open_dataset
from geosim.trainer.data.images import open_rgb
from geosim.trainer.files import replacing
from geosim.trainer.sample.generate import PER_CLASS, write_sample
from geosim.trainer.sample.textures import SAMPLE_CLASSES
from geosim.trainer.working import Working
from tests.benches.common import GEOSIM, Settings, python

BACKBONE = "efficientnet-lite0"
"""Backbone of the model; its weights need no download."""

NOISE = 3
"""Largest change of a pixel in a new picture, in grey levels."""


def pictures(settings: Settings) -> Path:
    """Return DATA, a subset of it, or generated pictures; a subset takes every n-th picture."""
    if settings.data is None:
        per_class = -(-settings.limit(PER_CLASS * len(SAMPLE_CLASSES)) // len(SAMPLE_CLASSES))
        return write_sample(settings.output / f"rocks-{per_class}", per_class=per_class)
    dataset = open_dataset(settings.data)
    count = settings.limit(len(dataset.records))
    if count == len(dataset.records):
        return settings.data
    subset = settings.output / f"{dataset.name}-{count}.zip"
    if not subset.exists():
        step = len(dataset.records) / count
        with replacing(subset) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for number in range(count):
                record = dataset.records[int(number * step)]
                archive.writestr(record.path, dataset.source.read(record))
    return subset


def dataset(settings: Settings) -> Dataset:
    """Open `pictures`."""
    return open_dataset(pictures(settings))


def working_folder(settings: Settings) -> Path:
    """Return a working folder with a model and a collection of `pictures`, made once."""
    data = pictures(settings)
    working = Working(settings.output / f"working-{data.stem}")
    if not working.samples.exists():  # the last file that `geosim run` writes
        options = ("--recipe", "owner", "--backbone", BACKBONE, "--working", working.root)
        python(*GEOSIM, "run", data, *options)
    return working.root


def copied(working: Path, to: Path, *folders: str) -> Path:
    """Copy folders of a working folder."""
    for name in folders:
        shutil.copytree(working / name, to / name)
    shutil.copy(Working(working).datasets, Working(to).datasets)
    return to


def similar_picture(picture: bytes, *seed: int) -> bytes:
    """Return a picture with a little noise as JPEG; each seed gives another one."""
    pixels = np.asarray(open_rgb(picture), dtype=np.int16)
    noise = np.random.default_rng(seed).integers(-NOISE, NOISE + 1, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()
