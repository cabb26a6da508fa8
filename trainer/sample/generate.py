"""The folder of a generated data set of rock textures: its file names and its marker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from geosim.trainer.disk import explain
from geosim.trainer.errors import DatasetError
from geosim.trainer.sample.textures import SAMPLE_CLASSES, draw
from geosim.trainer.temporary import private_folder

MARKER = ".sample.json"
"""Hidden file in a complete sample with its parameters."""

TEXTURE_VERSION = 1
"""Version of the textures; raise it with each change, so that older samples are not reused."""

PER_CLASS = 80
"""Default number of images per class."""

SMALLEST = 16
"""Least width in pixels; smaller textures would show a single grain."""

JPEG_QUALITY = 92
"""JPEG quality; high, so that JPEG artefacts do not dominate the textures."""


def _parameters(per_class: int, size: int, seed: int) -> dict[str, Any]:
    """Return the content of the marker file."""
    if per_class < 1 or size < SMALLEST or seed < 0:
        raise DatasetError(
            f"received {per_class} images per class of {size} px with seed {seed}; a sample needs "
            f"at least 1 image per class, {SMALLEST} px and a seed of 0 or more"
        )
    return {
        "recipe": TEXTURE_VERSION,
        "classes": list(SAMPLE_CLASSES),
        "per_class": per_class,
        "size": size,
        "seed": seed,
    }


def _names(per_class: int) -> list[str]:
    """Return the images' paths relative to the sample's folder, sorted."""
    return [f"{label}/{label}-{i:04d}.jpg" for label in SAMPLE_CLASSES for i in range(per_class)]


def _is_finished(folder: Path, parameters: dict[str, Any]) -> bool:
    """Return whether ``folder`` holds this sample; refuse a folder that holds anything else."""
    if not folder.exists():
        return False
    try:
        stored = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    if stored != parameters:
        found = "no generated sample" if stored is None else f"a sample made with {stored}"
        raise DatasetError(
            f"{folder} exists and is {found}; expected {parameters}: nothing was written, name "
            "another folder or remove this one"
        )
    missing = sum(not (folder / name).is_file() for name in _names(parameters["per_class"]))
    if missing:
        raise DatasetError(
            f"{folder} is a generated sample with {missing} of its images missing; remove the "
            "folder and generate it again"
        )
    return True


def write_sample(
    folder: Path,
    *,
    per_class: int = PER_CLASS,
    size: int = 112,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Write a sample as ``<folder>/<class>/<class>-<number>.jpg`` and return ``folder``.

    A complete sample of the same parameters is kept. The images are written to a hidden folder in
    the same place that is renamed at the end, so that a killed run leaves no ``folder``. Equal
    arguments give equal pixels, ``size`` a side. ``progress`` is called with 1 after each new
    image.

    Raises:
        DatasetError: an argument is out of range, ``folder`` holds something else, or it cannot be
            written.
    """
    folder = Path(folder)
    parameters = _parameters(per_class, size, seed)
    if _is_finished(folder, parameters):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with private_folder(folder.parent) as beside:
            partial = beside / "sample"
            for label in SAMPLE_CLASSES:
                (partial / label).mkdir(parents=True)
            for number, name in enumerate(_names(per_class)):
                pixels = draw(name.split("/")[0], number % per_class, size=size, seed=seed)
                Image.fromarray(pixels).save(partial / name, quality=JPEG_QUALITY)
                if progress is not None:
                    progress(1)
            (partial / MARKER).write_text(json.dumps(parameters), encoding="utf-8")
            partial.rename(folder)
    except OSError as error:
        if _is_finished(folder, parameters):  # another process wrote the same sample meanwhile
            return folder
        raise DatasetError(
            f"the sample cannot be written to {folder}: {explain(error, folder)}; name a folder "
            "whose parent can be written to"
        ) from error
    return folder
