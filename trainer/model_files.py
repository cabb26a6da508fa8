"""Copies the files of a saved model to another folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from geosim.trainer.files import replacing
from geosim.trainer.kept import CARD, changing, current_card, former_card, keep_current
from geosim.trainer.model import load_model


def model_files(folder: Path, fingerprint: str | None = None) -> dict[str, Path]:
    """Return the files of a sound model by name, the card last: of the current one without a name.

    Raises:
        ModelError: the model is missing, damaged or of another version.
    """
    model = load_model(folder, fingerprint)
    model.check()
    names = sorted(Path(entry["file"]).name for entry in model.card["files"].values())
    current = current_card(folder)
    is_current = current is not None and current["fingerprint"] == model.fingerprint
    card = folder / CARD if is_current else former_card(folder, model.fingerprint)
    return {**{name: folder / name for name in names}, CARD: card}


def copy_model(source: Path, target: Path) -> None:
    """Make a model the current one of another folder, which has a whole one all the time.

    Raises:
        ModelError: the model is missing, damaged or of another version.
        OSError: the folder cannot be written.
    """
    files = model_files(source)
    target.mkdir(parents=True, exist_ok=True)
    with changing(target):
        keep_current(target)
        for name, path in files.items():
            with replacing(target / name) as temporary:
                shutil.copyfile(path, temporary)
