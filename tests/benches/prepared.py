"""What parts need before they can measure: pictures, and a working folder with a model.

Prepared once below the output folder and used again; a folder that the user names is only copied.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosim.ingest.store.factory import open_store
from geosim.trainer.data.dataset import Dataset, open_dataset
from geosim.trainer.data.images import open_rgb, prepare
from geosim.trainer.errors import ModelError
from geosim.trainer.files import replacing
from geosim.trainer.model import load_model
from geosim.trainer.progress import progress_bar
from geosim.trainer.sample.generate import PER_CLASS, write_sample
from geosim.trainer.sample.textures import SAMPLE_CLASSES
from geosim.trainer.working import Working
from tests.benches.children import ROOT, BenchError
from tests.benches.results import Settings

BACKBONE = "efficientnet-lite0"
"""Of the prepared model: its weights need no download."""

NOISE = 3
"""Grey levels that a new picture differs by, at most."""


def pictures(settings: Settings) -> Path:
    """Return where the pictures lie that were asked for: the data, a part of it, or generated ones.

    A part takes every n-th picture, so that all classes are in it.
    """
    if settings.data is None:
        wanted = settings.images or PER_CLASS * len(SAMPLE_CLASSES)
        per_class = -(-wanted // len(SAMPLE_CLASSES))
        return write_sample(settings.output / f"rocks-{per_class}", per_class=per_class)
    dataset = open_dataset(settings.data)
    if settings.images is None or settings.images >= len(dataset.records):
        return settings.data.absolute()
    part = settings.output / f"{dataset.name}-{settings.images}.zip"
    if not part.exists():
        step = len(dataset.records) / settings.images
        with replacing(part) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for number in range(settings.images):
                record = dataset.records[int(number * step)]
                archive.writestr(record.path, dataset.source.read(record))
    return part


def pixels(settings: Settings, size: int, count: int) -> NDArray[np.uint8]:
    """Return decoded pictures: ``(count, size, size, 3) uint8``; few pictures are repeated."""
    dataset = open_dataset(pictures(settings))
    step = max(1, len(dataset.records) // count)
    chosen = dataset.records[::step][:count]
    with progress_bar("decoding", len(chosen)) as bar:
        decoded = []
        for record in chosen:
            decoded.append(prepare(dataset.source.read(record), size).pixels)
            bar.update(1)
    return np.stack([decoded[number % len(decoded)] for number in range(count)])


def stored_paths(working: Path) -> list[str]:
    """Return the stored paths of a collection's images, sorted."""
    with open_store(None, "geosim", working=working) as store:
        return sorted(point.payload.path for batch in store.scan(vectors=False) for point in batch)


def like(picture: bytes, *seed: int) -> bytes:
    """Return a new picture, as JPEG, that looks like another one: with a little noise.

    The same seed gives the same noise, and another one other bytes.
    """
    pixels = np.asarray(open_rgb(picture), dtype=np.int16)
    noise = np.random.default_rng(seed).integers(-NOISE, NOISE + 1, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


def existing(settings: Settings) -> Path | None:
    """Return a working folder with a filled collection, if there is one already."""
    if settings.working is not None:
        return settings.working
    if settings.data is None:
        return None
    location = pictures(settings)
    folder = _folder(settings, location)
    return folder if _complete(folder, open_dataset(location)) else None


def working_folder(settings: Settings) -> Path:
    """Return a working folder with a model, warm features and a collection, made if need be.

    Raises:
        BenchError: the folder that was named has a model of another backbone.
    """
    if settings.working is not None:
        spec = load_model(settings.working / "model").spec
        if spec.name != BACKBONE:
            raise BenchError(
                f"the model in {settings.working} is of {spec.name}, expected {BACKBONE}; name "
                "another --working, or leave it out and one is made"
            )
        return settings.working
    location = pictures(settings)
    folder = _folder(settings, location)
    if not _complete(folder, open_dataset(location)):
        arguments = ("run", location, "--working", folder, "--backbone", BACKBONE)
        line = [sys.executable, "-c", "from geosim.search.cli.main import geosim; geosim()"]
        done = subprocess.run(
            [*line, *map(str, arguments)], check=False, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        if done.returncode:
            raise BenchError(f"`geosim run` ended with status {done.returncode}")
    return folder


def copied(working: Path, to: Path, *, features: bool = False) -> Path:
    """Copy model and collection, and if asked the feature cache, of a working folder."""
    for name in ("model", "qdrant", *(["features"] if features else [])):
        shutil.copytree(working / name, to / name)
    if Working(working).datasets.exists():
        shutil.copy(Working(working).datasets, Working(to).datasets)
    return to


def _folder(settings: Settings, location: Path) -> Path:
    return settings.output.absolute() / f"working-{location.stem}"


def _complete(folder: Path, dataset: Dataset) -> bool:
    """Tell whether a working folder has a usable model and a collection of the whole data set."""
    try:
        model = load_model(folder / "model")
    except ModelError:
        return False
    with open_store(None, "geosim", working=folder) as store:
        info = store.info()
    if info is None or info.model.fingerprint != model.fingerprint:
        return False
    return info.points == len(dataset.records)
