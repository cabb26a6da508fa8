"""Copies the files of a saved model to another folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from geosim.trainer.files import replacing
from geosim.trainer.model import CARD, load_model


def model_files(folder: Path) -> list[Path]:
    """Return the files of a sound model, the card last.

    Raises:
        ModelError: the model is missing, damaged or of another version.
    """
    model = load_model(folder)
    model.check()
    names = [Path(entry["file"]).name for entry in model.card["files"].values()]
    return [folder / name for name in (*sorted(names), CARD)]


def copy_model(source: Path, target: Path) -> None:
    """Copy a model in place of the one that a folder holds, which is whole until the new one is.

    Raises:
        ModelError: the model is missing, damaged or of another version.
        OSError: the folder cannot be written.
    """
    for path in model_files(source):
        with replacing(target / path.name) as temporary:
            shutil.copyfile(path, temporary)
